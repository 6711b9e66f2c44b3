"""Sizes at which a sliding window is wider than what it slides over: ONNX leaves the answer open, runtimes differ."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.graphs import onnx_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Signature, TensorSpec

_WINDOWED = {"AveragePool", "MaxPool", "LpPool", "Conv", "ConvInteger", "QLinearConv"}
_SAME = (b"SAME_UPPER", b"SAME_LOWER")


class Windows:
    """The pools and convolutions of the main graph of the ONNX model at `path`, as far as shape inference reaches."""

    def __init__(self, path: Path) -> None:
        self._model = onnx_graph.read_model(path)
        onnx_graph.empty_weights(self._model)
        del self._model.graph.value_info[:]
        self._has_any = any(node.op_type in _WINDOWED for node in self._model.graph.node)

    def too_narrow(self, signature: Signature, sizes: Mapping[str, int]) -> str:
        """The first window that does not fit into its padded data at `sizes` of the free dimensions, "" if all do."""
        if not self._has_any:
            return ""
        onnx: Any = import_module("onnx")
        onnx_graph.set_shapes(self._model.graph, tuple(_at(spec, sizes) for spec in signature.inputs))
        for value in self._model.graph.output:
            value.type.tensor_type.ClearField("shape")
        try:
            graph = onnx.shape_inference.infer_shapes(self._model, data_prop=True).graph
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
            return ""  # What cannot be inferred is not known to be too narrow.
        shapes = _shapes_of(graph)
        return next((told for node in graph.node if (told := _misfit(node, shapes))), "")


def _at(spec: TensorSpec, sizes: Mapping[str, int]) -> TensorSpec:
    shape = (
        None
        if spec.shape is None
        else tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape)
    )
    return replace(spec, shape=shape)


def _shapes_of(graph: Proto) -> dict[str, tuple[int | None, ...]]:
    """Of the tensors whose rank is known; None for a size that is not."""
    shapes: dict[str, tuple[int | None, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            shapes.update((node.output[0], tuple(item.t.dims)) for item in node.attribute if item.name == "value")
    for value in (*graph.input, *graph.value_info):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(
                int(dim.dim_value) if dim.HasField("dim_value") else None for dim in tensor.shape.dim
            )
    return shapes


def _misfit(node: Proto, shapes: dict[str, tuple[int | None, ...]]) -> str:
    if node.op_type not in _WINDOWED:
        return ""
    told = {item.name: item for item in node.attribute}
    data = shapes.get(node.input[0])
    weights = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}.get(node.op_type)
    kernel: Sequence[int | None] = list(told["kernel_shape"].ints) if "kernel_shape" in told else ()
    if not kernel and weights is not None:
        kernel = shapes.get(node.input[weights], ())[2:]
    if not data or not kernel or ("auto_pad" in told and told["auto_pad"].s in _SAME):
        return ""
    pads = list(told["pads"].ints) if "pads" in told else [0] * 2 * len(kernel)
    dilations = list(told["dilations"].ints) if "dilations" in told else [1] * len(kernel)
    for axis, (size, window, dilation) in enumerate(zip(data[2:], kernel, dilations, strict=False)):
        if size is None or window is None:
            continue
        padded, reach = size + pads[axis] + pads[axis + len(kernel)], dilation * (window - 1) + 1
        if padded < reach:
            return f"{node.op_type} {node.name} needs {reach} elements along axis {axis + 2}, and {padded} are there"
    return ""
