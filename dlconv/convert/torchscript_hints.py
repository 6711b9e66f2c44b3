"""What a TorchScript graph says of each input: which operator consumes it, and what that one's weights demand.

Each input is followed through operators that only move or rescale it, up to one whose weights have known sizes.
The moves are then undone on the shape that this operator wants, which gives a shape of the input itself.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dlconv.errors import Unsupported
from dlconv.runtimes.torch_state import all_nodes
from dlconv.runtimes.torchscript import attribute

Wanted = tuple[int | str, ...]
"""Sizes, and the roles of those that are free: "batch", "length", "audio", "side", "feature"."""

_SAME = {
    "aten::to", "aten::contiguous", "aten::detach", "aten::clone", "aten::float", "aten::double", "aten::half",
    "aten::relu", "aten::clamp", "aten::clamp_min", "aten::dropout", "aten::neg", "aten::abs", "aten::sqrt",
    "aten::pow",
    "aten::add", "aten::sub", "aten::mul", "aten::div", "aten::rsub", "aten::log", "aten::exp", "aten::tanh",
    "aten::sigmoid", "aten::type_as", "aten::long", "aten::int", "prim::unchecked_cast", "aten::nan_to_num",
    "aten::masked_fill", "aten::alias", "aten::_set_item", "aten::bernoulli", "aten::add_", "aten::sub_", "aten::mul_",
    "aten::div_", "aten::relu_", "prim::data", "aten::floor", "aten::round", "aten::log1p", "aten::square",
    "aten::quantize_per_tensor", "aten::dequantize",
}  # fmt: skip


@dataclass(frozen=True)
class Hint:
    """A shape that an operator asks of an input. bound: integers lie under it. weight orders hints, heaviest first."""

    shape: Wanted
    integer: bool
    bound: int | None
    reason: str
    weight: int


@dataclass
class Hints:
    """All that was read. ranks: input -> ranks that the code itself says. sizes: integer constants of the program."""

    shapes: dict[str, list[Hint]] = field(default_factory=dict)
    ranks: dict[str, list[int]] = field(default_factory=dict)
    compared: dict[str, list[Any]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    is_sequence: bool = False


@dataclass(frozen=True)
class _Trail:
    name: str
    undo: tuple[Any, ...] = ()

    def back(self, shape: Wanted) -> Wanted | None:
        for step in reversed(self.undo):
            result = step(shape)
            if result is None:
                return None
            shape = result
        return shape


def read_hints(module: Any, leaves: dict[str, Any]) -> Hints:
    """Hints for each leaf input. leaves: name -> the graph's argument name and the member within it, if any."""
    reader = _Reader(module)
    reader.read(leaves)
    return reader.hints


