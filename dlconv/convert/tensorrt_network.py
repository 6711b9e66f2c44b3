"""An ONNX model as a TensorRT network: what it cannot take is told node by node, before anything is built."""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.convert import onnx_functions
from dlconv.errors import StepError, Unsupported, cause_of
from dlconv.graphs import onnx_graph
from dlconv.runtimes import tensorrt_api as api

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.graphs.onnx_graph import Proto

_INT64: Final = 7
_SENTINELS: Final = 16
"""Ends of slices are written as the largest and smallest numbers, or such near them: clamped, they still are ends."""
_SHOWN: Final = 12
_FLAGS: Final = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
_TYPES: Final = {"fp16": ("HALF",), "bf16": ("BF16",), "int8": ("INT8",)}


def parsed(trt: Any, network: Any, path: Path, log: Any, *, has_plugins: bool = False) -> tuple[Any, tuple[str, ...]]:
    """Fill the network from the ONNX model at `path`: the parser, which has to live as long as the network, and the
    operators that were written out as those that ONNX defines them by, because this TensorRT does not have them.

    Raises Unsupported with every node that TensorRT cannot take, and the reason. Of operators that are not ONNX's own
    the parser alone knows whether a plugin has them; so of all, where the user brings plugins.
    """
    model = onnx_graph.read_model(path)
    parser = api.made(trt, "OnnxParser", log, network)
    strange = {} if has_plugins else _strange(parser, model)
    replaced = onnx_functions.definable(model, strange)
    if replaced:
        model = onnx_functions.written_out(model, replaced)
        strange = _strange(parser, model)
    if strange:
        raise Unsupported(
            f"TensorRT {trt.__version__} has no {', '.join(sorted(strange))}",
            mend="replace them in the model, or give a plugin that has them: --trt plugin=FILE.so",
            problems=tuple(f"{kind}: {', '.join(names[:_SHOWN])}" for kind, names in sorted(strange.items())),
        )
    if api.member(trt, "DataType", "INT64") is None:
        _check_narrow(trt, model, path)
    is_parsed = parser.parse(model.SerializeToString(), str(path)) if replaced else parser.parse_from_file(str(path))
    if not is_parsed:
        raise Unsupported(
            f"TensorRT {trt.__version__} does not take the model",
            mend="another route is tried",
            problems=_errors(parser, model) or tuple(cause_of(line) for line in log.errors[:_SHOWN]),
        )
    return parser, replaced


def _strange(parser: Any, model: Proto) -> dict[str, list[str]]:
    """The names of all nodes of ONNX's own operators that the parser does not know, by operator."""
    found = defaultdict[str, list[str]](list)
    own = {function.name for function in model.functions}
    for node in onnx_graph.nodes_of(model.graph):
        is_onnx = node.domain in ("", "ai.onnx")
        if is_onnx and node.op_type not in own and not parser.supports_operator(node.op_type):
            found[node.op_type].append(node.name or ", ".join(node.output))
    return found


def set_precision(trt: Any, network: Any, config: Any, precision: str, keep: tuple[str, ...], *, typed: bool) -> None:
    """Have the network computed in `precision`, but for the layers that are named for the nodes in `keep`.

    A typed network has its types from the graph: they are looked for. Else the builder is allowed the precision, and
    kept layers, with what they give, are held at float32.
    """
    if precision == "fp32":
        return
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    if typed:
        kinds = {layer.get_output_type(index).name for layer in layers for index in range(layer.num_outputs)}
        if not kinds & set(_TYPES[precision]):
            met = f"the graph has no {precision} tensor: it has {', '.join(sorted(kinds))}"
            raise StepError(met, wanted=f"a graph with {precision} in it, which a typed network is built as")
        return
    config.set_flag(api.required(trt, "BuilderFlag", _FLAGS[precision], precision))
    kept = [layer for layer in layers if layer.name in keep]
    if kept:
        config.set_flag(api.required(trt, "BuilderFlag", "OBEY_PRECISION_CONSTRAINTS", "way to keep layers in float32"))
    floats = {trt.DataType.FLOAT, trt.DataType.HALF}
    for layer in kept:
        if layer.get_output_type(0) in floats:
            layer.precision = trt.DataType.FLOAT
        for index in range(layer.num_outputs):
            if layer.get_output_type(index) in floats:
                layer.set_output_type(index, trt.DataType.FLOAT)


def _check_narrow(trt: Any, model: Proto, path: Path) -> None:
    """TensorRT 8 reads int64 as int32: refuse a model whose stored integers do not fit, but for ends of slices."""
    helper: Any = import_module("onnx.numpy_helper")
    limits, ends = np.iinfo(np.int32), np.iinfo(np.int64)
    wide: list[str] = []
    for tensor in onnx_graph.tensors_of(model):
        if tensor.data_type != _INT64:
            continue
        array = helper.to_array(tensor, str(path.parent)).ravel()
        is_end = (array >= ends.max - _SENTINELS) | (array <= ends.min + _SENTINELS)
        beyond = array[((array > limits.max) | (array < limits.min)) & ~is_end]
        wide += [f"{tensor.name or 'a constant'}: {beyond[0]}"] if beyond.size else []
    if wide:
        raise Unsupported(
            f"the model has integers that int32 cannot hold, and TensorRT {trt.__version__} has no int64",
            wanted=f"from {limits.min} to {limits.max}",
            mend="use TensorRT 10 or newer",
            problems=tuple(wide[:_SHOWN]),
        )


def _errors(parser: Any, model: Proto) -> tuple[str, ...]:
    told: list[str] = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        name = error.node_name() if hasattr(error, "node_name") else ""
        kind = error.node_operator() if hasattr(error, "node_operator") else ""
        number = error.node()
        if not kind and 0 <= number < len(model.graph.node):
            node = model.graph.node[number]
            name, kind = node.name or ", ".join(node.output), node.op_type
        told.append(f"node {number} {name} ({kind or 'unknown'}): {cause_of(error.desc())}")
    return tuple(dict.fromkeys(told))
