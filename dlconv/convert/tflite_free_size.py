"""A free size in a TFLite graph, by comparing the same model lowered at two sizes.

With all sizes known a graph is simple: nothing is computed at run time, and delegates take it whole. What must not
depend on the size shows when the model is lowered at two of them: the operators are the same one for one, and only
some shapes and constants differ. Those are made free: a shape's axis becomes -1, a constant that holds sizes gets a
-1 or is computed from the input's shape at run time, a constant repeated along the axis is repeated at run time.
Whatever differs in another way is refused, so nothing is guessed.

Graphs are onnx2tf's ModelIR; the first is changed and becomes the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from dlconv.errors import StepError

Array = np.ndarray[Any, Any]

_BROADCASTING = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SELECT_V2", "SQUARED_DIFFERENCE"}


def free(first: Any, second: Any, sizes: tuple[int, int], anchor: tuple[str, int]) -> Any:
    """`first` with the size free that is sizes[0] there and sizes[1] in `second`; anchor: an input and its axis of it.

    Raises StepError where the two differ in more than shapes and constants that hold or follow the size.
    """
    return _Freeing(first, second, sizes, anchor).run()


@dataclass
class _Freeing:
    first: Any
    second: Any
    sizes: tuple[int, int]
    anchor: tuple[str, int]
    before: list[Any] = field(default_factory=list)  # operators that compute the size, ahead of all others
    made: dict[str, str] = field(default_factory=dict)  # name of a computed tensor by what it holds

    def run(self) -> Any:
        pairs = list(zip(self.first.operators, self.second.operators, strict=False))
        kinds = [[operator.op_type for operator in graph.operators] for graph in (self.first, self.second)]
        if kinds[0] != kinds[1]:
            raise StepError("the converter makes other operators at another size")
        for one, other in pairs:
            if one.op_type not in ("RESHAPE", "STRIDED_SLICE") and one.options != other.options:
                raise StepError(f"{one.op_type} has other options at another size")
            for names in (zip(one.inputs, other.inputs, strict=True), zip(one.outputs, other.outputs, strict=True)):
                for place, (name, same) in enumerate(names):
                    if name:
                        self._meet(one, place, self.first.tensors[name], self.second.tensors[same])
        boundary = zip(
            (*self.first.inputs, *self.first.outputs), (*self.second.inputs, *self.second.outputs), strict=True
        )
        for name, same in boundary:
            _free_axes(self.first.tensors[name], self.second.tensors[same])
        for name in self.first.inputs:
            tensor = self.first.tensors[name]  # opened without a word about sizes, the file takes one of what is free
            tensor.shape = [
                1 if stated == -1 else size for size, stated in zip(tensor.shape, tensor.shape_signature, strict=True)
            ]
        self.first.operators[:0] = self.before
        return self.first

    def _meet(self, operator: Any, place: int, one: Any, other: Any) -> None:
        if (one.data is None) != (other.data is None) or one.dtype != other.dtype:
            raise StepError(f"an input of {operator.op_type} is another kind of tensor at another size")
        if one.data is None:
            _free_axes(one, other)
            return
        values, others = np.asarray(one.data), np.asarray(other.data)
        if values.shape == others.shape and np.array_equal(values, others):
            return
        if values.ndim != others.ndim:
            raise StepError(f"a constant of {operator.op_type} has another rank at another size")
        if values.shape != others.shape:
            operator.inputs[place] = self._repeated(operator, values, others)
        elif values.ndim == 1 and values.dtype.kind == "i":
            operator.inputs[place] = self._vector(operator, place, values, others)
        else:
            raise StepError(f"a constant of {operator.op_type} has other values at another size")

    def _vector(self, operator: Any, place: int, values: Array, others: Array) -> str:
        """A vector of sizes: with one -1 where RESHAPE or SLICE understand it, else computed at run time."""
        differing = np.flatnonzero(values != others)
        understands = (operator.op_type, place) in (("RESHAPE", 1), ("SLICE", 2)) and not (values == -1).any()
        if understands and len(differing) == 1:
            free_values = values.copy()
            free_values[differing[0]] = -1
            if operator.op_type == "RESHAPE":
                operator.options["newShape"] = free_values.tolist()
                return self._constant(free_values)
            begin = self.first.tensors[operator.inputs[1]].data
            whole = self.first.tensors[operator.inputs[0]].shape
            if begin is not None and begin[differing[0]] + values[differing[0]] == whole[differing[0]]:
                return self._constant(free_values)
        if operator.op_type == "RESHAPE":
            operator.options["newShape"] = []
        return self._computed(values, others)

    def _repeated(self, operator: Any, values: Array, others: Array) -> str:
        """A constant that repeats itself along the free axes: once, where the operator repeats it, else repeated."""
        axes = [axis for axis in range(values.ndim) if values.shape[axis] != others.shape[axis]]
        once = values
        for axis in axes:
            period, rest = divmod(values.shape[axis], self.sizes[0])
            if rest or others.shape[axis] != period * self.sizes[1]:
                raise StepError(f"a constant of {operator.op_type} does not grow in step with the size")
            once = once.take(range(period), axis)
        times = [
            [shape[axis] // once.shape[axis] for axis in range(once.ndim)] for shape in (values.shape, others.shape)
        ]
        if not all(np.array_equal(np.tile(once, by), whole) for by, whole in zip(times, (values, others), strict=True)):
            raise StepError(f"a constant of {operator.op_type} has new values at another size")
        base = self._constant(once)
        if operator.op_type in _BROADCASTING and all(once.shape[axis] == 1 for axis in axes):
            return base
        multiples = self._computed(*(np.array(by, np.int32) for by in times))
        key = f"tiled {base} {multiples}"
        if key not in self.made:
            self.made[key] = self._new(values.dtype, list(values.shape), axes)
            self._add("TILE", [base, multiples], self.made[key])
        return self.made[key]

    def _computed(self, values: Array, others: Array) -> str:
        """A vector whose entries that differ are multiples of the size, computed from the anchor's shape."""
        key = f"computed {values.tolist()} {others.tolist()}"
        if key in self.made:
            return self.made[key]
        pieces = [self._entry(int(value), int(other)) for value, other in zip(values, others, strict=True)]
        if len(pieces) == 1:
            self.made[key] = pieces[0]
        else:
            self.made[key] = self._new(np.dtype(np.int32), [len(pieces)])
            options = {"axis": 0, "fusedActivationFunction": "NONE"}
            self._add("CONCATENATION", pieces, self.made[key], **options)
        return self.made[key]

    def _entry(self, value: int, other: int) -> str:
        if value == other:
            return self._constant(np.array([value], np.int32))
        factor, rest = divmod(value, self.sizes[0])
        if rest or factor * self.sizes[1] != other:
            raise StepError(
                f"{value} became {other} where {self.sizes[0]} became {self.sizes[1]}: no multiple of the size"
            )
        size = self._size()
        key = f"times {factor}"
        if factor != 1 and key not in self.made:
            self.made[key] = self._new(np.dtype(np.int32), [1])
            by = self._constant(np.array([factor], np.int32))
            self._add("MUL", [size, by], self.made[key], fusedActivationFunction="NONE")
        return size if factor == 1 else self.made[key]

    def _size(self) -> str:
        if "size" not in self.made:
            name, axis = self.anchor
            shape = self._new(np.dtype(np.int32), [len(self.first.tensors[name].shape)])
            self._add("SHAPE", [name], shape, outType="INT32")
            self.made["size"] = self._new(np.dtype(np.int32), [1])
            place, one = (self._constant(np.array([number], np.int32)) for number in (axis, 1))
            self._add("SLICE", [shape, place, one], self.made["size"])
        return self.made["size"]

    def _constant(self, values: Array) -> str:
        key = f"constant {values.dtype} {values.shape} {values.tobytes().hex()}"
        if key not in self.made:
            self.made[key] = self._new(values.dtype, list(values.shape), data=values)
        return self.made[key]

    def _new(
        self, dtype: np.dtype[Any], shape: list[int], axes: list[int] | None = None, data: Array | None = None
    ) -> str:
        tensor: Any = import_module("onnx2tf.tflite_builder.ir").TensorIR
        name = f"dlconv/free/{len(self.first.tensors)}"
        signature = [-1 if axis in (axes or []) else size for axis, size in enumerate(shape)]
        self.first.tensors[name] = tensor(name, dtype.name.upper(), shape, signature, data)
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **options: Any) -> None:
        operator: Any = import_module("onnx2tf.tflite_builder.ir").OperatorIR
        self.before.append(operator(kind, inputs, [output], options))


def _free_axes(one: Any, other: Any) -> None:
    if len(one.shape) != len(other.shape):
        raise StepError(f"the tensor {one.name} has another rank at another size")
    signature = list(one.shape_signature or one.shape)
    one.shape_signature = [
        -1 if size != same else stated for size, same, stated in zip(one.shape, other.shape, signature, strict=True)
    ]
