"""One ONNX node as a model of its own, and what runs it: ONNX Runtime, or the onnx package's reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.onnxruntime import PROVIDER, session_options

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.onnx_plan import PlannedNode

Kernel = Callable[[Sequence[Any]], Sequence[Any]]

FLOAT32, FLOAT64 = 1, 11
_SMALLER = {FLOAT32: {10, 16}, FLOAT64: {1, 10, 16}}
_NAMES = {FLOAT32: "float32", FLOAT64: "float64"}
_TYPE_ATTRIBUTES = {"to", "dtype", "output_datatype"}
# ONNX Runtime's float64 Attention departs from the operator's definition where a whole row is masked.
_BY_DEFINITION = {(FLOAT64, "Attention")}
_MADE_OF_NOTHING = {"BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"}
_LATEST_IR = 10


def kernel_of(node: PlannedNode, values: Sequence[Any], opsets: dict[str, int], wide: int) -> tuple[Kernel, str]:
    """A kernel for `node` and inputs of the types of `values`, and the name of what runs it.

    wide: FLOAT32 or FLOAT64, which stands for every smaller float in the node's attributes; `values` have none.
    Raises Unsupported where nothing runs it.
    """
    model = _alone(node, values, opsets, wide)
    if (wide, node.kind) in _BY_DEFINITION:
        return _in_reference(node, model, "", wide), "onnx.reference"
    state: Any = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    try:
        kernel = _in_onnxruntime(model)
        kernel(values)
    except (
        state.NotImplemented,
        state.Fail,
        state.InvalidGraph,
        state.InvalidArgument,
        state.RuntimeException,
    ) as error:
        return _in_reference(node, model, str(error), wide), "onnx.reference"
    return kernel, "onnxruntime"


def in_onnxruntime(node: PlannedNode, values: Sequence[Any], opsets: dict[str, int], wide: int) -> Kernel:
    """ONNX Runtime's own kernel, or its own exception."""
    return _in_onnxruntime(_alone(node, values, opsets, wide))


def _alone(node: PlannedNode, values: Sequence[Any], opsets: dict[str, int], wide: int) -> Proto:
    """A model of this node alone, its attributes in the wide float, its inputs typed by what it was given."""
    onnx: Any = import_module("onnx")
    lone = type(node.proto)()
    lone.CopyFrom(node.proto)
    _widen_attributes(lone, wide)
    if node.kind in _MADE_OF_NOTHING and "output_datatype" not in node.attributes:
        lone.attribute.append(onnx.helper.make_attribute("output_datatype", wide))
    lone.input[:] = [f"in{place}" if value is not None else "" for place, value in enumerate(values)]
    lone.output[:] = [f"out{place}" if name else "" for place, name in enumerate(node.outputs)]
    inputs = [
        onnx.helper.make_tensor_value_info(f"in{place}", onnx.helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for place, value in enumerate(values)
        if value is not None
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in lone.output if name]
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    graph = onnx.helper.make_graph([lone], node.kind, inputs, outputs)
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=_LATEST_IR)


def _widen_attributes(node: Proto, wide: int) -> None:
    helper: Any = import_module("onnx.numpy_helper")
    dtype = np.dtype(_NAMES[wide])
    for item in node.attribute:
        if item.name in _TYPE_ATTRIBUTES and item.i in _SMALLER[wide]:
            item.i = wide
        if item.HasField("t") and item.t.data_type in _SMALLER[wide]:
            item.t.CopyFrom(helper.from_array(helper.to_array(item.t).astype(dtype)))


def _in_onnxruntime(model: Proto) -> Kernel:
    ort: Any = import_module("onnxruntime")
    # Node by node there is nothing to optimise, and threads would only be started.
    session = ort.InferenceSession(model.SerializeToString(), session_options("none", 1), providers=[PROVIDER])
    return _feeding(model, lambda feed: session.run(None, feed))


def _in_reference(node: PlannedNode, model: Proto, refused: str, wide: int) -> Kernel:
    reference: Any = import_module("onnx.reference")
    met = f"nothing here runs {node.kind} in {_NAMES[wide]}"
    problems = (refused[:300],) if refused else ()
    try:
        evaluator = reference.ReferenceEvaluator(model)
    except Exception as error:
        raise Unsupported(f"{met}: {error}", problems=problems) from error
    run = _feeding(model, lambda feed: evaluator.run(None, feed))

    def kernel(values: Sequence[Any]) -> Sequence[Any]:
        try:
            return run(values)
        except Exception as error:
            raise Unsupported(f"{met}: {error}", problems=problems) from error

    return kernel


def _feeding(model: Proto, run: Callable[[Tensors], Sequence[Any]]) -> Kernel:
    node = model.graph.node[0]

    def kernel(values: Sequence[Any]) -> Sequence[Any]:
        given = zip(node.input, values, strict=True)
        feed = {name: np.require(value, requirements=["C", "A"]) for name, value in given if name}
        answers = iter(run(feed))
        return [next(answers) if name else None for name in node.output]

    return kernel
