"""One target of an export: its routes in their order, each made and judged, until one holds."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv import attempts, blame, candidate
from dlconv.attempts import Attempt
from dlconv.candidate import Candidate, Wanted
from dlconv.convert.graph import MAX_ATTEMPTS
from dlconv.errors import DlconvError, StepError, Unreachable
from dlconv.events import Event, Listener
from dlconv.hardware import provided
from dlconv.metrics.scoring import class_labels
from dlconv.records import bundle
from dlconv.records.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.asked.options import ExportOptions
    from dlconv.convert.graph import Converter
    from dlconv.making.steps import StepRunner
    from dlconv.metrics.scoring import Task
    from dlconv.planning import TargetPlan
    from dlconv.precision.reducing import Reduction
    from dlconv.reference.source import Reference, Source
    from dlconv.workers.crew import Crew


@dataclass(frozen=True)
class Run:
    """What all targets of one export share. reference waits for the source's answers."""

    source: Source
    reference: Callable[[], Reference]
    runner: StepRunner
    options: ExportOptions
    crew: Crew
    told: Listener
    reduction: Reduction | None = None
    task: Task | None = None

    def wanted(self) -> Wanted:
        """What every candidate is held against. Waits for the reference."""
        signature, options = self.source.signature, self.options
        names = [spec.name for spec in signature.outputs]
        labels = class_labels(options.metric, options.labels, names)
        wanted = Wanted(
            signature,
            self.reference(),
            self.source.facts,
            options.bars,
            _asked_dims(options),
            labels,
            trust=True,  # what is run was made here, of what the user named
            task=self.task,
        )
        if self.reduction is None:
            return wanted
        return replace(wanted, precision=options.precision, noise=self.reduction.floors)


def make(goal: TargetPlan, place: Path, run: Run) -> Outcome:
    """The bundle at `place`, judged, or the error that stands in its way."""
    told = Outcome(place.name, run.source.artifact.path.name, goal.target, run.options.precision)
    start = time.perf_counter()
    try:
        tried: list[Attempt] = []
        for planned in goal.routes:
            # The first is tried even where another target saw it fail: its error is this target's too.
            if not planned.is_possible or (tried and run.runner.known_failure(planned.route.edges)):
                continue
            if planned.is_for_halves and not run.reference().answers.is_half:
                continue
            attempt = _attempt(goal.target, planned.route.edges, run)
            tried.append(attempt)
            if len(tried) == MAX_ATTEMPTS or isinstance(attempt.error, Unreachable):
                break
            if attempt.candidate is not None and attempt.candidate.trial.verdict.word != "FAIL":
                break
        taken = attempts.best(tried)
        if taken.candidate is None:
            raise attempts.no_route(goal.target, tried)
        entries = [{**attempt.entry, "outcome": "taken" if attempt is taken else "failed"} for attempt in tried]
        entries += attempts.not_tried(goal, entries, run.runner, is_half=run.reference().answers.is_half)
        receipt = bundle.publish(
            place,
            goal.target,
            run.source,
            run.reference(),
            taken.candidate,
            entries,
            run.options,
            None if run.reduction is None else run.reduction.to_dict(),
        )
        trial = taken.candidate.trial
        verdict = trial.verdict
        run.told.on(Event("published", goal.target, str(place), time.perf_counter() - start, {"verdict": verdict.word}))
        again = shlex.join(("dlconv", "verify", str(place)))
        notes = tuple(note for note in (*trial.limits, taken.blamed) if note)
        seconds = time.perf_counter() - start
        return replace(
            told,
            path=place,
            verdict=verdict,
            checks=trial.checks,
            notes=notes,
            again=again,
            seconds=seconds,
            body=receipt,
        )
    except DlconvError as error:
        return replace(told, error=error, seconds=time.perf_counter() - start)


def _attempt(target: str, edges: tuple[Converter, ...], run: Run) -> Attempt:
    entry: dict[str, Any] = {"edges": [edge.name for edge in edges], "reason": "", "steps": []}
    try:
        product = run.runner.run(edges, target)
        entry["steps"] = [record.to_dict() for record in product.records]
        signature, runtime = product.signature, provided.runtime_for(target, run.options.provider)
        trial = candidate.try_out(product.path, signature, runtime, run.wanted(), run.crew)
    except StepError as error:
        entry["reason"] = error.met
        run.told.on(Event("step-failed", target, error.met, data=error.to_dict()))
        return Attempt(entry, None, error)
    verdict = trial.verdict
    entry["reason"] = "; ".join(verdict.reasons)
    blamed = ""
    if verdict.word == "FAIL":
        figures = blame.blame(edges, trial, run.runner, run.wanted(), run.crew)
        entry["blame"] = [figure.to_dict() for figure in figures]
        blamed = blame.told(figures)
    run.told.on(Event("judged", target, verdict.word, trial.seconds, {"reasons": list(verdict.reasons)}))
    return Attempt(entry, Candidate(product, trial), None, blamed)


def _asked_dims(options: ExportOptions) -> frozenset[str]:
    return frozenset(dim for spec in options.inputs for dim in spec.shape or () if isinstance(dim, str))
