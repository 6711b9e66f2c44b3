"""A part of an ONNX model as int8 would compute it: Q/DQ around what is computed in int8, weights on their steps."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.graphs.int8_channels import CHANNELS, quantised
from dlconv.runtimes.onnx_int8_operators import QUANTISED

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_STEPS = 255
_FLOAT = 1


def emulate(part: Proto, ranges: Mapping[str, Sequence[float]], whole: Container[str] = ()) -> None:
    """Make the part what `onnx_rounded_int8` runs. ranges: of its tensors, the least and the largest value, 0 between
    them; one without a range, or with an empty one, is not rounded. whole: tensors whose makers stay
    in float32."""
    graph = part.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == _FLOAT}
    nodes = list(graph.node)
    del graph.node[:]
    steps: dict[str, list[str]] = {}
    for node in nodes:
        if node.op_type not in QUANTISED or node.output[0] in whole:
            graph.node.append(node)
            continue
        for place, name in enumerate(list(node.input)):
            if name in weights:
                node.input[place] = _weight(graph, node, place, weights[name])
            elif name in ranges:
                node.input[place] = _through(graph, name, f"{name}/read", ranges[name], steps)
        made = [(place, name) for place, name in enumerate(node.output) if name in ranges]
        for place, name in made:
            node.output[place] = f"{name}/exact"
        graph.node.append(node)
        for _, name in made:
            _through(graph, f"{name}/exact", name, ranges[name], steps, force=True)


def _through(
    graph: Proto, source: str, target: str, span: Sequence[float], steps: dict[str, list[str]], *, force: bool = False
) -> str:
    """Q/DQ from a tensor to another; the name of what is to be read: the source itself, where there is no range, unless
    the target has to be made."""
    helper: Any = import_module("onnx.helper")
    low, high = span
    if not high > low:
        if force:
            graph.node.append(helper.make_node("Identity", [source], [target]))
        return target if force else source
    if target not in steps:
        scale = (high - low) / _STEPS
        arrays: Any = import_module("onnx.numpy_helper")
        values = (np.float32(scale), np.uint8(np.clip(np.rint(-low / scale), 0, _STEPS)))
        steps[target] = [f"{target}/scale", f"{target}/zero"]
        for name, value in zip(steps[target], values, strict=True):
            graph.initializer.append(arrays.from_array(np.asarray(value), name))
        graph.node.append(helper.make_node("QuantizeLinear", [source, *steps[target]], [f"{target}/int8"]))
        graph.node.append(helper.make_node("DequantizeLinear", [f"{target}/int8", *steps[target]], [target]))
    return target


def _weight(graph: Proto, node: Proto, place: int, tensor: Proto) -> str:
    """The name of the weight on the steps of its channels; its own where the operator has none there."""
    arrays: Any = import_module("onnx.numpy_helper")
    array = arrays.to_array(tensor)
    axis = CHANNELS[node.op_type](node, place, array.ndim) if node.op_type in CHANNELS else None
    if axis is None:
        return str(tensor.name)
    stored, scales = quantised(array, axis)
    shape = [-1 if each == axis else 1 for each in range(array.ndim)]
    name = f"{tensor.name}/int8.{axis}"
    if all(known.name != name for known in graph.initializer):
        graph.initializer.append(arrays.from_array((stored * scales.reshape(shape)).astype(np.float32), name))
    return name
