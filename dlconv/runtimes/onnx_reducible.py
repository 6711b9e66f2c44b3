"""Which nodes of an ONNX model a precision touches: those among which the search for a keep-list chooses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dlconv.runtimes.onnx_int8_operators import QUANTISED
from dlconv.runtimes.onnx_plan import name_of, program_of
from dlconv.runtimes.onnx_rounded_plan import roles_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.runtimes.onnx_plan import Plan
    from dlconv.runtimes.onnx_rounded_plan import Roles


def names(path: str, precision: str) -> list[str]:
    """The names (`onnx_keep.names_of`) of the nodes that compute with data, in the order of computation; for int8 those
    alone whose operators are quantised."""
    program = program_of(Path(path))
    return list(_names(program.plan, roles_of(program.plan), set(QUANTISED) if precision == "int8" else None))


def outputs(path: str, names: list[str]) -> dict[str, list[str]]:
    """By node, of those named, its output tensors."""
    plans = [program_of(Path(path)).plan]
    found: dict[str, list[str]] = {}
    while plans:
        plan = plans.pop()
        plans += [body for node in plan.nodes for body in node.bodies.values()]
        found |= {name_of(node): [name for name in node.outputs if name] for node in plan.nodes}
    return {name: found[name] for name in names}


def _names(plan: Plan, roles: Roles, kinds: set[str] | None) -> Iterator[str]:
    for node in plan.nodes:
        if id(node) not in roles.early and (kinds is None or node.kind in kinds):
            yield name_of(node)
        for body in node.bodies.values():
            yield from _names(body, roles, kinds)
