"""Timing contenders within a budget: which are measured side by side, and what becomes of one that does not run."""

from __future__ import annotations

import math
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dlconv.errors import DlconvError, InternalError
from dlconv.events import Event
from dlconv.latency.benching import CAP, ROUNDS, BenchSettings, measure
from dlconv.latency.sides import Side, judge_answers, side_of_bundle
from dlconv.records.bundle import open_bundle
from dlconv.tuning.contender import Setting, Timing
from dlconv.tuning.kept import Measured, identity
from dlconv.validators.verdict import Verdict, joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dlconv.events import Listener
    from dlconv.latency.benching import Measurement
    from dlconv.tuning.contender import State
    from dlconv.tuning.kept import Shelf
    from dlconv.tuning.options import TuneOptions
    from dlconv.validators.latency import LatencyEvidence
    from dlconv.validators.ratios import Ratio

LEAST_S = 3.0
"""Seconds of blocks that a measurement has at least."""

LONGEST_S = 120.0
"""No round of a measurement begins after so many seconds, whatever the budget is: others are to be measured."""

FIRST_GUESS_S = 3.0
"""What a process costs a round besides its blocks (starting, loading, warming up), until it was seen."""

ANCHOR = " (anchor)"


@dataclass(frozen=True)
class Timed:
    """What timing says of a contender. word: PASS, or what stands in the way."""

    word: State
    reasons: tuple[str, ...] = ()
    timing: Timing | None = None


class Stopwatch:
    """Measures within what is left of a budget. measurements: those that were made, or that an earlier run made and
    that are used again. earlier: when those ended, in seconds since the epoch, by their place. anchor: the baseline of
    the first, which every other measurement has besides."""

    def __init__(self, options: TuneOptions, deadline: float, told: Listener, shelf: Shelf) -> None:
        self.measurements: list[LatencyEvidence] = []
        self.earlier: dict[int, float] = {}
        self.anchor: Setting | None = None
        self.anchor_ms: float | None = None
        self._options = options
        self._deadline = deadline
        self._told = told
        self._shelf = shelf
        self._places: dict[str, int] = {}
        self._identities: dict[Setting, dict[str, Any]] = {}
        self._process_s = FIRST_GUESS_S
        self._known: set[Setting] = set()

    def time(
        self, baseline: Setting, others: Sequence[Setting], paths: Mapping[tuple[str, str], Path], share: float
    ) -> dict[Setting, Timed]:
        """Measure settings against their baseline, as many of them as there is time for, in order.

        paths: of the bundles, by target and precision. share: of what is left of the budget, 0 to 1; the rest is for
        others. Those that are not in the answer were not reached.
        """
        left = self._deadline - time.monotonic()
        fixed = 2 + (self.anchor not in (None, baseline))
        seconds, fitting = share * left, self._fitting(share * left, fixed)
        least = min(1, len(others))
        if fitting < least <= self._fitting(left, fixed):
            # Rather one now than none at all; but it takes no more of the others' time than it must.
            seconds, fitting = LEAST_S + ROUNDS * self._process_s * (fixed + least), least
        if fitting < 0 or (fitting == 0 and baseline in self._known):
            return {}
        return self._attempt(baseline, list(others)[:fitting], paths, seconds)

    def recalled(
        self, baseline: Setting, settings: Sequence[Setting], paths: Mapping[tuple[str, str], Path]
    ) -> dict[Setting, Timed]:
        """Those of the settings that an earlier run measured here, against this baseline and beside the same anchor.

        Without an anchor the baseline is it, if its own time is known; nothing is known without a scale.
        """
        found: dict[Setting, Timed] = {}
        if not self._shelf.is_read:
            return found
        held = self._identity(baseline, paths), self._identity(self.anchor or baseline, paths)
        for setting in sorted(settings, key=lambda each: each != baseline):
            if setting in self._known or (self.anchor is None and setting != baseline):
                continue
            kept = self._shelf.get((self._identity(setting, paths), *held))
            if kept is not None:
                timing = replace(kept.timing, measurement=self._place_of(kept))
                found[setting] = Timed("PASS", (), timing)
                self._known.add(setting)
                if self.anchor is None:
                    self.anchor, self.anchor_ms = baseline, timing.p50_ms
        return found

    def _place_of(self, kept: Measured) -> int:
        """The place of an earlier run's measurement among this one's; several contenders were in it."""
        if kept.number not in self._places:
            self._places[kept.number] = len(self.measurements)
            self.earlier[len(self.measurements)] = kept.at
            self.measurements.append(kept.evidence)
        return self._places[kept.number]

    def _keep(self, found: Mapping[Setting, Timed], baseline: Setting, paths: Mapping[tuple[str, str], Path]) -> None:
        """For the next run: what passed in the last measurement."""
        number, at = uuid.uuid4().hex, time.time()
        for setting, timed in found.items():
            if timed.timing is not None and self._shelf.is_used:
                own, base = self._identity(setting, paths), self._identity(baseline, paths)
                scale = self._identity(self.anchor or baseline, paths)
                measured = Measured(number, at, timed.timing, self.measurements[-1])
                problem = self._shelf.put((own, base, scale), measured, setting.name)
                if problem:
                    self._told.on(Event("note", "", problem))

    def _identity(self, setting: Setting, paths: Mapping[tuple[str, str], Path]) -> dict[str, Any]:
        """Found out once: of large files the digests take long."""
        if setting not in self._identities:
            self._identities[setting] = identity(_side(setting, paths))
        return self._identities[setting]

    def _fitting(self, seconds: float, fixed: int) -> int:
        """How many sides have time besides the fixed ones; less than 0 where these have none."""
        return math.floor((seconds - LEAST_S) / (ROUNDS * self._process_s)) - fixed

    def _attempt(
        self, baseline: Setting, others: list[Setting], paths: Mapping[tuple[str, str], Path], seconds: float
    ) -> dict[Setting, Timed]:
        """One measurement; where a side does not run, the baseline alone and then each of the others."""
        try:
            return self._measured(baseline, others, paths, seconds)
        except InternalError:
            raise
        except DlconvError as error:
            failed = Timed("ERROR", ("it does not run under the clock: " + error.met, *error.problems))
            if not others:
                return {baseline: failed}
            found: dict[Setting, Timed] = {}
            if baseline not in self._known:
                found = self._attempt(baseline, [], paths, seconds)
                if found[baseline].word != "PASS":
                    lost = Timed("INCONCLUSIVE", (f"{baseline.name} does not run under the clock",))
                    return found | dict.fromkeys(others, lost)
            if len(others) == 1:
                return found | {others[0]: failed}
            for setting in others:
                if self._fitting(self._deadline - time.monotonic(), 3) >= 0:
                    found |= self._attempt(baseline, [setting], paths, self._deadline - time.monotonic())
            return found

    def _measured(
        self, baseline: Setting, others: list[Setting], paths: Mapping[tuple[str, str], Path], seconds: float
    ) -> dict[Setting, Timed]:
        sides = [_side(setting, paths) for setting in (baseline, *others)]
        lineup = list(sides)
        if self.anchor is not None and self.anchor != baseline:
            anchor = _side(self.anchor, paths)
            lineup.append(replace(anchor, name=anchor.name + ANCHOR))
        slots = len(lineup) + 1
        settings = BenchSettings(
            time_s=min(self._options.time_s, max(LEAST_S, seconds - ROUNDS * slots * self._process_s)),
            cap_s=max(LEAST_S, min(seconds, CAP * self._options.time_s, LONGEST_S)),
            threads=baseline.threads,
            seed=self._options.export.seed,
            percentile="p50",
            timeout_s=self._options.export.timeout_s,
            memory_limit_bytes=self._options.export.memory_limit_bytes,
        )
        measured = measure(lineup, settings, self._told)
        evidence = measured.evidence
        spent = evidence.seconds - evidence.rounds * settings.time_s / ROUNDS
        self._process_s = max(0.5, spent / (evidence.rounds * slots))
        self.measurements.append(evidence)
        if self.anchor is None:
            self.anchor, self.anchor_ms = baseline, evidence.sides[0].percentiles["p50"].value_ms
        found = self._told_apart(measured, sides, (baseline, *others), lineup[len(sides) :])
        self._keep(found, baseline, paths)
        return found

    def _told_apart(
        self, measured: Measurement, sides: list[Side], settings: Sequence[Setting], anchors: list[Side]
    ) -> dict[Setting, Timed]:
        """Each side's timing, where it and those that it is held against answered rightly."""
        evidence = measured.evidence
        verdicts = {side.name: _verdict(side, measured) for side in (*sides, *anchors)}
        held = [side.name for side in (sides[0], *anchors) if verdicts[side.name].word != "PASS"]
        of_anchor = evidence.ratios[anchors[0].name] if anchors else None
        found: dict[Setting, Timed] = {}
        for side, setting, each in zip(sides, settings, evidence.sides, strict=False):
            ratio = evidence.ratios.get(side.name)
            timing = Timing(
                measurement=len(self.measurements) - 1,
                log=_log(ratio),
                half=_half(ratio),
                base_log=-_log(of_anchor),
                base_half=_half(of_anchor),
                noise=evidence.noise,
                p50_ms=each.percentiles["p50"].value_ms,
                ratio=ratio,
            )
            verdict = verdicts[side.name]
            if verdict.word != "PASS":
                found[setting] = Timed(verdict.word, tuple(f"while it was timed: {each}" for each in verdict.reasons))
            elif held:
                found[setting] = Timed("INCONCLUSIVE", (f"{held[0]} did not answer rightly while it was timed",))
            elif not timing.is_known:
                found[setting] = Timed("INCONCLUSIVE", ("its time is no number that could be compared",))
            else:
                found[setting] = Timed("PASS", (), timing)
        if settings[0] in self._known:
            del found[settings[0]]  # it was measured before, with the runtime's defaults beside it
        self._known |= {setting for setting, timed in found.items() if timed.word == "PASS"}
        return found


