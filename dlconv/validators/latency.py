"""Latency: what was measured, and what bars say of it. Pure: old evidence can be judged anew.

Ratios are of sides that were measured side by side in one run, and hold for machines like this one. Times in
milliseconds hold for this machine alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dlconv.validators.evidence import json_number
from dlconv.validators.percentiles import Percentile
from dlconv.validators.ratios import Ratio
from dlconv.validators.spread import Spread
from dlconv.validators.verdict import Check, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dlconv.asked.bars import LatencyBars

NAME = "latency"
ABSOLUTE = ("p50", "p90", "p95", "p99")
"""Percentiles that can have a bar: `LatencyBars` has a field `<name>_ms` for each."""

DISTURBING = 0.1
"""From this share of the CPUs on, what other processes use is told."""

_MORE_TIME = "give it more time: --time SECONDS, on a machine that does nothing else"


@dataclass(frozen=True)
class WarmUp:
    """Runs before anything was timed. is_settled: three windows in a row agreed; then the last window's median is
    what the process came to, in milliseconds."""

    runs: int
    seconds: float
    is_settled: bool
    first_window_ms: float
    last_window_ms: float
    windows_ms: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        windows = [json_number(value) for value in self.windows_ms]
        return {key: json_number(value) for key, value in vars(self).items()} | {"windows_ms": windows}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> WarmUp:
        first, last = float(data["first_window_ms"]), float(data["last_window_ms"])
        windows = tuple(map(float, data.get("windows_ms", ())))
        return WarmUp(int(data["runs"]), float(data["seconds"]), bool(data["is_settled"]), first, last, windows)


@dataclass(frozen=True)
class SideEvidence:
    """What was measured of one side, in the steady state unless said otherwise.

    count: timed runs. load_ms (reading and compiling), compile_ms (where the runtime tells it apart), first_ms (the
    first run) and warm_ups have one entry a process. peak_memory_bytes: of a process, its framework included. threads:
    as asked for. cpus: the CPUs that the processes might use; is_pinned: because they were told so. spread: of the
    timed runs, in milliseconds.
    """

    name: str
    runtime: str
    versions: Mapping[str, str]
    placement: Mapping[str, Any]
    size_bytes: int
    threads: int
    cpus: tuple[int, ...]
    is_pinned: bool
    count: int
    mean_ms: float
    min_ms: float
    percentiles: Mapping[str, Percentile]
    load_ms: tuple[float, ...]
    compile_ms: tuple[float, ...]
    first_ms: tuple[float, ...]
    warm_ups: tuple[WarmUp, ...]
    peak_memory_bytes: int
    spread: Spread | None = None

    def to_dict(self) -> dict[str, Any]:
        told = {key: json_number(value) for key, value in vars(self).items()}
        for key in ("load_ms", "compile_ms", "first_ms"):
            told[key] = [json_number(value) for value in told[key]]
        return told | {
            "versions": dict(self.versions),
            "placement": dict(self.placement),
            "cpus": list(self.cpus),
            "percentiles": {name: percentile.to_dict() for name, percentile in self.percentiles.items()},
            "warm_ups": [warm_up.to_dict() for warm_up in self.warm_ups],
            "spread": None if self.spread is None else self.spread.to_dict(),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> SideEvidence:
        told = dict(data)
        for key in ("load_ms", "compile_ms", "first_ms"):
            told[key] = tuple(map(float, told[key]))
        told["mean_ms"], told["min_ms"] = float(told["mean_ms"]), float(told["min_ms"])
        told["cpus"] = tuple(told["cpus"])
        told["percentiles"] = {name: Percentile.from_dict(each) for name, each in told["percentiles"].items()}
        told["warm_ups"] = tuple(map(WarmUp.from_dict, told["warm_ups"]))
        told["spread"] = None if told.get("spread") is None else Spread.from_dict(told["spread"])
        return SideEvidence(**told)


@dataclass(frozen=True)
class LatencyEvidence:
    """A measurement. The first side is the baseline, if there are more; `ratios` has one for each of the others.

    noise: the noise floor, how far the baseline's ratio to itself (two processes) lies from 1 at most, as a share.
    others: how much of the CPUs' time other processes used meanwhile, 0 to 1; None where the system does not tell.
    inputs: distinct inputs that the runs went over. shapes: of one input, as text. stopped: why the measurement ended;
    is_complete: the time, the samples and the width of the intervals all were reached, not only the cap.
    problems: what makes the times worthless, a line each.
    """

    sides: tuple[SideEvidence, ...]
    ratios: Mapping[str, Ratio]
    noise: float
    others: float | None
    rounds: int
    blocks: int
    inputs: int
    shapes: str
    seed: int
    seconds: float
    stopped: str
    is_complete: bool
    problems: tuple[str, ...] = field(default=())

    @property
    def disturbance(self) -> str:
        """What to know of a machine that did something else as well; "" of one that did not."""
        if self.others is None or not (self.others > DISTURBING):
            return ""
        return (
            f"other processes used {100 * self.others:.0f}% of the CPUs meanwhile, which makes slow runs slower still"
        )

    @property
    def candidates(self) -> tuple[SideEvidence, ...]:
        """The sides that are judged: all but the baseline, or the only one."""
        return self.sides[1:] or self.sides

    def to_dict(self) -> dict[str, Any]:
        return {
            **{key: json_number(value) for key, value in vars(self).items()},
            "sides": [side.to_dict() for side in self.sides],
            "ratios": {name: ratio.to_dict() for name, ratio in self.ratios.items()},
            "problems": list(self.problems),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> LatencyEvidence:
        told = dict(data)
        told["sides"] = tuple(map(SideEvidence.from_dict, told["sides"]))
        told["ratios"] = {name: Ratio.from_dict(ratio) for name, ratio in told["ratios"].items()}
        told["noise"], told["problems"] = float(told["noise"]), tuple(told["problems"])
        return LatencyEvidence(**told)


def judge(evidence: LatencyEvidence, bars: LatencyBars) -> tuple[Check, ...]:
    """A check for each bar that was asked for and each side that is judged; () where none was asked for.

    What was measured wrongly fails whatever the times are; what was not measured is INCONCLUSIVE.
    """
    if not bars.is_asked:
        return ()
    if evidence.problems:
        return (Check(NAME, Verdict("FAIL", evidence.problems)),)
    if not evidence.candidates:
        return (Check(NAME, Verdict("INCONCLUSIVE", ("nothing was measured",))),)
    return tuple(_with_disturbance(check, evidence.disturbance) for check in _checks(evidence, bars))


def _with_disturbance(check: Check, told: str) -> Check:
    if not told or check.verdict.word == "PASS":
        return check
    return replace(check, verdict=Verdict(check.verdict.word, (*check.verdict.reasons, told)))


def _checks(evidence: LatencyEvidence, bars: LatencyBars) -> Iterable[Check]:
    for side in evidence.candidates:
        if bars.max_ratio is not None:
            yield _ratio_check(side.name, evidence, bars.max_ratio)
        for name in ABSOLUTE:
            bar = getattr(bars, f"{name}_ms")
            if bar is not None:
                yield _absolute_check(side, name, bar)


def _ratio_check(name: str, evidence: LatencyEvidence, bar: float) -> Check:
    subject = f"{name}, max_ratio"
    ratio = evidence.ratios.get(name)
    if ratio is None:
        reason = f"{name}: there is a bar for the ratio, and nothing to compare with; give a baseline"
        return Check(NAME, Verdict("INCONCLUSIVE", (reason,)), subject, {"bar": bar})
    baseline = evidence.sides[0].name
    met = f"{name}: {ratio.ratio:.4g} times the time of {baseline} ({ratio.low:.4g} to {ratio.high:.4g}), bar {bar:g}"
    verdict = _between(ratio.low, ratio.high, bar, met, f"a bar of {ratio.high:.3g} would have been needed")
    return Check(NAME, verdict, subject, {**ratio.to_dict(), "bar": bar, "baseline": baseline})


def _absolute_check(side: SideEvidence, name: str, bar: float) -> Check:
    """Held where the percentile's upper bound is at or below the bar; failed where its lower bound is above."""
    subject = f"{side.name}, {name}_ms"
    percentile = side.percentiles.get(name)
    figures = {**({} if percentile is None else percentile.to_dict()), "bar": bar, "holds_for": "this machine"}
    if percentile is None or percentile.value_ms is None:
        needed = "" if percentile is None else f" of {percentile.needed}"
        reason = f"{side.name}: insufficient samples for {name}, {side.count}{needed}; {_MORE_TIME}"
        return Check(NAME, Verdict("INCONCLUSIVE", (reason,)), subject, figures)
    low, high = _or_nan(percentile.low_ms), _or_nan(percentile.high_ms)
    met = f"{side.name}: {name} {percentile.value_ms:.3g} ms on this machine ({low:.3g} to {high:.3g}), bar {bar:g} ms"
    verdict = _between(low, high, bar, met, f"a bar of {high:.3g} ms would have been needed")
    return Check(NAME, verdict, subject, figures)


def _between(low: float, high: float, bar: float, met: str, needed: str) -> Verdict:
    # A NaN is neither below nor above, and so never passes; a lower end above the bar alone is enough to fail.
    if low <= high <= bar:
        return Verdict("PASS")
    if low > bar and not (high < low):
        return Verdict("FAIL", (f"{met} ({needed})" if high > bar else met,))
    return Verdict("INCONCLUSIVE", (f"{met}: {_MORE_TIME}",))


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def percentile_wanted(bars: LatencyBars) -> str:
    """The highest percentile that a bar asks for: so many samples are needed. Without, the 90th."""
    asked = [name for name in ABSOLUTE if getattr(bars, f"{name}_ms") is not None]
    return asked[-1] if asked else "p90"
