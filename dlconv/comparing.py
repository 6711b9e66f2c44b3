"""The line of verify for two models: one is judged by the other's answers. Nothing is converted."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlconv import opening
from dlconv.asked.bars import Bars
from dlconv.asked.options import SourceOptions
from dlconv.candidate import Wanted, runtime_for, runtime_of, try_out
from dlconv.errors import DlconvError, RequestError, StepError
from dlconv.events import Event, Silence
from dlconv.formats import Format
from dlconv.hardware.provided import by_provider, check, check_required, of_bundle
from dlconv.latency.gating import BASELINE, timed
from dlconv.latency.sides import side_of_model
from dlconv.making.cache import Cache
from dlconv.metrics.scoring import asked_of, class_labels
from dlconv.records.bundle import is_bundle, open_bundle
from dlconv.records.outcome import Outcome, Report
from dlconv.records.receipt import tensor_of
from dlconv.reference import answering
from dlconv.reference import source as sources
from dlconv.reference.kinds import KINDS
from dlconv.validators.matching import matched
from dlconv.verification import crew_of, judged, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.candidate import TargetRuntime, Trial
    from dlconv.events import Listener
    from dlconv.model import Artifact, Signature, StateSpec
    from dlconv.validators.verdict import Check
    from dlconv.verification import VerifyOptions
    from dlconv.workers.crew import Crew

_CHANNELS_LAST = frozenset({Format.TFLITE, Format.SAVED_MODEL, Format.KERAS, Format.KERAS_H5, Format.FROZEN_GRAPH})


def compare(candidate: Path, against: Path, options: VerifyOptions, listener: Listener | None = None) -> Report:
    """Judge one model by another's answers, in the other's framework. Either may be a bundle or a model file.

    Raises RequestError where it cannot be known which tensor is which, SourceError where the reference does not run.
    """
    told = listener or Silence()
    artifact, reference = _opened(candidate.absolute(), options.provider), _opened(against.absolute())
    check_required(options.require, [(artifact.artifact.format.value, artifact.runtime.name, options.provider)])
    cache = Cache() if options.source.use_cache else Cache(Path(tempfile.mkdtemp(prefix="dlconv-")))
    try:
        with crew_of(options, told) as crew:
            return Report(
                (_compare(artifact, reference, options, crew, cache, told),), options.allow_skip - options.require
            )
    finally:
        if not options.source.use_cache:
            cache.remove()


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
        return judged(outcome, _raising(error), told)
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
    outcome = judged(
        outcome, lambda _: try_out(artifact.artifact.path, signature, artifact.runtime, wanted, crew), told
    )
    bars = options.gate.bars_for(wanted.bars.latency)
    if not bars.is_asked or outcome.word != "PASS":
        return outcome
    crew.end()  # nothing else runs while latency is measured
    sides = (
        side_of_model(model.artifact, model.runtime, name, signed, answers.samples.samples)
        for name, model, signed in ((BASELINE, reference, source.signature), (artifact.path.name, artifact, signature))
    )
    baseline, side = sides
    return timed(outcome, side, baseline, bars, options.gate.settings, told)


def _again(artifact: _Model, reference: _Model, options: VerifyOptions) -> str:
    words = ["dlconv", "verify", str(artifact.path), "--against", str(reference.path)]
    words += [word for link in options.links for word in ("--map", str(link))]
    words += said(options, Bars())
    words += [] if options.source.samples is None else ["--samples", str(options.source.samples)]
    words += [word for spec in options.source.inputs for word in ("--input", str(spec))]
    usual = SourceOptions()
    words += [] if options.source.draws == usual.draws else ["--draws", str(options.source.draws)]
    words += [] if options.source.seed == usual.seed else ["--seed", str(options.source.seed)]
    return shlex.join(words)


def _raising(error: DlconvError) -> Callable[[list[Check]], Trial]:
    def run(_: list[Check]) -> Trial:
        raise error

    return run


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
        found = opening.open_model(bundle.entry)
        runtime = of_bundle(runtime_for(bundle.target), bundle.target, bundle.provider, provider)
        return _Model(path, found, runtime, bundle.signature.state)
    found = opening.open_model(path)
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
