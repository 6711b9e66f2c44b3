"""Operators that compute sizes when a TFLite graph runs, from the shapes of its inputs and of tensors inside.

Tensors and operators are onnx2tf's ModelIR's. What was computed once is not computed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dlconv.convert.size_formula import Formula, Values

Array = np.ndarray[Any, Any]
Place = tuple[str, int]
"""A tensor and an axis of it."""

_INT32 = np.dtype(np.int32)


@dataclass
class Computed:
    """What is added to a graph. places: an input and its axis for each free size. operators: made and not yet taken."""

    graph: Any
    places: dict[str, Place]
    operators: list[Any] = field(default_factory=list)
    _made: dict[Any, str] = field(default_factory=dict)  # names of tensors by what they hold

    def formula(self, formula: Formula) -> str:
        """A vector of one number: what the formula gives."""
        neutral = 0 if formula.joined == "ADD" else 1
        parts = [
            self._with(self._with(self.axis(*self.places[line.name]), "MUL", line.times, 1), "ADD", line.plus, 0)
            for line in formula.lines
        ]
        result = parts[0]
        for part in parts[1:]:
            result = self.joined(formula.joined, result, part)
        return self._with(result, formula.joined, formula.constant, neutral)

    def axis(self, name: str, axis: int) -> str:
        """A vector of one number: the size of a tensor's axis."""
        if ("shape", name) not in self._made:
            self._made["shape", name] = self._new(_INT32, [len(self.graph.tensors[name].shape)])
            self._add("SHAPE", [name], self._made["shape", name], outType="INT32")
        if ("axis", name, axis) not in self._made:
            self._made["axis", name, axis] = self._new(_INT32, [1])
            ends = [self.constant(np.array([number], _INT32)) for number in (axis, 1)]
            self._add("SLICE", [self._made["shape", name], *ends], self._made["axis", name, axis])
        return self._made["axis", name, axis]

    def joined(self, kind: str, one: str, other: str) -> str:
        """Two vectors of one number, added or multiplied. kind: ADD or MUL."""
        if (kind, one, other) not in self._made:
            self._made[kind, one, other] = self._new(_INT32, [1])
            self._add(kind, [one, other], self._made[kind, one, other], fusedActivationFunction="NONE")
        return self._made[kind, one, other]

    def vector(self, pieces: list[str], values: list[Values], dtype: np.dtype[Any], rank: int) -> str:
        """The numbers, of which `values` are the values, as a vector of `dtype`, or a scalar."""
        key = ("vector", tuple(values), dtype, rank)
        if key in self._made:
            return self._made[key]
        result = pieces[0]
        if len(pieces) > 1:
            result = self._new(_INT32, [len(pieces)])
            self._add("CONCATENATION", pieces, result, axis=0, fusedActivationFunction="NONE")
        if rank == 0:
            scalar = self._new(_INT32, [])
            self._add("RESHAPE", [result, self.constant(np.zeros(0, _INT32))], scalar, newShape=[])
            result = scalar
        self._made[key] = self._cast(result, dtype)
        return self._made[key]

    def count(self, start: int, limit: str, step: int, axis: int, like: Array) -> str:
        """Whole numbers from start to limit along an axis, in the dtype and rank of `like`."""
        key = ("count", start, limit, step, axis, like.dtype, like.ndim)
        if key not in self._made:
            ends = [self.constant(np.array(number, _INT32)) for number in (start, step)]
            counted, shaped = self._new(_INT32, [like.size], [0]), self._new(_INT32, list(like.shape), [axis])
            self._add("RANGE", [ends[0], limit, ends[1]], counted)
            to = [-1 if each == axis else 1 for each in range(like.ndim)]
            self._add("RESHAPE", [counted, self.constant(np.array(to, _INT32))], shaped, newShape=to)
            self._made[key] = self._cast(shaped, like.dtype)
        return self._made[key]

    def tiled(self, base: str, multiples: str, shape: list[int], axes: list[int]) -> str:
        """A constant repeated; axes: those that are free."""
        key = ("tiled", base, multiples)
        if key not in self._made:
            self._made[key] = self._new(np.dtype(self.graph.tensors[base].dtype.lower()), shape, axes)
            self._add("TILE", [base, multiples], self._made[key])
        return self._made[key]

    def constant(self, values: Array) -> str:
        """A constant."""
        key = ("constant", values.dtype, values.shape, values.tobytes())
        if key not in self._made:
            self._made[key] = self._new(values.dtype, list(values.shape), data=values)
        return self._made[key]

    def _with(self, result: str, kind: str, number: int, neutral: int) -> str:
        return result if number == neutral else self.joined(kind, result, self.constant(np.array([number], _INT32)))

    def _cast(self, name: str, dtype: np.dtype[Any]) -> str:
        if dtype == _INT32:
            return name
        tensor = self.graph.tensors[name]
        cast = self._new(dtype, tensor.shape, [axis for axis, size in enumerate(tensor.shape_signature) if size < 0])
        self._add("CAST", [name], cast, inDataType="INT32", outDataType=dtype.name.upper())
        return cast

    def _new(
        self, dtype: np.dtype[Any], shape: list[int], axes: list[int] | None = None, data: Array | None = None
    ) -> str:
        tensor: Any = import_module("onnx2tf.tflite_builder.ir").TensorIR
        name = f"dlconv/free/{len(self.graph.tensors)}"
        signature = [-1 if axis in (axes or []) else size for axis, size in enumerate(shape)]
        self.graph.tensors[name] = tensor(name, dtype.name.upper(), shape, signature, data)
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **options: Any) -> None:
        operator: Any = import_module("onnx2tf.tflite_builder.ir").OperatorIR
        self.operators.append(operator(kind, inputs, [output], options))
