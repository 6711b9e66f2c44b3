"""Which inputs of which nodes are rounded where they enter: what is known before the data come is not data.

Constants, shapes, and all that is computed from these alone, is computed as it is stored, in every implementation
that folds constants and keeps shapes exact. It is rounded once, where it meets data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dlconv.graphs.onnx_clean import reads_of

if TYPE_CHECKING:
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode

_SHAPES = {"Shape", "Size"}
_NOT_DATA = {
    "Resize": {1, 2}, "Upsample": {1},
    "QuantizeLinear": {1}, "DequantizeLinear": {1}, "QLinearConv": {1, 4, 6}, "QLinearMatMul": {1, 4, 6},
}  # fmt: skip
"""Inputs that say where to sample, or what an integer stands for: no runtime holds them in a smaller float."""


@dataclass
class Roles:
    """What a node of the plan, or of a graph within it, does with what it is given.

    early: nodes (by id) that are computed before the data come. entering: of the others, the inputs by place that were
    known before. leaving: names, by the id of their graph, of outputs that were. makers: what computes a tensor.
    """

    early: set[int] = field(default_factory=set)
    entering: dict[int, frozenset[int]] = field(default_factory=dict)
    leaving: dict[int, frozenset[str]] = field(default_factory=dict)
    makers: dict[str, PlannedNode] = field(default_factory=dict)


def roles_of(plan: Plan) -> Roles:
    """The roles of all nodes of a main graph, whose inputs are data."""
    roles = Roles()
    _assign(plan, dict.fromkeys(plan.inputs, False), roles)
    return roles


def _assign(plan: Plan, outer: Mapping[str, bool], roles: Roles) -> None:
    """outer: for every tensor that is seen from outside, or given, whether it is known before the data come."""
    known = dict(outer) | dict.fromkeys(plan.weights, True)
    for node in plan.nodes:
        read = [name for name in reads_of(node.proto) if name in known]
        is_early = node.kind in _SHAPES or all(known[name] for name in read)
        if is_early:
            roles.early.add(id(node))
        else:
            spared = _NOT_DATA.get(node.kind, set())
            roles.entering[id(node)] = frozenset(
                place for place, name in enumerate(node.inputs) if name and known[name] and place not in spared
            )
        for body in node.bodies.values():
            _assign(body, known | dict.fromkeys(body.inputs, is_early), roles)
        for name in node.outputs:
            known[name] = is_early
            roles.makers[name] = node
    roles.leaving[id(plan)] = frozenset(name for name in plan.outputs if known.get(name, False))


def constants_of(plan: Plan) -> Iterator[tuple[int, str]]:
    """Every tensor stored in the plan and the graphs within it: the id of its array, and its name."""
    for name, array in plan.weights.items():
        yield id(array), name
    for node in plan.nodes:
        if node.kind == "Constant":
            yield id(node.attributes["value"]), node.outputs[0]
        for body in node.bodies.values():
            yield from constants_of(body)
