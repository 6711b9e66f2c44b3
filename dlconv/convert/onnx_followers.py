"""What of an ONNX graph follows the sizes of its inputs, by folding it at two combinations of them.

With the sizes known much of a graph is constant. Runs where onnx and onnxruntime are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert import onnx_fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Dim
    from dlconv.runtimes.base import Tensors

Array = np.ndarray[Any, Any]

_MOST_SIZES = 16  # in a vector of them
_FIRST_IR_WITH_FREE_WEIGHTS = 4  # before it every initializer had to be listed as an input too
_STEPWISE = {"Min", "Max", "Clip", "Mod", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
_ROUNDING = {"Div", "Floor", "Ceil", "Round", "Cast"}  # where the result is the same of other sizes


@dataclass(frozen=True)
class Followers:
    """What follows the inputs' sizes. apart: tensors that are known where the sizes are, and that only a running model
    can make for all sizes. axes: those of each tensor that have other sizes."""

    apart: frozenset[str] = frozenset()
    axes: Mapping[str, set[int]] = field(default_factory=dict[str, set[int]])


def followers(model: Proto, feeds: tuple[Tensors, Tensors]) -> Followers:
    """What differs between the sizes of `feeds`.

    Apart is what holds no sizes itself (positions, masks, what is expanded), and what is made of sizes in steps, which
    may look the same, or a line, at all that are tried.
    """
    one, two = ({name: array.shape for name, array in feed.items()} for feed in feeds)
    copy = sized(model, one)
    steps = [(node.op_type, set(node.input), list(node.output)) for node in copy.graph.node]
    (first, shapes), (other, others) = _folded(copy), _folded(sized(model, two))
    differing = {name for name in first if name in other and first[name] != other[name]}
    stepwise = {name for kind, read, made in steps for name in made if differing & read
                and (kind in _STEPWISE or (kind in _ROUNDING and name not in differing))}  # fmt: skip
    axes = {
        name: {
            axis for axis, (size, same) in enumerate(zip(shape, others.get(name, shape), strict=False)) if size != same
        }
        for name, shape in shapes.items()
    }
    sizes = {name for name in differing
             if first[name].are_sizes and other[name].are_sizes and first[name].shape == other[name].shape}  # fmt: skip
    return Followers(frozenset(stepwise | (differing - sizes)), axes)


@dataclass(frozen=True)
class _Known:
    shape: tuple[int, ...]
    content: bytes
    are_sizes: bool


def _folded(model: Proto) -> tuple[dict[str, _Known], dict[str, list[int]]]:
    """What is known at the sizes of the inputs, and the shapes of what is not."""
    met: dict[str, _Known] = {}

    def tell(folded: dict[str, Array]) -> None:
        for name, values in folded.items():
            content = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
            met[name] = _Known(values.shape, content, is_of_sizes(values))

    graph = onnx_fold.fold(model, told=tell).graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
              for value in (*graph.input, *graph.value_info)}  # fmt: skip
    return met, shapes


def is_of_sizes(values: Array) -> bool:
    """Whether it may be a size or a vector of sizes, on their way through float numbers too."""
    if values.ndim > 1 or values.size > _MOST_SIZES:
        return False
    return values.dtype.kind == "i" or (
        values.dtype.kind == "f" and bool(np.isfinite(values).all() and (values % 1 == 0).all())
    )


def sized(model: Proto, shapes: Mapping[str, tuple[Dim, ...]]) -> Proto:
    """A copy of `model` with these sizes of its inputs, functions inlined; a text leaves a dimension free."""
    onnx: Any = import_module("onnx")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if copy.functions:
        copy = import_module("onnx.inliner").inline_local_functions(copy)
    copy.ir_version = max(copy.ir_version, _FIRST_IR_WITH_FREE_WEIGHTS)
    _set_shapes(copy.graph, shapes)
    return copy


def _set_shapes(graph: Proto, shapes: Mapping[str, tuple[Dim, ...]]) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    changed = False
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, shapes[value.name], strict=True):
            if isinstance(size, str):
                changed |= dim.dim_param != size
                dim.dim_param = size
            else:
                changed |= dim.dim_value != size
                dim.dim_value = size
    if changed:  # what was noted of inner tensors is no longer true
        del graph.value_info[:]
        for value in graph.output:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
