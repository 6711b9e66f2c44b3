"""All edges that dlconv has: which module makes what of what, in which toolchain, and what it is good for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from dlconv import plugins
from dlconv.asked.precisions import Precision
from dlconv.convert.graph import ConversionGraph, Converter
from dlconv.errors import PluginError


def _edge(
    source: str, target: str, stem: str, toolchain: str, cost: int, why: str, variant: str = "", **settings: Any
) -> Converter:
    module, told = f"dlconv.convert.{stem}", tuple(sorted(settings.items()))
    # A SavedModel that was made of an ONNX is an end: to go on from it would be to convert back and forth.
    is_last = (source, target) == ("onnx", "saved-model")
    return Converter(source, target, module, toolchain, cost, why, told, variant, is_last)


def _script(cost: int, variant: str, why: str, **settings: Any) -> Converter:
    return _edge("torchscript", "onnx-as-given", "torchscript_to_onnx", "torch", cost, why, variant, **settings)


def _clean(cost: int, variant: str, why: str, **settings: Any) -> Converter:
    edge = _edge("onnx-as-given", "onnx", "onnx_to_onnx", "onnx", cost, why, variant, **settings)
    return replace(edge, for_halves="widen" in settings)


def _optimise(cost: int, level: str, why: str) -> Converter:
    edge = _edge("onnx", "onnxruntime", "onnx_to_onnxruntime", "onnx", cost, why, level, level=level)
    return replace(edge, carries=_IN_THE_GRAPH)


def _reduced(precision: Precision, stem: str, why: str, cost: int = 1, variant: str = "", **settings: Any) -> Converter:
    """An edge that puts a precision into the ONNX graph, from where ONNX Runtime and other targets take it."""
    return replace(
        _edge("onnx", "onnx", stem, "onnx", cost, why, variant, **settings),
        puts=precision,
        knows_nodes=True,
        boundaries=_BOUNDARIES.get(stem, ()),
    )


def _by_nncf(cost: int, why: str, variant: str = "", **settings: Any) -> Converter:
    edge = _edge("openvino", "openvino", "openvino_to_int8", "nncf", cost, why, variant, **settings)
    return replace(edge, puts="int8", knows_nodes=True)


def _for_tensorrt(
    precision: Precision, stage: str, stem: str, why: str, variant: str = "", **settings: Any
) -> Converter:
    """An edge that puts a precision into an ONNX graph as TensorRT alone takes it."""
    return replace(_edge("onnx", stage, stem, "onnx", 1, why, variant, **settings), puts=precision, knows_nodes=True)


def _by_tensorrt(stage: str, *carries: Precision, variant: str = "") -> Converter:
    edge = _edge(stage, "tensorrt", "onnx_to_tensorrt", "tensorrt", 1, "TensorRT's own ONNX parser", variant)
    return replace(edge, carries=carries)


def _quantised(precision: Precision, cost: int, why: str, further: str = "", **settings: Any) -> Converter:
    """An edge that puts a precision into a TFLite file."""
    variant = precision + further
    edge = _edge("tflite", "tflite", "tflite_to_reduced", "ai-edge-quantizer", cost, why, variant, **settings)
    return replace(edge, puts=precision, knows_nodes=True, boundaries=("int8",) if precision == "int8" else ())


_BOUNDARIES: Final = {"onnx_to_float16": ("float16",), "onnx_to_int8": ("uint8",)}
"""Of edges that put a precision into the ONNX graph: what they can give its inputs and outputs."""

_OTHER_EXPORTER = "another exporter: for operators that the archive's own lacks"
_NO_ONNX_TFLITE = "litert-torch: no ONNX in between, every size fixed"
_LAYOUT = "onnx2tf's own passes over layouts: where the plain operators fail"
_TRACED = "the program run and recorded: for what its own exporter cannot decompose"
_NO_ONNX = "OpenVINO's own PyTorch frontend: no ONNX in between"

_IN_THE_GRAPH = ("fp32", "fp16", "int8", "fp16-weights", "int8-weights")
"""Precisions that an ONNX graph holds: its converters carry them on."""

_UNSIGNED = "weights in uint8: CPUs without VNNI sum int8 weights with saturation"
_ISLANDS = "static int8 of weighted sums and what lies between them: normalisations and masks stay in float32"
_AVERAGED = "static int8, ranges averaged over the samples: what is rare and large is cut off"

_NNCF = "NNCF, OpenVINO's own quantiser, which corrects biases"
_HALVED = "NNCF, weights in half of their range: CPUs without VNNI sum int8 weights with saturation"
_SYMMETRIC = "Q/DQ around zero, which TensorRT alone wants"

_TENSORRT_PROVIDER = "ONNX Runtime's TensorRT provider, no plan: what TensorRT lacks runs by CUDA, or on the CPU"

_TORCH_TENSORRT = "Torch-TensorRT: no ONNX in between"

_BFLOAT16 = "casts around what is computed in bfloat16, which of ONNX's runtimes TensorRT alone takes"

_TF2ONNX = "tf2onnx"
_TFLITE = "TensorFlow's own TFLite converter"
_OPENVINO_TF = "OpenVINO's own TensorFlow frontend: no ONNX in between"
_KERAS_TORCH = "Keras' PyTorch backend: for what tf2onnx lacks"
_KERAS_JAX = "Keras' JAX backend: for what the other two lack"

GRAPH: Final = ConversionGraph(
    (
        _edge("torchscript", "onnx-as-given", "torchscript_to_onnx", "torch", 1, "the exporter made for archives"),
        _script(4, "script", "the script as it is: where what was recorded is wrong", ways=("plain", "frozen")),
        _script(6, "opset13", "an older opset: where a target's converter fails on newer operators", opset=13),
        _edge("torchscript", "torch-export", "torchscript_to_torch_export", "torch", 5, _OTHER_EXPORTER),
        _edge("torch-export", "onnx-as-given", "torch_export_to_onnx", "torch", 1, "the exporter made for .pt2"),
        _edge("torch-export", "onnx-as-given", "torch_export_to_onnx", "torch", 5, _TRACED, "traced", way="traced"),
        _edge("saved-model", "onnx-as-given", "saved_model_to_onnx", "tensorflow", 1, _TF2ONNX),
        _edge("saved-model", "tflite", "saved_model_to_tflite", "tensorflow", 1, _TFLITE),
        _edge("saved-model", "openvino", "saved_model_to_openvino", "openvino", 4, _OPENVINO_TF),
        _edge("keras", "onnx-as-given", "keras_to_onnx", "tensorflow", 1, _TF2ONNX, backend="tensorflow"),
        _edge("keras", "onnx-as-given", "keras_to_onnx", "torch-keras", 4, _KERAS_TORCH, "torch", backend="torch"),
        _edge("keras", "onnx-as-given", "keras_to_onnx", "jax", 6, _KERAS_JAX, "jax", backend="jax"),
        _edge("keras", "tflite", "keras_to_tflite", "tensorflow", 1, _TFLITE),
        _edge("keras", "saved-model", "keras_to_saved_model", "tensorflow", 2, "Keras' own export"),
        _edge("frozen-graph", "onnx-as-given", "frozen_graph_to_onnx", "tensorflow", 1, _TF2ONNX),
        _edge("frozen-graph", "saved-model", "frozen_graph_to_saved_model", "tensorflow", 2, "the graph as a function"),
        _edge("frozen-graph", "openvino", "frozen_graph_to_openvino", "openvino", 4, _OPENVINO_TF),
        _edge("tflite-as-given", "onnx-as-given", "tflite_to_onnx", "tensorflow", 1, "tf2onnx's TFLite frontend"),
        _edge("tflite-as-given", "openvino", "tflite_to_openvino", "openvino", 2, "OpenVINO's own TFLite frontend"),
        _edge("tflite-as-given", "tflite", "tflite_to_tflite", "tflite", 1, "as it is, checked"),
        _edge("jax", "onnx-as-given", "jax_to_onnx", "jax", 1, "jax2onnx"),
        _edge("jax", "saved-model", "jax_to_saved_model", "jax", 2, "jax2tf"),
        _clean(1, "onnxsim", "simplified and checked", simplifier="onnxsim"),
        _clean(2, "onnxslim", "another simplifier: where the first fails or spoils the model", simplifier="onnxslim"),
        _clean(3, "plain", "checked only: where simplifiers fail", simplifier="none"),
        _clean(2, "float32", "in float32: for what has no float16 or bfloat16", simplifier="onnxsim", widen=True),
        _clean(4, "frozen", "free dimensions fixed: where shapes must be known", simplifier="onnxsim", freeze=True),
        _clean(5, "frozen-onnxslim", "fixed, and the other simplifier", simplifier="onnxslim", freeze=True),
        _optimise(1, "all", "all optimisations for this CPU"),
        _optimise(2, "extended", "without changes of layout: where those fail"),
        _optimise(3, "basic", "constants folded only: where fusions fail"),
        _reduced("fp16", "onnx_to_float16", "casts around what is computed in float16"),
        _reduced("int8", "onnx_to_int8", "Q/DQ by the extremes seen in calibration", method="minmax"),
        _reduced("int8", "onnx_to_int8", _UNSIGNED, 1, "unsigned", method="minmax", weights="uint8"),
        _reduced("int8", "onnx_to_int8", "Q/DQ by percentiles", 2, "percentile", method="percentile"),
        _reduced("int8", "onnx_to_int8", "Q/DQ by the least divergence", 2, "entropy", method="entropy"),
        _reduced("int8", "onnx_to_int8", "Q/DQ by the least squares", 2, "mse", method="mse"),
        _reduced("fp16-weights", "onnx_to_stored", "weights stored in float16", 1, "float16", dtype="float16"),
        _reduced(
            "int8-weights", "onnx_to_stored", "weights stored in int8, a scale a channel", 1, "int8", dtype="int8"
        ),
        replace(
            _edge("onnx", "openvino", "onnx_to_openvino", "openvino", 1, "OpenVINO's ONNX frontend"),
            carries=("fp32", "fp16", "int8", "int8-weights"),
        ),
        replace(
            _edge("onnx", "openvino", "onnx_to_openvino", "openvino", 1, "the IR's weights in float16", compress=True),
            variant="fp16-weights",
            puts="fp16-weights",
        ),
        replace(
            _edge("openvino", "openvino", "openvino_to_openvino", "openvino", 1, "the IR, run in bfloat16", "bf16"),
            puts="bf16",
        ),
        _by_nncf(2, _NNCF),
        _by_nncf(2, _HALVED, "halved", halved=True),
        _quantised("fp16", 1, "weights in float16: what TFLite's GPU delegates compute in", recipe="float16"),
        _quantised("fp16-weights", 1, "weights in float16", recipe="float16"),
        _quantised("int8", 1, "static int8, a scale a channel", recipe="static-int8"),
        _quantised("int8", 2, _ISLANDS, "-islands", recipe="static-int8", islands=True),
        _quantised("int8", 3, _AVERAGED, "-average", recipe="static-int8", ranges="average"),
        _quantised("int16x8", 1, "activations in 16 bits, weights in int8", recipe="static-int16x8"),
        _quantised("int8-weights", 1, "weights in int8, a scale a channel", recipe="weights-int8"),
        _edge("torchscript", "openvino", "torchscript_to_openvino", "torch-openvino", 7, _NO_ONNX),
        _edge("torch-export", "openvino", "torch_export_to_openvino", "torch-openvino", 7, _NO_ONNX),
        _edge("torch-export", "tflite", "torch_export_to_tflite", "litert-torch", 6, _NO_ONNX_TFLITE),
        _edge("onnx", "tflite", "onnx_to_tflite", "onnx2tf", 1, "onnx2tf without TensorFlow"),
        _edge("onnx", "tflite", "onnx_to_tflite", "onnx2tf", 2, _LAYOUT, "layout", passes="layout"),
        _by_tensorrt("onnx", "fp32", "fp16"),
        _edge("onnx", "tensorrt", "onnx_to_tensorrt_provider", "onnxruntime-tensorrt", 5, _TENSORRT_PROVIDER),
        _edge("torch-export", "tensorrt", "torch_export_to_tensorrt", "torch-tensorrt", 5, _TORCH_TENSORRT),
        _for_tensorrt(
            "int8", "onnx-symmetric", "onnx_to_int8", _SYMMETRIC, "symmetric", method="minmax", symmetric=True
        ),
        _by_tensorrt("onnx-symmetric", "int8", variant="int8"),
        _for_tensorrt("bf16", "onnx-bfloat16", "onnx_to_bfloat16", _BFLOAT16),
        _by_tensorrt("onnx-bfloat16", "bf16", variant="bf16"),
        _edge("onnx", "saved-model", "onnx_to_saved_model", "onnx2tf-tensorflow", 1, "onnx2tf with TensorFlow"),
    )
)
"""dlconv's own edges."""


def whole_graph() -> ConversionGraph:
    """dlconv's own edges and those of the plugins that are installed. Raises PluginError where two have one name."""
    added = plugins.converters()
    own = {edge.name for edge in GRAPH.edges}
    taken = sorted(edge.name for edge in added if edge.name in own)
    if taken:
        raise PluginError(f"a plugin's converter is called as dlconv's own: {', '.join(taken)}", mend="rename it there")
    return ConversionGraph((*GRAPH.edges, *added))
