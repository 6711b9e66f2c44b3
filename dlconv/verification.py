"""The straight line of verify: a bundle, or two models, in; an outcome out. Nothing is converted."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlconv import formats
from dlconv.asked.bars import Bars
from dlconv.asked.options import SourceOptions
from dlconv.candidate import Wanted, find_runtime, runtime_for, runtime_of, try_out
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
from dlconv.formats import Format
from dlconv.hardware.here import misfit
from dlconv.hardware.provided import by_provider, check, check_required, of_bundle
from dlconv.latency.gating import BASELINE, Gate, gated, timed
from dlconv.latency.sides import side_of_model
from dlconv.making.cache import Cache
from dlconv.metrics.scoring import asked_of, class_labels
from dlconv.records.bundle import Bundle, is_bundle, open_bundle
from dlconv.records.outcome import Outcome, Report, skipped
from dlconv.records.receipt import environment, evidence_of, tensor_of
from dlconv.reference import answering
from dlconv.reference import source as sources
from dlconv.reference.kinds import KINDS
from dlconv.validators.matching import matched
from dlconv.validators.verdict import Check, Verdict, joined
from dlconv.workers.crew import Crew, logs_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dlconv.candidate import TargetRuntime, Trial
    from dlconv.events import Listener
    from dlconv.model import Artifact, Signature, StateSpec
    from dlconv.validators.matching import Link

_CHANNELS_LAST = frozenset({Format.TFLITE, Format.SAVED_MODEL, Format.KERAS, Format.KERAS_H5, Format.FROZEN_GRAPH})


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

    source: the model that they were made from, where it is at hand: then it is the baseline, if there is no other.
    Raises RequestError for what is no bundle.
    """
    told = listener or Silence()
    bundles = [open_bundle(place) for place in places]
    names = [{bundle.target, options.provider or bundle.provider} for bundle in bundles]
    check_required(options.require, names)
    # What runs by a required provider is required.
    required = options.require | {
        each.target for each, own in zip(bundles, names, strict=True) if own & options.require
    }
    with _crew(options) as crew, ThreadPoolExecutor(max(1, len(bundles)), thread_name_prefix="dlconv") as pool:
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


def compare(candidate: Path, against: Path, options: VerifyOptions, listener: Listener | None = None) -> Report:
    """Judge one model by another's answers, in the other's framework. Either may be a bundle or a model file.

    Raises RequestError where it cannot be known which tensor is which, SourceError where the reference does not run.
    """
    told = listener or Silence()
    artifact, reference = _opened(candidate.absolute(), options.provider), _opened(against.absolute())
    check_required(options.require, [(artifact.artifact.format.value, artifact.runtime.name, options.provider)])
    cache = Cache() if options.source.use_cache else Cache(Path(tempfile.mkdtemp(prefix="dlconv-")))
    try:
        with _crew(options) as crew:
            return Report(
                (_compare(artifact, reference, options, crew, cache, told),), options.allow_skip - options.require
            )
    finally:
        if not options.source.use_cache:
            cache.remove()