class _Reader:
    def __init__(self, module: Any) -> None:
        self.graph = module.inlined_graph
        self.module = module
        self.hints = Hints()
        self.trails: dict[int, _Trail] = {}
        self.values: dict[int, Any] = {}

    def read(self, leaves: dict[str, Any]) -> None:
        arguments = list(self.graph.inputs())
        self.values[arguments[0].unique()] = self.module
        by_name = {value.debugName().split(".")[0]: value for value in arguments[1:]}
        names = [argument.name for argument in self.module.forward.schema.arguments[1:]]
        by_name.update(zip(names, arguments[1:], strict=True))
        self.members: dict[int, dict[Any, str]] = {}
        for leaf, (argument, member) in leaves.items():
            value = by_name[argument]
            if member is None:
                self.trails[value.unique()] = _Trail(leaf)
            else:
                self.members.setdefault(value.unique(), {})[member] = leaf
        self._block(self.graph)
        self.hints.sizes = _usual_constants(self.graph)

    def _block(self, block: Any) -> None:
        for node in block.nodes():
            for inner in node.blocks():
                self._block(inner)
            if node.kind() == "prim::If":
                self._join(node)
            else:
                self._node(node)

    def _join(self, node: Any) -> None:
        # What leaves a branch is the input still, if either branch hands it on.
        for block in node.blocks():
            for inner, outer in zip(block.outputs(), node.outputs(), strict=True):
                trail, known = self.trails.get(inner.unique()), self.trails.get(outer.unique())
                if trail is not None and (known is None or len(trail.undo) < len(known.undo)):
                    self.trails[outer.unique()] = trail
                if inner.unique() in self.values:
                    self.values.setdefault(outer.unique(), self.values[inner.unique()])

    def _node(self, node: Any) -> None:
        kind, inputs = node.kind(), list(node.inputs())
        if kind == "prim::Constant":
            if node.output().type().kind() not in {"NoneType", "FunctionType"}:
                self.values[node.output().unique()] = node.output().toIValue()
        elif kind == "prim::GetAttr":
            owner = self.values.get(inputs[0].unique())
            if owner is not None:
                with suppress(AttributeError, Unsupported):  # nothing is known of it
                    self.values[node.output().unique()] = attribute(owner, node.s("name"))
        elif kind in {"prim::ListConstruct", "prim::TupleConstruct"}:
            self._construct(node, inputs)
        elif kind in {"prim::ListUnpack", "prim::TupleUnpack", "aten::__getitem__"}:
            self._unpack(node, inputs)
        elif kind in {"aten::eq", "aten::ne", "aten::gt", "aten::lt"}:
            self._compare(inputs)
        else:
            self._move_or_consume(node, kind, inputs)

    def _construct(self, node: Any, inputs: list[Any]) -> None:
        self.values[node.output().unique()] = [self.values.get(item.unique()) for item in inputs]
        trails = [self.trails[item.unique()] for item in inputs if item.unique() in self.trails]
        if len(trails) == 1 and node.output().type().kind() == "ListType":
            self.trails[node.output().unique()] = trails[0]  # a list for cat, stack or index

    def _unpack(self, node: Any, inputs: list[Any]) -> None:
        source = inputs[0].unique()
        if source in self.members:
            keys = range(node.outputsSize()) if node.outputsSize() > 1 else [self.values.get(inputs[-1].unique(), 0)]
            for key, value in zip(keys, node.outputs(), strict=False):
                if key in self.members[source]:
                    self.trails[value.unique()] = _Trail(self.members[source][key])
            return
        size_of = self.values.get(source)
        if isinstance(size_of, _SizeOf) and node.kind() != "aten::__getitem__":
            self._rank(size_of.trail, node.outputsSize())
            return
        members = self.values.get(source)
        if isinstance(members, (list, tuple)) and node.kind() != "aten::__getitem__":
            for value, output in zip(members, node.outputs(), strict=False):
                self.values[output.unique()] = value

    def _compare(self, inputs: list[Any]) -> None:
        for here, other in ((inputs[0], inputs[1]), (inputs[1], inputs[0])):
            trail, value = self.trails.get(here.unique()), self.values.get(other.unique())
            if trail is not None and isinstance(value, (int, float, str)):
                self.hints.compared.setdefault(trail.name, []).append(value)
            rank = self.values.get(here.unique())
            if isinstance(rank, _RankOf) and isinstance(value, int):
                self._rank(rank.trail, value)

    def _rank(self, trail: _Trail, rank: int) -> None:
        back = trail.back(("feature",) * rank)
        if back is not None and len(back) not in self.hints.ranks.setdefault(trail.name, []):
            self.hints.ranks[trail.name].append(len(back))

    def _move_or_consume(self, node: Any, kind: str, inputs: list[Any]) -> None:
        from dlconv.convert.torchscript_consumers import consume

        if kind in {"aten::scaled_dot_product_attention", "aten::lstm", "aten::gru", "aten::softmax"}:
            self.hints.is_sequence = True
        plain = [self.values.get(item.unique()) for item in inputs]
        if kind == "aten::t" and plain and plain[0] is not None:
            self.values[node.output().unique()] = plain[0].t() if hasattr(plain[0], "t") else None
        for position, value in enumerate(inputs):
            trail = self.trails.get(value.unique())
            if trail is None:
                continue
            for shape, integer, bound, weight in consume(kind, position, plain):
                back = trail.back(shape)
                if back is not None:
                    self.hints.shapes.setdefault(trail.name, []).append(Hint(back, integer, bound, kind, weight))
            self._follow(node, kind, position, trail, plain)

    def _follow(self, node: Any, kind: str, position: int, trail: _Trail, plain: list[Any]) -> None:
        output = node.output() if node.outputsSize() == 1 else None
        if output is None or output.unique() in self.trails:
            return
        if kind == "aten::size" and len(plain) == 1:
            self.values[output.unique()] = _SizeOf(trail)
        elif kind in {"aten::dim", "aten::len"}:
            self.values[output.unique()] = _RankOf(trail)
        elif kind in _SAME and (position == 0 or kind in {"aten::add", "aten::mul"}):
            self.trails[output.unique()] = trail
        elif position == 0 or kind in {"aten::cat", "aten::stack"}:
            undo = _undo(kind, plain)
            if undo is not None:
                self.trails[output.unique()] = _Trail(trail.name, (*trail.undo, undo))


