"""Blame: in which step of a route an error arose. Each step's product is run and held against the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlconv.candidate import TargetRuntime, find_runtime, runtime_of, try_out
from dlconv.errors import DlconvError
from dlconv.formats import Format
from dlconv.validators.evidence import json_number
from dlconv.validators.judging import RESOLUTION

if TYPE_CHECKING:
    from dlconv.candidate import Trial, Wanted
    from dlconv.convert.graph import Converter
    from dlconv.making.steps import StepRunner
    from dlconv.workers.crew import Crew

_STAGES = {"onnx-as-given": Format.ONNX, "torch-export": Format.TORCH_EXPORT}
"""Stages between source and target, and the format that they are in."""


@dataclass(frozen=True)
class StepFigure:
    """How far a step's product lies from the reference.

    error: relative to its scale, and floors: in units of the noise floor, of the output that is farthest. share: the
    part of the last step's error that came with this one, 0 to 1. Each is None where it cannot be said; trouble: why.
    """

    edge: str
    error: float | None
    floors: float | None
    share: float | None = None
    trouble: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {key: json_number(value) for key, value in vars(self).items()}


def blame(
    edges: tuple[Converter, ...], trial: Trial, runner: StepRunner, wanted: Wanted, crew: Crew
) -> tuple[StepFigure, ...]:
    """The error after each step of a route, the last of which `trial` has measured already."""
    steps = [_measured(edges[:end], runner, wanted, crew) for end in range(1, len(edges))]
    return _shared([*steps, _step(edges[-1].name, trial)])


def told(steps: tuple[StepFigure, ...]) -> str:
    """The step that brought most of the error, as a sentence; "" where it cannot be said."""
    known = [step for step in steps if step.share is not None]
    if not known or len(steps) < 2:
        return ""
    worst = max(known, key=lambda step: step.share or 0.0)
    return f"{100 * (worst.share or 0):.0f}% of the error came with {worst.edge}"


def _measured(edges: tuple[Converter, ...], runner: StepRunner, wanted: Wanted, crew: Crew) -> StepFigure:
    name, stage = edges[-1].name, edges[-1].target
    runtime: TargetRuntime | None = find_runtime(stage)
    if runtime is None and stage in _STAGES:
        runtime = runtime_of(_STAGES[stage])
    if runtime is None:
        return StepFigure(name, None, None, trouble=f"nothing runs the stage {stage}")
    try:
        product = runner.run(edges, "")
        return _step(name, try_out(product.path, product.signature, runtime, wanted, crew))
    except DlconvError as error:  # a product that does not run by itself has no figure; the report says so
        return StepFigure(name, None, None, trouble=error.met)


def _step(name: str, trial: Trial) -> StepFigure:
    evidence = trial.evidence
    if evidence.problems or not evidence.outputs:
        return StepFigure(name, math.inf, math.inf)
    worst = max(evidence.outputs, key=lambda output: _in_floors(output.error, output.floor))
    return StepFigure(name, worst.error, _in_floors(worst.error, worst.floor))


def _in_floors(error: float, floor: float) -> float:
    return error / max(floor, RESOLUTION) if error == error else math.inf


def _shared(steps: list[StepFigure]) -> tuple[StepFigure, ...]:
    """Errors of independent steps add up in squares; what a step adds is what the error after it has more. An infinite
    one came whole with the first step that has it."""
    final = steps[-1].error
    if final is None or final == 0:
        return tuple(steps)
    shared: list[StepFigure] = []
    before = 0.0
    for step in steps:
        if step.error is None:
            shared.append(step)
            continue
        if math.isinf(final):
            share = 1.0 if math.isinf(step.error) and not math.isinf(before) else 0.0
        else:
            share = min(max(step.error**2 - before**2, 0.0) / final**2, 1.0)
        shared.append(StepFigure(step.edge, step.error, step.floors, share, step.trouble))
        before = max(before, step.error)
    return tuple(shared)