def _verify_bundle(bundle: Bundle, options: VerifyOptions, crew: Crew, told: Listener) -> Outcome:
    receipt = bundle.receipt
    outcome = Outcome(
        bundle.place.name,
        receipt["source"]["name"],
        bundle.target,
        receipt["precision"],
        bundle.place,
        again=shlex.join(("dlconv", "verify", str(bundle.place), *_by(options))),
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
        labels = class_labels(options.metric, options.labels, [spec.name for spec in wanted.outputs])
        bars = bundle.bars if options.bars is None else options.bars
        facts, trust = receipt["source"]["facts"], options.source.trust
        task = asked_of(options.metric, options.labels, bars, wanted)
        against = Wanted(wanted, reference, facts, bars, labels=labels, trust=trust, task=task)
        if bundle.precision != "fp32":
            against = replace(against, precision=bundle.precision, noise=bundle.noise)
        return try_out(bundle.entry, bundle.signature, runtime, against, crew)

    return _judged(outcome, trial, told)


def _compare(
    artifact: _Model, reference: _Model, options: VerifyOptions, crew: Crew, cache: Cache, told: Listener
) -> Outcome:
    source = sources.study(reference.artifact, options.source, crew, cache)
    for note in source.notes:
        told.on(Event("note", "", note))
    outcome = Outcome(
        artifact.path.name,
        reference.path.name,
        artifact.artifact.format.value,
        "fp32",
        artifact.path,
        again=_again(artifact, reference, options),
    )
    try:
        theirs = sources.study(artifact.artifact, _said_of(artifact, source.signature, options), crew, cache)
    except StepError as error:  # a candidate that its runtime cannot read is judged, and no wrong request
        return _judged(outcome, _raising(error), told)
    one_family = _one_family(artifact, reference)
    found = replace(theirs.signature, state=artifact.state)
    signature, pairs = matched(source.signature, found, options.links, one_family=one_family)
    for pair in pairs:
        told.on(Event("note", "", pair))
    answers = answering.answer(source, options.source, crew, cache)
    for note in answers.notes:
        told.on(Event("note", "", note))
    names = [spec.name for spec in source.signature.outputs]
    labels = class_labels(options.metric, options.labels, names)
    outcome = replace(
        outcome,
        body={
            "source": {
                "name": reference.path.name,
                "digest": reference.artifact.digest,
                "format": reference.artifact.format.value,
                "signature": source.signature.to_dict(),
                "facts": source.facts,
            },
            "target": artifact.artifact.format.value,
            "artifact": {
                "entry": artifact.path.name,
                "inputs": [tensor_of(spec) for spec in signature.inputs],
                "outputs": [tensor_of(spec) for spec in signature.outputs],
                "pairs": list(pairs),
            },
            "reference": answers.to_dict(),
        },
    )
    asked, trust = options.bars or Bars(), options.source.trust
    task = asked_of(options.metric, options.labels, asked, source.signature)
    wanted = Wanted(source.signature, answers, source.facts, asked, labels=labels, trust=trust, task=task)
    judged = _judged(
        outcome, lambda _: try_out(artifact.artifact.path, signature, artifact.runtime, wanted, crew), told
    )
    bars = options.gate.bars_for(wanted.bars.latency)
    if not bars.is_asked or judged.word != "PASS":
        return judged
    crew.end()  # nothing else runs while latency is measured
    sides = (
        side_of_model(model.artifact, model.runtime, name, signed, answers.samples.samples)
        for name, model, signed in ((BASELINE, reference, source.signature), (artifact.path.name, artifact, signature))
    )
    baseline, side = sides
    return timed(judged, side, baseline, bars, options.gate.settings, told)


def _again(artifact: _Model, reference: _Model, options: VerifyOptions) -> str:
    words = ["dlconv", "verify", str(artifact.path), "--against", str(reference.path)]
    words += [word for link in options.links for word in ("--map", str(link))]
    words += _by(options)
    words += [] if options.source.samples is None else ["--samples", str(options.source.samples)]
    words += [word for spec in options.source.inputs for word in ("--input", str(spec))]
    return shlex.join(words)


def _by(options: VerifyOptions) -> list[str]:
    return ["--provider", options.provider] if options.provider else []


def _raising(error: DlconvError) -> Callable[[list[Check]], Trial]:
    def run(_: list[Check]) -> Trial:
        raise error

    return run


class _Judged(Exception):
    """What was checked so far decides: the artifact is not run."""


def _judged(outcome: Outcome, run: Callable[[list[Check]], Trial], told: Listener) -> Outcome:
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


@dataclass(frozen=True)
class _Model:
    """A model to compare: the file that was named, what runs it, and the state that a bundle's receipt tells of."""

    path: Path
    artifact: Artifact
    runtime: TargetRuntime
    state: tuple[StateSpec, ...] = ()


def _opened(path: Path, provider: str = "") -> _Model:
    if is_bundle(path):
        bundle = open_bundle(path)
        found = formats.open_model(bundle.entry)
        runtime = of_bundle(runtime_for(bundle.target), bundle.target, bundle.provider, provider)
        return _Model(path, found, runtime, bundle.signature.state)
    found = formats.open_model(path)
    given = runtime_of(found.format)
    if given is None:
        raise RequestError(
            f"{path} is {found.format.label}, which nothing here runs",
            wanted=", ".join(kind.value for kind in KINDS),
        )
    if provider:
        check(provider)
    return _Model(path, found, by_provider(given, provider))


def _said_of(candidate: _Model, reference: Signature, options: VerifyOptions) -> SourceOptions:
    """A TorchScript archive holds no shapes: it is asked for the reference's. Other formats say their own."""
    if candidate.artifact.format is not Format.TORCHSCRIPT:
        return SourceOptions(draws=1, use_cache=options.source.use_cache, trust=options.source.trust)
    names = {link.reference: link.candidate for link in options.links}
    inputs = tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in reference.inputs)
    return SourceOptions(inputs=inputs, draws=1, use_cache=options.source.use_cache)


def _one_family(one: _Model, other: _Model) -> bool:
    return (one.artifact.format in _CHANNELS_LAST) == (other.artifact.format in _CHANNELS_LAST)


def _crew(options: VerifyOptions) -> Crew:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Crew(
        logs_folder(),
        slots=options.jobs or cores,
        memory_limit_bytes=options.memory_limit_bytes,
        timeout_s=options.timeout_s,
    )
