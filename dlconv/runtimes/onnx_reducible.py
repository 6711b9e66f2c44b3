"""Which nodes of an ONNX model a precision touches: those among which the search for a keep-list chooses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from dlconv.graphs.onnx_masks import before_softmax
from dlconv.runtimes.onnx_int8_operators import QUANTISED
from dlconv.runtimes.onnx_joined import joined
from dlconv.runtimes.onnx_plan import name_of, program_of
from dlconv.runtimes.onnx_rounded_plan import roles_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dlconv.runtimes.onnx_plan import Plan, PlannedNode
    from dlconv.runtimes.onnx_rounded_plan import Roles

_NEAR: Final = 4
"""No converter joins a node with more that follow it: a product, its bias, a change of shape, an activation."""


def names(path: str, precision: str) -> list[str]:
    """The names (`onnx_keep.names_of`) of the nodes that compute with data, in the order of computation; for int8 those
    alone whose operators are quantised: not the last step of another, nor a mask's sum."""
    plan = program_of(Path(path)).plan
    if precision != "int8":
        return list(_names(plan, roles_of(plan), None))
    masked = before_softmax([node.proto for node in plan.nodes])
    spared = {name_of(activation) for _, activation in joined(plan)}
    spared |= {name_of(node) for node in plan.nodes if not masked.isdisjoint(node.outputs)}
    return [name for name in _names(plan, roles_of(plan), set(QUANTISED)) if name not in spared]


def outputs(path: str, names: list[str]) -> dict[str, list[list[str]]]:
    """By node, of those named, the tensors by which a converted file may know it: its own outputs with those of an
    activation that may be its last step, then, node by node, what is made of them. A converter joins a node with
    others, and its file knows the last of them alone."""
    plans = [program_of(Path(path)).plan]
    nodes: list[PlannedNode] = []
    last = {name_of(maker): list(activation.outputs) for maker, activation in joined(plans[0])}
    while plans:
        plan = plans.pop()
        plans += [body for node in plan.nodes for body in node.bodies.values()]
        nodes += plan.nodes
    known = {name_of(node): node for node in nodes}
    readers: dict[str, list[PlannedNode]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return {name: [_made(known[name]) + last.get(name, []), *_later(known[name], readers)] for name in names}


def _made(node: PlannedNode) -> list[str]:
    return [name for name in node.outputs if name]


def _later(node: PlannedNode, readers: Mapping[str, Sequence[PlannedNode]]) -> list[list[str]]:
    """What the nearest _NEAR nodes make that what this one makes goes into."""
    found: dict[int, PlannedNode] = {}
    waiting = [node]
    while waiting and len(found) < _NEAR:
        following = [each for name in waiting.pop(0).outputs for each in readers.get(name, ()) if id(each) not in found]
        found |= {id(each): each for each in following}
        waiting += following
    return [_made(each) for each in found.values()]


def _names(plan: Plan, roles: Roles, kinds: set[str] | None) -> Iterator[str]:
    for node in plan.nodes:
        if id(node) not in roles.early and (kinds is None or node.kind in kinds):
            yield name_of(node)
        for body in node.bodies.values():
            yield from _names(body, roles, kinds)
