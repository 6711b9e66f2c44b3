"""Attempts: the routes that were tried for one target, which of them is taken, and what is told of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlconv.convert.graph import MAX_ATTEMPTS
from dlconv.errors import ConversionError, DlconvError

if TYPE_CHECKING:
    from dlconv.candidate import Candidate
    from dlconv.making.steps import StepRunner
    from dlconv.planning import TargetPlan


@dataclass(frozen=True)
class Attempt:
    """One route that was tried: the receipt's entry, and the candidate if there came one.

    blamed: the step that brought the error of one that failed.
    """

    entry: dict[str, Any]
    candidate: Candidate | None
    error: DlconvError | None
    blamed: str = ""


def best(attempts: list[Attempt]) -> Attempt:
    """The last, if it did not fail; else of those that could be judged the one with the least error."""
    if attempts[-1].candidate is not None and attempts[-1].candidate.trial.verdict.word != "FAIL":
        return attempts[-1]
    judged = [attempt for attempt in attempts if attempt.candidate is not None]
    return min(judged or attempts, key=lambda attempt: _error(attempt.candidate))


def not_tried(
    goal: TargetPlan, tried: list[dict[str, Any]], runner: StepRunner, *, is_half: bool
) -> list[dict[str, Any]]:
    """The receipt's entries of the routes that are left, each with the reason. is_half: of the source's answers."""
    done = [entry["edges"] for entry in tried]
    entries = []
    for planned in goal.routes:
        names = [edge.name for edge in planned.route.edges]
        if names in done:
            continue
        failed = runner.known_failure(planned.route.edges)
        enough = f"{MAX_ATTEMPTS} routes were tried before it"
        reason = enough if len(tried) == MAX_ATTEMPTS else "a route before it was taken"
        if planned.is_for_halves and not is_half:
            reason = "the source computes in float32"
        if failed:
            reason = f"{failed} had failed"
        if planned.lacks:
            reason = "; ".join(f"lacks {lack.toolchain}: {lack.problem}" for lack in planned.lacks)
        entries.append({"edges": names, "outcome": "not-tried", "reason": reason, "steps": []})
    return entries


def no_route(target: str, attempts: list[Attempt]) -> DlconvError:
    """The error where none made a candidate: of one its own, of several all of them together, each reason once."""
    errors = [attempt.error for attempt in attempts if attempt.error is not None]
    if len(errors) == 1:
        return errors[0]
    routes: dict[str, list[str]] = {}
    for attempt in attempts:
        if attempt.error is not None:
            routes.setdefault(attempt.error.met, []).append(" -> ".join(attempt.entry["edges"]))
    told = tuple(f"{first}{f' and {len(more)} more' if more else ''}: {met}" for met, (first, *more) in routes.items())
    return ConversionError(
        f"none of {len(attempts)} routes to {target} succeeded: {errors[0].met}",
        mend=next((error.mend for error in errors if error.mend), ""),
        problems=told if len(told) > 1 else (),
        log=errors[0].log,
    )


def _error(judged: Candidate | None) -> tuple[int, float]:
    if judged is None:
        return 0, 0.0
    return len(judged.trial.evidence.problems), max(
        (output.error for output in judged.trial.evidence.outputs), default=0.0
    )
