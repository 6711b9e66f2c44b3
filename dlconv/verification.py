"""The straight line of verify: a bundle in, an outcome out. Nothing is converted."""

from __future__ import annotations

import os
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlconv.asked.bars import EVERY, Bars
from dlconv.asked.metric import parse
from dlconv.asked.options import SourceOptions
from dlconv.candidate import Wanted, find_runtime, try_out
from dlconv.errors import (
    DlconvError,
    MachineError,
    OutputError,
    RequestError,
    RunEnded,
    StepError,
    WorkerOutOfMemory,
    WorkerTimedOut,
)
from dlconv.events import Event, Silence
from dlconv.hardware.here import misfit
from dlconv.hardware.provided import check_required, of_bundle
from dlconv.latency.gating import Gate, gated
from dlconv.metrics.scoring import asked_of, class_labels
from dlconv.records.bundle import Bundle, bundles_in, open_bundle
from dlconv.records.kept_task import kept
from dlconv.records.outcome import Outcome, Report, skipped
from dlconv.records.receipt import environment, evidence_of
from dlconv.validators.verdict import Check, Verdict, joined
from dlconv.workers.crew import Crew, logs_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dlconv.candidate import Trial
    from dlconv.events import Listener
    from dlconv.validators.matching import Link


@dataclass(frozen=True)
class VerifyOptions:
    """What `dlconv verify` was asked for.

    bars: None for those in the bundle's receipt. allow_skip: targets that this machine may lack. labels: right classes,
    an .npz, or what the metric (of the task, as `metric.parse` reads it) asks. links: pairs of tensors of two models,
    and source: what is said of the reference; both where two models are compared. require: targets and providers that
    it may not lack, whatever is allowed. provider: ONNX Runtime's, that runs the artifacts in place of the one that
    they were made for. gate: of latency. memory_limit_bytes and timeout_s (seconds) are of each worker; jobs: workers
    side by side.
    """

    bars: Bars | None = None
    allow_skip: frozenset[str] = frozenset()
    labels: Path | None = None
    metric: str = ""
    links: tuple[Link, ...] = ()
    source: SourceOptions = field(default_factory=SourceOptions)
    gate: Gate = field(default_factory=Gate)
    memory_limit_bytes: int | None = None
    timeout_s: float = 1800
    jobs: int | None = None
    provider: str = ""
    require: frozenset[str] = frozenset()


def verify(
    places: Sequence[Path], options: VerifyOptions, listener: Listener | None = None, source: Path | None = None
) -> Report:
    """Judge each bundle against the reference's answers that lie in it, and then its latency, where there is a bar.

    places: bundles, and folders of them.
    source: the model that they were made from, where it is at hand: then it is the baseline, if there is no other.
    Raises RequestError for what is no bundle.
    """
    told = listener or Silence()
    bundles = [open_bundle(place) for each in places for place in _bundles(each, told)]
    names = [{bundle.target, options.provider or bundle.provider} for bundle in bundles]
    check_required(options.require, names)
    # What runs by a required provider is required.
    required = options.require | {
        each.target for each, own in zip(bundles, names, strict=True) if own & options.require
    }
    with crew_of(options, told) as crew, ThreadPoolExecutor(max(1, len(bundles)), thread_name_prefix="dlconv") as pool:
        try:
            running = [pool.submit(_verify_bundle, bundle, options, crew, told) for bundle in bundles]
            outcomes = [future.result() for future in running]
        except BaseException:
            crew.end()  # else the pool would wait for workers that nobody wants any more
            raise
    latency = [bundle.bars.latency if options.bars is None else options.bars.latency for bundle in bundles]
    pairs = zip(outcomes, latency, strict=True)
    judged = tuple(gated(outcome, options.gate, own, source, told) for outcome, own in pairs)
    return Report(judged, options.allow_skip - required)


def _bundles(place: Path, told: Listener) -> list[Path]:
    """The bundles in the folder, or the place itself. A folder in it that is none is told of: it may have been one."""
    inside = bundles_in(place)
    strange = [each for each in place.iterdir() if each.is_dir() and each not in inside] if inside else []
    for each in sorted(strange):
        told.on(Event("note", "", f"{each} is no bundle: it is left out"))
    return inside or [place]


