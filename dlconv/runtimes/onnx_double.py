"""An ONNX model run in float64, node by node: the reference that no float32 rounding reaches.

Every float tensor, stored or computed, becomes float64; a cast to a smaller float becomes one to float64. A node is
run by this package's own NumPy operator where there is one, else by ONNX Runtime's float64 kernel, else by the
onnx package's reference implementation. What none of them does in float64 is refused: no float32 slips through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.onnx_double_kernels import kernel_for
from dlconv.runtimes.onnx_double_plan import plan_of, widened

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.onnx_double_kernels import Kernel
    from dlconv.runtimes.onnx_double_plan import Plan, PlannedNode

Scope = dict[str, Any]


class DoubleModel:
    """A model held for float64 runs. Weights stay as they are stored and are widened where they are used.

    inputs and outputs are the model's own names; run_by tells after a run what ran each kind of operator.
    """

    def __init__(self, path: Path) -> None:
        onnx: Any = import_module("onnx")
        inliner: Any = import_module("onnx.inliner")
        model = onnx.load(str(path))
        if model.functions:
            model = inliner.inline_local_functions(model)
        self._plan = plan_of(model.graph)
        self._opsets = {
            "" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import
        }
        self._kernels: dict[bytes, Kernel] = {}
        self.outputs = self._plan.outputs
        self.run_by: dict[str, str] = {}

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """The outputs by name, floating ones in float64; `inputs` in the model's own dtypes or wider."""
        scope = self._walk(self._plan, dict(inputs))
        return {name: np.asarray(widened(scope[name])) for name in outputs}

    def body(self, plan: Plan, scope: Scope, given: Sequence[Any]) -> list[Any]:
        """The outputs of a subgraph that sees `scope` and is given its own inputs."""
        inner = self._walk(plan, scope | dict(zip(plan.inputs, given, strict=True)))
        return [widened(inner[name]) for name in plan.outputs]

    def _walk(self, plan: Plan, scope: Scope) -> Scope:
        """`scope`, which is the callee's to change, with all that the graph computes and somebody still needs."""
        scope = {**plan.weights, **scope}
        for node in plan.nodes:
            for name, answer in zip(node.outputs, self._answers(node, scope), strict=False):
                scope[name] = answer
            for name in node.done_with:
                scope.pop(name, None)
        return scope

    def _answers(self, node: PlannedNode, scope: Scope) -> Sequence[Any]:
        values = [widened(scope[name]) if name else None for name in node.inputs]
        if node.kind in _CONTROL_FLOW:
            self.run_by[node.kind] = "numpy"
            return _CONTROL_FLOW[node.kind](self, node, values, scope)
        types = " ".join("-" if value is None else value.dtype.name for value in values)
        key = node.key + types.encode()
        if key not in self._kernels:
            self._kernels[key], self.run_by[node.kind] = kernel_for(node, values, self._opsets)
        answers = [None if answer is None else np.asarray(answer) for answer in self._kernels[key](values)]
        for answer in answers:
            if answer is not None and (widened(answer) is not answer or answer.dtype.kind in "OUS"):
                raise Unsupported(f"{node.kind} gives {answer.dtype}, not float64")
        return answers


def _if(model: DoubleModel, node: PlannedNode, values: Sequence[Any], scope: Scope) -> Sequence[Any]:
    return model.body(node.bodies["then_branch" if bool(values[0]) else "else_branch"], scope, [])


def _loop(model: DoubleModel, node: PlannedNode, values: Sequence[Any], scope: Scope) -> Sequence[Any]:
    limit, going, carried = values[0], values[1] is None or bool(values[1]), list(values[2:])
    body = node.bodies["body"]
    rows: list[list[Any]] = [[] for _ in body.outputs[1 + len(carried) :]]
    turn = 0
    while going and (limit is None or turn < int(limit)):
        answers = model.body(body, scope, [np.asarray(turn, np.int64), np.asarray(going), *carried])
        for row, answer in zip(rows, answers[1 + len(carried) :], strict=True):
            row.append(answer)
        going, carried = bool(answers[0]), answers[1 : 1 + len(carried)]
        turn += 1
    if rows and not turn:
        raise Unsupported("a Loop that collects rows and runs no turn: their shape is unknown")
    return [*carried, *(np.stack(row) for row in rows)]


def _scan(model: DoubleModel, node: PlannedNode, values: Sequence[Any], scope: Scope) -> Sequence[Any]:
    count = node.attributes["num_scan_inputs"]
    if len(values) != len(node.bodies["body"].inputs):
        raise Unsupported("a Scan as of opset 8")
    layouts = (f"scan_{side}_{what}" for side in ("input", "output") for what in ("axes", "directions"))
    if any(any(node.attributes.get(name, [])) for name in layouts):
        raise Unsupported("a Scan along another axis than the first, or backwards")
    carried, sequences = list(values[: len(values) - count]), values[len(values) - count :]
    rows: list[list[Any]] = [[] for _ in node.bodies["body"].outputs[len(carried) :]]
    for parts in zip(*sequences, strict=True):
        answers = model.body(node.bodies["body"], scope, [*carried, *(np.asarray(part) for part in parts)])
        for row, answer in zip(rows, answers[len(carried) :], strict=True):
            row.append(answer)
        carried = answers[: len(carried)]
    return [*carried, *(np.stack(row) for row in rows)]


_ControlFlow = Callable[[DoubleModel, "PlannedNode", Sequence[Any], Scope], Sequence[Any]]
_CONTROL_FLOW: dict[str, _ControlFlow] = {"If": _if, "Loop": _loop, "Scan": _scan}
