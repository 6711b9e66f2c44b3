"""Free sizes in a TFLite graph, by comparing the same model lowered at several combinations of them.

With all sizes known a graph is simple: nothing is computed at run time, and delegates take it whole. What must not
depend on a size shows when the model is lowered at others: the operators are the same one for one, and only some
shapes and constants differ. Those are made free: a shape's axis becomes -1, a constant that holds sizes gets a -1 or
is computed at run time, by a formula in the inputs' sizes that holds at every combination or from a tensor with an
axis of that size; a constant that is the same all along an axis is repeated at run time.
Whatever differs in another way is refused, so nothing is guessed.

Graphs are onnx2tf's ModelIR; the first is changed and becomes the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_followers import is_of_sizes
from dlconv.convert.size_formula import fitted
from dlconv.convert.tflite_computed import Computed
from dlconv.errors import StepError

if TYPE_CHECKING:
    from dlconv.convert.size_formula import Point, Values
    from dlconv.convert.tflite_computed import Place

Array = np.ndarray[Any, Any]

_BROADCASTING = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "SELECT_V2", "SQUARED_DIFFERENCE"}


def free(graphs: list[Any], points: tuple[Point, ...], places: dict[str, Place]) -> Any:
    """The first of `graphs` with the sizes free that differ between `points`, a graph each.

    points: as `size_formula.fitted` wants them. places: an input and its axis for each of the sizes.
    Raises StepError where the graphs differ in more than shapes and constants that hold or follow the sizes.
    """
    return _Freeing(graphs, points, places).run()


def share_weights(one: Any, other: Any) -> None:
    """Keep once what two graphs have alike: weights take the most of their memory."""
    for name, tensor in other.tensors.items():
        same = one.tensors.get(name)
        if isinstance(tensor.data, np.ndarray) and same is not None and np.array_equal(tensor.data, same.data):
            tensor.data = same.data


class _Freeing:
    def __init__(self, graphs: list[Any], points: tuple[Point, ...], places: dict[str, Place]) -> None:
        self.graphs = graphs
        self.first = graphs[0]
        self.points = points
        self.computed = Computed(self.first, places)
        self.axes: dict[Values, Place] = {}  # where a size can be read at run time that no formula gives

    def run(self) -> Any:
        rows = list(zip(*(graph.operators for graph in self.graphs), strict=False))
        kinds = [[operator.op_type for operator in graph.operators] for graph in self.graphs]
        if any(each != kinds[0] for each in kinds):
            raise StepError("the converter makes other operators at another size")
        for name in zip(*(graph.inputs for graph in self.graphs), strict=True):
            self._free_axes(name)
        operators: list[Any] = []
        for row in rows:
            if row[0].op_type not in ("RESHAPE", "STRIDED_SLICE") and any(
                each.options != row[0].options for each in row
            ):
                raise StepError(f"{row[0].op_type} has other options at another size")
            for place, names in enumerate(zip(*(each.inputs for each in row), strict=True)):
                if names[0]:
                    self._meet(row[0], place, names)
            for names in zip(*(each.outputs for each in row), strict=True):
                self._free_axes(names)
            operators += [*self.computed.operators, row[0]]
            self.computed.operators.clear()
        for names in zip(*(graph.outputs for graph in self.graphs), strict=True):
            self._free_axes(names)
        self.first.operators[:] = operators
        for parts in zip(*(graph.subgraphs for graph in self.graphs), strict=True):
            _Freeing(list(parts), self.points, _places_in(parts, self.points)).run()
        return self.first

    def _free_axes(self, names: tuple[str, ...]) -> None:
        """Free the axes of a computed tensor that differ, and note where their sizes can be read."""
        one, *others = (graph.tensors[name] for graph, name in zip(self.graphs, names, strict=True))
        if any(len(each.shape) != len(one.shape) for each in others):
            raise StepError(f"the tensor {one.name} has another rank at another size")
        signature = list(one.shape_signature or one.shape)
        for axis, sizes in enumerate(zip(one.shape, *(each.shape for each in others), strict=True)):
            if len(set(sizes)) > 1:
                signature[axis] = -1
                self.axes.setdefault(sizes, (one.name, axis))
        one.shape_signature = signature

    def _meet(self, operator: Any, place: int, names: tuple[str, ...]) -> None:
        one, *others = (graph.tensors[name] for graph, name in zip(self.graphs, names, strict=True))
        if any((one.data is None) != (each.data is None) or one.dtype != each.dtype for each in others):
            raise StepError(f"an input of {operator.op_type} is another kind of tensor at another size")
        if one.data is None:
            return
        arrays = [_data(each) for each in (one, *others)]
        if all(array is arrays[0] or np.array_equal(array, arrays[0]) for array in arrays[1:]):
            return
        if any(array.ndim != arrays[0].ndim for array in arrays):
            raise StepError(f"a constant of {operator.op_type} has another rank at another size")
        if any(array.shape != arrays[0].shape for array in arrays):
            operator.inputs[place] = self._repeated(operator, place, arrays)
        elif all(is_of_sizes(array) for array in arrays):
            operator.inputs[place] = self._vector(operator, place, arrays)
        else:
            raise StepError(f"a constant of {operator.op_type} has other values at another size")

    def _vector(self, operator: Any, place: int, arrays: list[Array]) -> str:
        """A vector of sizes: with one -1 where RESHAPE or SLICE understand it, else computed at run time."""
        values = arrays[0]
        differing = [spot for spot in range(values.size) if len({int(array.flat[spot]) for array in arrays}) > 1]
        understands = (operator.op_type, place) in (("RESHAPE", 1), ("SLICE", 2)) and not (values == -1).any()
        if understands and len(differing) == 1:
            free_values = values.copy()
            free_values[differing[0]] = -1
            if operator.op_type == "RESHAPE":
                operator.options["newShape"] = free_values.tolist()
                return self.computed.constant(free_values)
            begin = self.first.tensors[operator.inputs[1]].data
            whole = self.first.tensors[operator.inputs[0]].shape
            if begin is not None and begin[differing[0]] + values[differing[0]] == whole[differing[0]]:
                return self.computed.constant(free_values)
        if operator.op_type == "RESHAPE":
            operator.options["newShape"] = []
        return self._held(arrays)

    def _held(self, arrays: list[Array]) -> str:
        numbers: list[Values] = list(zip(*([int(value) for value in array.flat] for array in arrays), strict=True))
        pieces = [self._number(values) for values in numbers]
        return self.computed.vector(pieces, numbers, arrays[0].dtype, arrays[0].ndim)

    def _number(self, values: Values) -> str:
        """A vector of one number that has these values at the points."""
        if len(set(values)) == 1:
            return self.computed.constant(np.array(values[:1], np.int32))
        formula = fitted(values, self.points)
        if formula is not None and {line.name for line in formula.lines} <= {*self.computed.places}:
            return self.computed.formula(formula)
        if values in self.axes:
            return self.computed.axis(*self.axes[values])
        for sizes, place in self.axes.items():
            if all(size and value % size == 0 for value, size in zip(values, sizes, strict=True)):
                rest = tuple(value // size for value, size in zip(values, sizes, strict=True))
                if len(set(rest)) == 1 or fitted(rest, self.points):
                    return self.computed.joined("MUL", self.computed.axis(*place), self._number(rest))
            if len({value - size for value, size in zip(values, sizes, strict=True)}) == 1:
                rest = (values[0] - sizes[0],)
                return self.computed.joined("ADD", self.computed.axis(*place), self._number(rest))
        told = ", ".join(str(point) for point in self.points)
        raise StepError(f"{list(values)} at {told} follows no sizes")

    def _repeated(self, operator: Any, place: int, arrays: list[Array]) -> str:
        """A constant that is the same all along some axes, and counts along one at most: once, where the operator
        repeats it, else repeated."""
        rank = arrays[0].ndim
        alike = [
            axis
            for axis in range(rank)
            if all(_is_alike(array, axis) for array in arrays) and any(array.shape[axis] > 1 for array in arrays)
        ]
        bases = [array[tuple(slice(1) if axis in alike else slice(None) for axis in range(rank))] for array in arrays]
        if all(np.array_equal(base, bases[0]) for base in bases):
            base = self.computed.constant(np.ascontiguousarray(bases[0]))
        else:
            base = self._counted(operator, bases)
        if not alike or self._is_broadcast(operator, place, alike, arrays[0].shape):
            return base
        times = [np.array([n if axis in alike else 1 for axis, n in enumerate(array.shape)], np.int32)
                 for array in arrays]  # fmt: skip
        free_axes = [axis for axis in range(rank) if len({array.shape[axis] for array in arrays}) > 1]
        return self.computed.tiled(base, self._held(times), list(arrays[0].shape), free_axes)

    def _counted(self, operator: Any, bases: list[Array]) -> str:
        """start, start + step, ... along one axis."""
        rows = [base.ravel() for base in bases if base.dtype.kind == "i" and max(base.shape) == base.size]
        start, second = (int(number) for number in max(rows, key=len)[:2]) if len(rows) == len(bases) else (0, 0)
        step = second - start
        if step <= 0 or not all(np.array_equal(row, start + step * np.arange(len(row))) for row in rows):
            raise StepError(f"a constant of {operator.op_type} has new values at another size")
        limit = self._held([np.array(start + step * base.size, np.int32) for base in bases])
        axis = int(np.argmax(max(bases, key=np.size).shape))
        return self.computed.count(start, limit, step, axis, bases[0])

    def _is_broadcast(self, operator: Any, place: int, axes: list[int], shape: tuple[int, ...]) -> bool:
        """Whether the operator repeats the constant by itself: another input has its free axes at their length."""
        if operator.op_type not in _BROADCASTING:
            return False
        tensors = [self.first.tensors[name] for spot, name in enumerate(operator.inputs) if spot != place]
        others = [tensor.shape for tensor in tensors if tensor.data is None]
        return any(
            len(other) >= len(shape) and all(other[len(other) - len(shape) + axis] == shape[axis] for axis in axes)
            for other in others
        )


def _data(tensor: Any) -> Array:
    """The values of a constant: its tensor knows its rank, for scalars come as vectors of one."""
    values = np.asarray(tensor.data)
    return values.reshape(tensor.shape) if values.size == 1 else values


def _places_in(graphs: tuple[Any, ...], points: tuple[Point, ...]) -> dict[str, Place]:
    """An input of a loop's part and its axis for each size that is one of its inputs' sizes."""
    places: dict[str, Place] = {}
    for names in zip(*(graph.inputs for graph in graphs), strict=True):
        shapes = [graph.tensors[name].shape for graph, name in zip(graphs, names, strict=True)]
        for axis, sizes in enumerate(zip(*shapes, strict=True)):
            for name in points[0]:
                if sizes == tuple(point[name] for point in points):
                    places.setdefault(name, (names[0], axis))
    return places


def _is_alike(array: Array, axis: int) -> bool:
    """Whether all slices along the axis are one."""
    return array.size > 0 and bool((array == array.take([0], axis)).all())
