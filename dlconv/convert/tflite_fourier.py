"""TFLite's Fourier transform, RFFT2D of one row, as matrix products, a tensor each for the real and the imaginary part.

tf2onnx writes transforms of which the magnitude is taken, and leaves others as they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.graphs.onnx_graph import Proto
    from dlconv.runtimes.tflite_flatbuffer import FlatModel

_ALIKE = {"Squeeze", "Unsqueeze", "Reshape", "Transpose", "Identity", "Slice", "Gather"}
"""Operators that move the elements of a complex tensor alone."""
_PARTS = {"Cast": "real", "REAL": "real", "TFL_REAL": "real", "IMAG": "imaginary", "TFL_IMAG": "imaginary"}
_RFFT = {"RFFT2D", "TFL_RFFT2D"}
OPERATORS = _RFFT | _PARTS.keys()
"""What is read here, by tf2onnx's names."""


def spell_out(made: Proto, model: FlatModel) -> int:
    """Rewrite in place the transforms of `made`, tf2onnx's model of `model`; how many there were.

    Left as they are: transforms over two axes, and those of which more is taken than the parts.
    """
    if not any(node.op_type in _RFFT for node in made.graph.node):
        return 0
    spelled = _Spelled(made.graph, {tensor.name: tensor.shape for tensor in model.graphs[0].tensors})
    spelled.walk()
    if spelled.left:
        return 0
    del made.graph.node[:]
    made.graph.node.extend(spelled.nodes)
    shapes = [value for value in made.graph.value_info if value.name not in spelled.complex]
    del made.graph.value_info[:]
    made.graph.value_info.extend(shapes)
    made.graph.initializer.extend(spelled.tables.values())
    return spelled.count


class _Spelled:
    """The graph's nodes in order, each complex tensor as two: by its name with a word behind."""

    def __init__(self, graph: Proto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._graph, self._shapes = graph, shapes
        self._helper: Any = import_module("onnx.helper")
        self._numpy: Any = import_module("onnx.numpy_helper")
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                self._constants |= {name: item.t for item in node.attribute if item.name == "value"
                                    for name in node.output}  # fmt: skip
        self.nodes: list[Proto] = []
        self.tables: dict[str, Proto] = {}
        self.complex: set[str] = set()
        self.count = 0
        self.left = False

    def walk(self) -> None:
        """Go through all nodes. left: whether a complex tensor is met where it cannot be told apart."""
        for node in self._graph.node:
            if node.op_type in _RFFT:
                self._transform(node)
            elif not self.complex.intersection(node.input):
                self.nodes.append(node)
            elif node.op_type in _ALIKE and node.input[0] in self.complex:
                self._twice(node)
            elif node.op_type in _PARTS:
                self._add("Identity", [f"{node.input[0]}/{_PARTS[node.op_type]}"], node.output[0])
            else:
                self.left = True
        self.left = self.left or bool(self.complex & {value.name for value in self._graph.output})

    def _transform(self, node: Proto) -> None:
        lengths = self._constants.get(node.input[1])
        rows, columns = (0, 0) if lengths is None else self._numpy.to_array(lengths).tolist()
        if rows != 1 or self._shapes.get(node.input[0], ())[-2:] != (1, columns):
            self.left = True
            return
        self.count += 1
        self.complex.add(node.output[0])
        turns = np.outer(np.arange(columns), np.arange(columns // 2 + 1)) % columns * (2 * np.pi / columns)
        for part, table in (("real", np.cos(turns)), ("imaginary", -np.sin(turns))):
            name = f"dlconv/fourier/{columns}/{part}"
            self.tables.setdefault(name, self._numpy.from_array(table.astype(np.float32), name))
            self._add("MatMul", [node.input[0], name], f"{node.output[0]}/{part}")

    def _twice(self, node: Proto) -> None:
        for part in ("real", "imaginary"):
            copy = type(node).FromString(node.SerializeToString())
            copy.input[0], copy.output[0] = f"{node.input[0]}/{part}", f"{node.output[0]}/{part}"
            copy.name = f"{node.name}/{part}"
            self.nodes.append(copy)
        self.complex.add(node.output[0])

    def _add(self, kind: str, inputs: list[str], output: str) -> None:
        self.nodes.append(self._helper.make_node(kind, inputs, [output], name=f"dlconv/{kind}/{output}"))
