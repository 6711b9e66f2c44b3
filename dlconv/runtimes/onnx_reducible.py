"""Which nodes of an ONNX model a precision touches: those among which the search for a keep-list chooses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlconv.runtimes.onnx_int8_operators import QUANTISED
from dlconv.runtimes.onnx_joined import joined
from dlconv.runtimes.onnx_plan import name_of, program_of
from dlconv.runtimes.onnx_rounded_plan import roles_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.runtimes.onnx_plan import Plan
    from dlconv.runtimes.onnx_rounded_plan import Roles


def names(path: str, precision: str) -> list[str]:
    """The names (`onnx_keep.names_of`) of the nodes that compute with data, in the order of computation; for int8 those
    alone whose operators are quantised, and that are not the last step of another."""
    plan = program_of(Path(path)).plan
    if precision != "int8":
        return list(_names(plan, roles_of(plan), None))
    steps = {name_of(activation) for _, activation in joined(plan)}
    return [name for name in _names(plan, roles_of(plan), set(QUANTISED)) if name not in steps]


def outputs(path: str, names: list[str]) -> dict[str, list[str]]:
    """By node, of those named, its output tensors, and those of an activation that may be its last step: where a
    converter joined the two, its file knows the latter alone."""
    plans = [program_of(Path(path)).plan]
    found: dict[str, list[str]] = {}
    last = {name_of(maker): list(activation.outputs) for maker, activation in joined(plans[0])}
    while plans:
        plan = plans.pop()
        plans += [body for node in plan.nodes for body in node.bodies.values()]
        found |= {name_of(node): [name for name in node.outputs if name] for node in plan.nodes}
    return {name: found[name] + last.get(name, []) for name in names}


def _names(plan: Plan, roles: Roles, kinds: set[str] | None) -> Iterator[str]:
    for node in plan.nodes:
        if id(node) not in roles.early and (kinds is None or node.kind in kinds):
            yield name_of(node)
        for body in node.bodies.values():
            yield from _names(body, roles, kinds)