@dataclass(frozen=True)
class _SizeOf:
    trail: _Trail


@dataclass(frozen=True)
class _RankOf:
    trail: _Trail


def _undo(kind: str, plain: list[Any]) -> Any:
    """The function that turns the shape after an operator into the shape before it, or None."""
    if kind == "aten::unsqueeze" and isinstance(plain[1], int):
        return lambda shape, axis=plain[1]: _without(shape, axis)
    if kind in {"aten::squeeze"} and len(plain) > 1 and isinstance(plain[1], int):
        return lambda shape, axis=plain[1]: _with_one(shape, axis)
    if kind == "aten::transpose" and isinstance(plain[1], int) and isinstance(plain[2], int):
        return lambda shape, a=plain[1], b=plain[2]: _swapped(shape, a, b)
    if kind == "aten::permute" and isinstance(plain[1], list) and all(isinstance(i, int) for i in plain[1]):
        return lambda shape, order=tuple(plain[1]): _unpermuted(shape, order)
    if kind == "aten::slice" and isinstance(plain[1], int):
        whole = plain[2] in {0, None} and (plain[3] is None or (isinstance(plain[3], int) and plain[3] > 1 << 40))
        return (lambda shape: shape) if whole else (lambda shape, axis=plain[1]: _freed(shape, axis))
    if kind == "aten::cat" and len(plain) > 1 and isinstance(plain[1], int):
        return lambda shape, axis=plain[1]: _freed(shape, axis)
    if kind == "aten::select" and isinstance(plain[1], int):
        return lambda shape, axis=plain[1]: _with(shape, axis, "length")
    return None


def _without(shape: Wanted, axis: int) -> Wanted | None:
    axis = axis % len(shape) if shape else 0
    fits = bool(shape) and (shape[axis] == 1 or isinstance(shape[axis], str))
    return (*shape[:axis], *shape[axis + 1 :]) if fits else None


def _with_one(shape: Wanted, axis: int) -> Wanted:
    return _with(shape, axis, 1)


def _with(shape: Wanted, axis: int, size: int | str) -> Wanted:
    axis = axis % (len(shape) + 1)
    return (*shape[:axis], size, *shape[axis:])


def _swapped(shape: Wanted, first: int, second: int) -> Wanted | None:
    if max(first, second) >= len(shape) or min(first, second) < -len(shape):
        return None
    sizes = list(shape)
    sizes[first], sizes[second] = sizes[second], sizes[first]
    return tuple(sizes)


def _unpermuted(shape: Wanted, order: tuple[int, ...]) -> Wanted | None:
    if len(order) != len(shape):
        return None
    sizes: list[int | str] = list(shape)
    for position, axis in enumerate(order):
        sizes[axis] = shape[position]
    return tuple(sizes)


def _freed(shape: Wanted, axis: int) -> Wanted | None:
    if not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    role = shape[axis] if isinstance(shape[axis], str) else "feature"
    return (*shape[:axis], role, *shape[axis + 1 :])


def _usual_constants(graph: Any) -> list[int]:
    """Integers of the program that could be a size, the most frequent first."""
    counts: dict[int, int] = {}
    for node in all_nodes(graph):
        if node.kind() == "prim::Constant" and node.output().type().kind() == "IntType":
            value = node.output().toIValue()
            if 4 <= value <= 1 << 20:
                counts[value] = counts.get(value, 0) + len(node.output().uses())
    return sorted(counts, key=lambda value: (-counts[value], value))
