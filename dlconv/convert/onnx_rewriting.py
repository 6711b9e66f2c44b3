"""Nodes of an ONNX graph replaced by others that give the same answers: what one rewriting sees and makes.

Runs where onnx is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dlconv.graphs.onnx_graph import Proto

    Mend = Callable[[Proto, "Rewriting"], list[Proto]]
    """The nodes that stand for one node; none where it stays as it is."""

_INT64, _BOOL = 7, 9
_FIRST_OPSET_OF_AXES_AS_INPUT = 13  # ReduceSum takes them as an attribute before it
_FIRST_OPSET_OF_SPLIT_COUNTS = 18

Array = np.ndarray[Any, Any]


@dataclass
class Rewriting:
    """The graph under rewriting, seen by one mend: the shapes that are known, and new nodes and constants.

    free_axes: those of each tensor's that follow a size which is to be free, though it has one here.
    """

    graph: Proto
    opset: int
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    integers: set[str] = field(default_factory=set)
    booleans: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    free_axes: Mapping[str, set[int]] = field(default_factory=dict[str, set[int]])
    count: int = 0

    def constant(self, values: list[int]) -> str:
        """The name of a new constant of int64."""
        return self.tensor(np.array(values, np.int64), "sizes")

    def tensor(self, values: Array, stem: str) -> str:
        """The name of a new constant."""
        numpy_helper: Any = import_module("onnx.numpy_helper")
        name = self.name(stem)
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def array(self, name: str) -> Array | None:
        """The values of a constant of the graph; None for what is computed."""
        numpy_helper: Any = import_module("onnx.numpy_helper")
        found = next((tensor for tensor in self.graph.initializer if tensor.name == name), None)
        return None if found is None else np.asarray(numpy_helper.to_array(found))

    def name(self, stem: str) -> str:
        self.count += 1
        return f"dlconv/{stem}/{len(self.graph.initializer)}/{self.count}"

    def reshape(self, source: str, sizes: tuple[int, ...], target: str = "") -> tuple[Proto, str]:
        """A Reshape node, and the name of its output."""
        target = target or self.name("reshaped")
        return self.node("Reshape", [source, self.constant(list(sizes))], [target]), target

    def sum(self, source: str, axes: list[int]) -> tuple[Proto, str]:
        """A ReduceSum node that drops the axes, and the name of its output."""
        target = self.name("summed")
        if self.opset < _FIRST_OPSET_OF_AXES_AS_INPUT:
            return self.node("ReduceSum", [source], [target], axes=axes, keepdims=0), target
        return self.node("ReduceSum", [source, self.constant(axes)], [target], keepdims=0), target

    def split(self, source: str, count: int, axis: int) -> tuple[Proto, list[str]]:
        """A Split node into `count` equal parts, and their names."""
        parts = [self.name("part") for _ in range(count)]
        told = {"num_outputs": count} if self.opset >= _FIRST_OPSET_OF_SPLIT_COUNTS else {}
        return self.node("Split", [source], parts, axis=axis, **told), parts

    def node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Proto:
        helper: Any = import_module("onnx.helper")
        return helper.make_node(kind, inputs, outputs, name=self.name(kind), **attributes)


def apply(graph: Proto, mend: Mend, opset: int, free_axes: Mapping[str, set[int]] | None = None) -> int:
    """Replace each node for which `mend` gives others; how many there were."""
    numpy_helper: Any = import_module("onnx.numpy_helper")
    known = Rewriting(graph, opset, free_axes=free_axes or {})
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type == _INT64:
            known.integers.add(value.name)
        if tensor.elem_type == _BOOL:
            known.booleans.add(value.name)
        if tensor.HasField("shape") and all(dim.dim_value > 0 for dim in tensor.shape.dim):
            known.shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    for tensor in graph.initializer:
        known.shapes[tensor.name] = tuple(tensor.dims)
        if len(tensor.dims) <= 1 and tensor.data_type == _INT64:
            known.constants[tensor.name] = numpy_helper.to_array(tensor)
    known.read = {value.name for value in graph.output} | {name for node in graph.node for name in node.input}
    nodes: list[Proto] = []
    replaced = 0
    for node in graph.node:
        others = mend(node, known)
        replaced += bool(others)
        nodes += others or [node]
    if replaced:
        kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
    return replaced


def attributes_of(node: Proto) -> dict[str, Any]:
    """The attributes of a node by name, as Python values."""
    helper: Any = import_module("onnx.helper")
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