def _verify_bundle(bundle: Bundle, options: VerifyOptions, crew: Crew, told: Listener) -> Outcome:
    receipt = bundle.receipt
    outcome = Outcome(
        bundle.place.name,
        receipt["source"]["name"],
        bundle.target,
        receipt["precision"],
        bundle.place,
        again=shlex.join(("dlconv", "verify", str(bundle.place), *said(options, bundle.bars))),
        # What was measured when it was made says nothing of what lies here now.
        body={key: value for key, value in receipt.items() if key not in ("evidence", "verdict")},
    )

    def trial(checked: list[Check]) -> Trial:
        changes = bundle.changes()
        files = {"files": len(receipt["artifact"]["files"]), "size_bytes": receipt["artifact"]["size_bytes"]}
        checked.append(Check("files", Verdict("FAIL" if changes else "PASS", changes), figures=files))
        if changes:
            raise _Judged
        met = "" if bundle.provider else misfit(bundle.target, receipt["environment"], bundle.entry)
        if met:
            raise MachineError(met, mend="export it on this machine, or verify it on one like the one that made it")
        runtime = find_runtime(bundle.target)
        if runtime is None:
            raise MachineError(f"dlconv knows no runtime for the target {bundle.target}")
        runtime = of_bundle(runtime, bundle.target, bundle.provider, options.provider)
        reference, wanted = bundle.reference(), bundle.source_signature
        bars = bundle.bars if options.bars is None else options.bars
        metric, file = _task_of(bundle, options, bars)
        labels = class_labels(metric, file, [spec.name for spec in wanted.outputs])
        facts, trust = receipt["source"]["facts"], options.source.trust
        task = asked_of(metric, file, bars, wanted)
        against = Wanted(wanted, reference, facts, bars, labels=labels, trust=trust, task=task)
        if bundle.precision != "fp32":
            against = replace(against, precision=bundle.precision, noise=bundle.noise)
        return try_out(bundle.entry, bundle.signature, runtime, against, crew)

    return judged(outcome, trial, told)


def _task_of(bundle: Bundle, options: VerifyOptions, bars: Bars) -> tuple[str, Path | None]:
    """The metric and the labels: those of the command, and what it does not say those that the bundle was judged by.

    Raises RequestError where that is a function of the user's: no code runs because a receipt names it.
    """
    own, labels = kept(bundle.place, bundle.receipt, options.labels)
    if options.metric or bars.of(EVERY).max_drop is None:
        return options.metric, labels
    if own and parse(own).is_code:
        raise RequestError(
            f"{bundle.place.name} was judged by {own}, and no code runs because a receipt names it",
            mend=shlex.join(("--metric", own)),
        )
    return own, labels


def said(options: VerifyOptions, own: Bars) -> list[str]:
    """The words that judge the same again, where they differ from what stands without them. own: the bars then."""
    words = ["--provider", options.provider] if options.provider else []
    words += ["--metric", options.metric] if options.metric else []
    words += ["--labels", str(options.labels)] if options.labels is not None else []
    words += options.bars.words() if options.bars is not None and options.bars != own else []
    return [*words, "--trust"] if options.source.trust else words


class _Judged(Exception):
    """What was checked so far decides: the artifact is not run."""


def judged(outcome: Outcome, run: Callable[[list[Check]], Trial], told: Listener) -> Outcome:
    """Run, and say what became of it. `run` may add checks of its own before the trial's.

    A runtime that ends, or refuses the artifact, fails it: nothing was shown of it. What only this machine lacks is
    SKIPPED, what passed a limit of time or memory INCONCLUSIVE.
    """
    start = time.perf_counter()
    checked: list[Check] = []
    body, error = dict(outcome.body), None
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None
    try:
        trial = run(checked)
        checked += trial.checks
        notes = trial.limits
        body |= {"evidence": evidence_of(trial), "bars": trial.bars.to_dict()}
        body |= {"environment": environment(trial.versions)}
    except _Judged:
        pass
    except (WorkerOutOfMemory, WorkerTimedOut) as met:
        checked.append(Check("run", Verdict("INCONCLUSIVE", (met.met,)), figures=met.to_dict()))
    except StepError as met:
        checked.append(Check("run", Verdict("FAIL", (met.met, *met.problems)), figures=met.to_dict()))
    except (OutputError, RunEnded) as met:
        return replace(outcome, error=met, seconds=time.perf_counter() - start)
    except MachineError as met:
        verdict, error = skipped(met), met
        checked.append(Check("hardware", verdict, figures=met.to_dict()))
    except DlconvError as met:
        return replace(outcome, error=met, seconds=time.perf_counter() - start)
    verdict = joined(checked) if verdict is None else verdict
    body["verdict"] = verdict.to_dict()
    seconds = time.perf_counter() - start
    reasons = {"reasons": list(verdict.reasons)}
    told.on(Event("judged", outcome.target, f"{outcome.name}: {verdict.word}", seconds, reasons))
    return replace(
        outcome, verdict=verdict, checks=tuple(checked), notes=notes, error=error, seconds=seconds, body=body
    )


def crew_of(options: VerifyOptions, told: Listener) -> Crew:
    """The workers of a verification, which tell how far they have come."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Crew(
        logs_folder(),
        slots=options.jobs or cores,
        memory_limit_bytes=options.memory_limit_bytes,
        timeout_s=options.timeout_s,
        told=told,
    )
