"""An ONNX graph walked node by node in another arithmetic than its own: If, Loop and Scan are here, the rest is told.

No more tensors are held than somebody still needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dlconv.errors import Unsupported

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode

Scope = dict[str, Any]


class Arithmetic(Protocol):
    """What a walk computes in."""

    def entering(self, node: PlannedNode, place: int, value: Any) -> Any:
        """The input `place` of a node as the node sees it; `value` is a tensor as computed, stored, or given."""
        ...

    def computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        """The outputs of a node, None where one is not asked for; values are None where one is absent."""
        ...

    def leaving(self, plan: Plan, name: str, value: Any) -> Any:
        """An output of the graph, main or nested, as it is seen outside."""
        ...


class Walk:
    """Runs of a plan in an arithmetic."""

    def __init__(self, plan: Plan, arithmetic: Arithmetic) -> None:
        self._plan = plan
        self._arithmetic = arithmetic

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """The outputs by name."""
        scope = self._walk(self._plan, dict(inputs))
        return {name: np.asarray(self._arithmetic.leaving(self._plan, name, scope[name])) for name in outputs}

    def body(self, plan: Plan, scope: Scope, given: Sequence[Any]) -> list[Any]:
        """The outputs of a subgraph that sees `scope` and is given its own inputs."""
        inner = self._walk(plan, scope | dict(zip(plan.inputs, given, strict=True)))
        return [self._arithmetic.leaving(plan, name, inner[name]) for name in plan.outputs]

    def steps(self, inputs: Tensors) -> Iterator[Scope]:
        """A run node by node: after each all that is held, what nobody needs any more included for this once."""
        return self._steps(self._plan, {**self._plan.weights, **inputs})

    def _walk(self, plan: Plan, scope: Scope) -> Scope:
        """`scope` with all that the graph computes and somebody still needs."""
        scope = {**plan.weights, **scope}
        for _ in self._steps(plan, scope):
            pass
        return scope

    def _steps(self, plan: Plan, scope: Scope) -> Iterator[Scope]:
        for node in plan.nodes:
            for name, answer in zip(node.outputs, self._answers(node, scope), strict=False):
                scope[name] = answer
            yield scope
            for name in node.done_with:
                scope.pop(name, None)

    def _answers(self, node: PlannedNode, scope: Scope) -> Sequence[Any]:
        values = [
            self._arithmetic.entering(node, place, scope[name]) if name else None
            for place, name in enumerate(node.inputs)
        ]
        if node.kind in CONTROL_FLOW:
            return CONTROL_FLOW[node.kind](self, node, values, scope)
        return self._arithmetic.computed(node, values)


def _if(walk: Walk, node: PlannedNode, values: Sequence[Any], scope: Scope) -> Sequence[Any]:
    return walk.body(node.bodies["then_branch" if bool(values[0]) else "else_branch"], scope, [])


def _loop(walk: Walk, node: PlannedNode, values: Sequence[Any], scope: Scope) -> Sequence[Any]:
    limit, going, carried = values[0], values[1] is None or bool(values[1]), list(values[2:])
    body = node.bodies["body"]
    rows: list[list[Any]] = [[] for _ in body.outputs[1 + len(carried) :]]
    turn = 0
    while going and (limit is None or turn < int(limit)):
        answers = walk.body(body, scope, [np.asarray(turn, np.int64), np.asarray(going), *carried])
        for row, answer in zip(rows, answers[1 + len(carried) :], strict=True):
            row.append(answer)
        going, carried = bool(answers[0]), answers[1 : 1 + len(carried)]
        turn += 1
    if rows and not turn:
        raise Unsupported("a Loop that collects rows and runs no turn: their shape is unknown")
    return [*carried, *(np.stack(row) for row in rows)]


def _scan(walk: Walk, node: PlannedNode, values: Sequence[Any], scope: Scope) -> Sequence[Any]:
    count = node.attributes["num_scan_inputs"]
    if len(values) != len(node.bodies["body"].inputs):
        raise Unsupported("a Scan as of opset 8")
    layouts = (f"scan_{side}_{what}" for side in ("input", "output") for what in ("axes", "directions"))
    if any(any(node.attributes.get(name, [])) for name in layouts):
        raise Unsupported("a Scan along another axis than the first, or backwards")
    carried, sequences = list(values[: len(values) - count]), values[len(values) - count :]
    rows: list[list[Any]] = [[] for _ in node.bodies["body"].outputs[len(carried) :]]
    for parts in zip(*sequences, strict=True):
        answers = walk.body(node.bodies["body"], scope, [*carried, *(np.asarray(part) for part in parts)])
        for row, answer in zip(rows, answers[len(carried) :], strict=True):
            row.append(answer)
        carried = answers[: len(carried)]
    return [*carried, *(np.stack(row) for row in rows)]


_ControlFlow = Callable[[Walk, "PlannedNode", Sequence[Any], Scope], Sequence[Any]]
CONTROL_FLOW: dict[str, _ControlFlow] = {"If": _if, "Loop": _loop, "Scan": _scan}
"""The operators whose nodes hold graphs."""
