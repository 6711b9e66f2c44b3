"""The layout of an ONNX model's image inputs: read off the operators that take them, and turned when asked.

A layout is never guessed. An input is channels-first where a convolution, a pool or the like reads it as it is, and
channels-last where it reads it through the transpose that says so; what is read both ways, or by none, has no layout.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from dlconv.graphs.onnx_graph import graphs_of, inputs_of, signature_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Dim

Layout = Literal["nchw", "nhwc"]
Axes = tuple[int, ...]

_CHANNELS_FIRST = {
    "AveragePool", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "DepthToSpace", "GlobalAveragePool",
    "GlobalMaxPool", "InstanceNormalization", "LRN", "LpPool", "MaxPool", "QLinearConv", "SpaceToDepth",
}  # fmt: skip
_KEEPS_AXES = {
    "Abs", "Add", "Cast", "Clip", "DequantizeLinear", "Div", "Dropout", "Elu", "Identity", "LeakyRelu", "Mul", "Neg",
    "Pad", "QuantizeLinear", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh",
}  # fmt: skip
_IMAGE_RANKS = (4, 5)


def layouts(model: Proto) -> dict[str, Layout]:
    """The layout of each input of rank 4 or 5 that has one."""
    readers: dict[str, list[Proto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found: dict[str, Layout] = {}
    for spec in signature_of(model).inputs:
        if spec.shape is None or len(spec.shape) not in _IMAGE_RANKS:
            continue
        rank = len(spec.shape)
        named: dict[Axes, Layout] = {tuple(range(rank)): "nchw", _first_of_last(rank): "nhwc"}
        read: set[Layout | None] = {named.get(axes) for axes in _read_as(spec.name, spec.shape, readers, constants)}
        if len(read) == 1 and (layout := read.pop()) is not None:
            found[spec.name] = layout
    return found


def turn(model: Proto, wanted: Layout) -> dict[str, Axes]:
    """Make every image input `wanted`, in place: it keeps its name, and a transpose after it gives the model its own.

    Returns the permutation of each that was turned: its axis i is axis permutation[i] of what it was.
    """
    turned: dict[str, Axes] = {}
    known = layouts(model)
    for value in inputs_of(model.graph):
        if known.get(value.name, wanted) == wanted:
            continue
        rank = len(value.type.tensor_type.shape.dim)
        axes = _last_of_first(rank) if wanted == "nhwc" else _first_of_last(rank)
        _put_transpose(model, value.name, _inverse(axes))
        dims = [value.type.tensor_type.shape.dim[axis].SerializeToString() for axis in axes]
        for dim, content in zip(value.type.tensor_type.shape.dim, dims, strict=True):
            dim.ParseFromString(content)
        turned[value.name] = axes
    return turned


def _read_as(
    name: str, shape: tuple[Dim, ...], readers: dict[str, list[Proto]], constants: dict[str, Proto]
) -> Iterator[Axes]:
    """For each operator with a layout that reads the input: which of the input's axes are its axes, in order."""
    pending: list[tuple[str, Axes]] = [(name, tuple(range(len(shape))))]
    seen = {name}
    while pending:
        current, axes = pending.pop()
        for node in readers.get(current, ()):
            if node.op_type in _CHANNELS_FIRST:
                if node.input[0] == current:
                    yield axes
                continue
            after = _after(node, current, axes, shape, constants)
            if after is not None and node.output[0] not in seen:
                seen.add(node.output[0])
                pending.append((node.output[0], after))


def _after(node: Proto, name: str, axes: Axes, shape: tuple[Dim, ...], constants: dict[str, Proto]) -> Axes | None:
    """The axes of what the node gives, as axes of the input; None where it is no longer the input's image."""
    if node.op_type == "Transpose":
        order = next((tuple(item.ints) for item in node.attribute if item.name == "perm"), tuple(reversed(axes)))
        return tuple(axes[axis] for axis in order)
    if node.op_type == "Reshape" and node.input[0] == name:
        # With one channel a transpose to channels-first is the same as a reshape, and exporters write that.
        sizes = _integers(constants.get(node.input[1]))
        is_last = axes == tuple(range(len(shape))) and shape[-1] == 1
        if is_last and len(sizes) == len(shape) and sizes[1] == 1 and sizes[2:] == list(shape[1:-1]):
            return _first_of_last(len(shape))
        return None
    return axes if node.op_type in _KEEPS_AXES else None


def _integers(tensor: Proto | None) -> list[int]:
    if tensor is None:
        return []
    helper: Any = import_module("onnx.numpy_helper")
    return [int(value) for value in helper.to_array(tensor).ravel()]


def _put_transpose(model: Proto, name: str, order: Axes) -> None:
    helper: Any = import_module("onnx.helper")
    inner = f"{name}_as_the_source_has_it"
    for graph in graphs_of(model):
        for node in graph.node:
            for place, each in enumerate(node.input):
                if each == name:
                    node.input[place] = inner
    model.graph.node.insert(0, helper.make_node("Transpose", [name], [inner], f"turn_{name}", perm=list(order)))


def _first_of_last(rank: int) -> Axes:
    """Channels-first axes, as axes of the same image with its channels last."""
    return (0, rank - 1, *range(1, rank - 1))


def _last_of_first(rank: int) -> Axes:
    return (0, *range(2, rank), 1)


def _inverse(axes: Axes) -> Axes:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))
