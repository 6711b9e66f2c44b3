"""Gating on latency: the artifacts of a report that have such bars, timed one after the other, and judged.

Nothing else of dlconv's runs meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dlconv import opening
from dlconv.asked.bars import Bars, LatencyBars
from dlconv.candidate import runtime_of
from dlconv.errors import DlconvError, RequestError
from dlconv.latency.benching import BenchSettings, measure
from dlconv.latency.sides import judge_answers, side_of_bundle, side_of_model
from dlconv.records.bundle import is_bundle, open_bundle
from dlconv.validators.latency import judge, percentile_wanted
from dlconv.validators.verdict import Check, Verdict, joined

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.events import Listener
    from dlconv.latency.sides import Side
    from dlconv.records.bundle import Bundle
    from dlconv.records.outcome import Outcome

BASELINE = "baseline"


@dataclass(frozen=True)
class Gate:
    """What is asked of latency beyond what each artifact's own bars say.

    bars: take the place of each artifact's own where they say anything. baseline: a bundle, or a folder of bundles by
    name, the last release's say; without, the source model where it is known. settings: of the measurement.
    """

    bars: LatencyBars = field(default_factory=LatencyBars)
    baseline: Path | None = None
    settings: BenchSettings = field(default_factory=BenchSettings)

    def bars_for(self, own: LatencyBars) -> LatencyBars:
        return self.bars if self.bars.is_asked else own


def gated(outcome: Outcome, gate: Gate, own: LatencyBars, source: Path | None, listener: Listener | None) -> Outcome:
    """The outcome of a bundle, with its latency judged, if there is a bar and it passed all else.

    own: the bundle's own bars. source: the model that it was made from, None where it is not at hand.
    """
    bars = gate.bars_for(own)
    if not bars.is_asked or outcome.word != "PASS" or outcome.path is None or not is_bundle(outcome.path):
        return outcome
    bundle = open_bundle(outcome.path)
    try:
        baseline = _baseline(bundle, gate.baseline, source) if bars.max_ratio is not None else None
        return timed(outcome, side_of_bundle(bundle, outcome.name), baseline, bars, gate.settings, listener)
    except RequestError as error:
        return replace(outcome, verdict=None, error=error)


def timed(
    outcome: Outcome,
    candidate: Side,
    baseline: Side | None,
    bars: LatencyBars,
    settings: BenchSettings,
    listener: Listener | None,
) -> Outcome:
    """The outcome with checks of latency, and of what the timed runs answered. The evidence stands in its body.

    Where a side does not run under the clock, the outcome is INCONCLUSIVE.
    """
    sides = [candidate] if baseline is None else [baseline, candidate]
    try:
        measured = measure(sides, replace(settings, percentile=percentile_wanted(bars)), listener)
    except DlconvError as error:
        # Either side may be the one that did not run: of latency nothing is known, and nothing more is said.
        met = f"latency could not be measured: {error.met}"
        trouble = Check("latency", Verdict("INCONCLUSIVE", (met, *error.problems)), figures=error.to_dict())
        checks = (*outcome.checks, trouble)
        return replace(outcome, checks=checks, verdict=joined(checks))
    answered = (
        replace(check, name=f"{check.name} while timed")
        for check in judge_answers(candidate, measured.answers[candidate.name])
    )
    checks = (*outcome.checks, *judge(measured.evidence, bars), *answered)
    asked = {**outcome.body.get("bars", {}), **Bars(latency=bars).to_dict()}
    body = {**outcome.body, "bars": asked, "latency": measured.evidence.to_dict()}
    return replace(outcome, checks=checks, verdict=joined(checks), body=body)


def _baseline(bundle: Bundle, given: Path | None, source: Path | None) -> Side | None:
    if given is not None:
        named = given / bundle.place.name
        place = given if is_bundle(given) else named
        if not is_bundle(place):
            raise RequestError(
                f"there is no baseline for {bundle.place.name} in {given}",
                wanted=f"a bundle, or a folder with {bundle.place.name} in it",
            )
        return side_of_bundle(open_bundle(place), BASELINE)
    if source is None:
        return None  # then the ratio has nothing to be of, and the judge says so
    artifact = opening.open_model(source)
    runtime = runtime_of(artifact.format)
    if runtime is None:
        return None
    return side_of_model(artifact, runtime, BASELINE, bundle.source_signature, bundle.reference().samples.samples)