def _side(setting: Setting, paths: Mapping[tuple[str, str], Path]) -> Side:
    name = replace(setting, option="").name  # the side adds its option
    side = side_of_bundle(open_bundle(paths[setting.target, setting.precision]), name)
    options = (setting.option,) if setting.option else ()
    return replace(side, threads=setting.threads).with_options(options, setting.threads)


def _verdict(side: Side, measured: Measurement) -> Verdict:
    """On the side's timed answers: they have to repeat untimed ones, and hold the bundle's bars."""
    unlike = tuple(each for each in measured.evidence.problems if each.startswith(f"{side.name}: "))
    if unlike:
        return Verdict("FAIL", unlike)
    checks = judge_answers(side, measured.answers[side.name])
    return joined(checks) if checks else Verdict("INCONCLUSIVE", ("no answer could be judged",))


def _log(ratio: Ratio | None) -> float:
    """The logarithm of a ratio, 0 for none; NaN where there is none."""
    if ratio is None:
        return 0.0
    return math.log(ratio.ratio) if 0 < ratio.ratio < math.inf else math.nan


def _half(ratio: Ratio | None) -> float:
    """The larger half of the interval's width, in logarithms; 0 for no ratio."""
    if ratio is None:
        return 0.0
    if not (0 < ratio.low <= ratio.ratio <= ratio.high < math.inf):
        return math.nan
    return max(math.log(ratio.high / ratio.ratio), math.log(ratio.ratio / ratio.low))
