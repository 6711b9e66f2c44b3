"""Contenders: a target at a precision with a number of threads, what became of each, and how fast it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from dlconv.validators.evidence import json_number
from dlconv.validators.ratios import LEAST, Ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.asked.precisions import Precision
    from dlconv.records.outcome import Outcome

State = Literal["PASS", "FAIL", "INCONCLUSIVE", "SKIPPED", "ERROR", "NOT REACHED"]
"""A verdict's word, ERROR for what could not be made or run, NOT REACHED for what the budget left no time for."""

STORED_ALONE: Final = "-weights"


@dataclass(frozen=True)
class Setting:
    """What is made, and how it is run. option: of the runtime, "" for its default."""

    target: str
    precision: Precision
    threads: int
    option: str = ""

    @property
    def name(self) -> str:
        """Unique: "tflite int8, 2 threads, xnnpack=off"."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return ", ".join([f"{self.target} {self.precision}", threads, *([self.option] if self.option else [])])

    @property
    def group(self) -> tuple[str, int]:
        """Those with one group have the same float32 to be held against."""
        return self.target, self.threads

    @property
    def baseline(self) -> Setting:
        """The float32 that this is held against: of its target, with its threads, by the runtime's default."""
        return Setting(self.target, "fp32", self.threads)


@dataclass(frozen=True)
class Timing:
    """How fast a contender was, in logarithms of ratios.

    log: of its time over its baseline's, half: half of the interval's width. base_log and base_half: the same of its
    baseline over the anchor, which every measurement has in common. noise: the larger of the noise floor of its
    measurement, a share. p50_ms: as it was measured. measurement: its number. ratio: to its baseline, None for the
    baseline itself.
    """

    measurement: int
    log: float
    half: float
    base_log: float
    base_half: float
    noise: float
    p50_ms: float | None
    ratio: Ratio | None

    @property
    def relative(self) -> float:
        """Its time over the anchor's."""
        return math.exp(self.log + self.base_log)

    @property
    def is_known(self) -> bool:
        """Whether every figure is a number."""
        figures = (self.log, self.half, self.base_log, self.base_half, self.noise)
        return all(math.isfinite(figure) for figure in figures)

    def to_dict(self) -> dict[str, Any]:
        """As it is kept; without the number of its measurement, which is another in each run."""
        told = {key: value for key, value in vars(self).items() if key not in ("measurement", "ratio")}
        return {**told, "ratio": None if self.ratio is None else self.ratio.to_dict()}

    @staticmethod
    def from_dict(data: Mapping[str, Any], measurement: int = -1) -> Timing:
        ratio = None if data["ratio"] is None else Ratio.from_dict(data["ratio"])
        figures = {name: float(data[name]) for name in ("log", "half", "base_log", "base_half", "noise")}
        return Timing(measurement, **figures, p50_ms=data["p50_ms"], ratio=ratio)

    def ties_with(self, other: Timing) -> bool:
        """Whether the two lie within the noise of one another.

        Errors of measurements that do not depend on each other add in squares; the baseline's share drops out of two
        that were measured side by side.
        """
        halves = [self.half, other.half]
        distance = self.log - other.log
        if self.measurement != other.measurement:
            distance += self.base_log - other.base_log
            halves += [self.base_half, other.base_half]
        return abs(distance) <= max(math.log1p(max(self.noise, other.noise, LEAST)), math.hypot(*halves))


@dataclass(frozen=True)
class Contender:
    """A setting and what became of it.

    word: PASS where it is the same model, in its own check and in the answers of its timed runs; reasons: of any other
    word, or why it was not timed. size_bytes: of its files. error: the largest of its outputs, relative to scale. drop:
    of the metric on the labels, 0 to 1, None without labels. timing: None where it was not measured. command: the
    `dlconv export` that makes it; how: as it has to be run to be as fast; bench: the `dlconv bench` that times it so.
    """

    setting: Setting
    word: State
    reasons: tuple[str, ...] = ()
    size_bytes: int = 0
    error: float = math.nan
    drop: float | None = None
    timing: Timing | None = None
    command: str = ""
    how: str = ""
    bench: str = ""

    @property
    def name(self) -> str:
        return self.setting.name

    @property
    def is_measured(self) -> bool:
        """Whether it passed, and all that the front compares is known of it."""
        is_timed = self.timing is not None and self.timing.is_known
        return self.word == "PASS" and is_timed and self.size_bytes > 0 and math.isfinite(self.error)

    @property
    def costs(self) -> tuple[float, float, float]:
        """What the front compares, less is better: time over the anchor's, size in bytes, error."""
        if self.timing is None:
            return math.nan, math.nan, math.nan
        return self.timing.relative, float(self.size_bytes), self.error

    @property
    def use(self) -> str:
        """What a lower precision that is no faster than float32 is good for, in plain words; "" for any other."""
        ratio = None if self.timing is None else self.timing.ratio
        precision, target = self.setting.precision, self.setting.target
        if precision == "fp32" or ratio is None or not self.is_measured or ratio.word == "faster":
            return ""
        if self.setting.option:  # it is held against the runtime's default, and says nothing of the precision
            return ""
        known = f"{ratio.ratio:.3g} times the time, {ratio.low:.3g} to {ratio.high:.3g}"
        how = (
            "it is slower than float32" if ratio.word == "slower" else "it is not faster than float32 beyond the noise"
        )
        if precision.endswith(STORED_ALONE):
            return f"{self.name} saves storage, no time: {how} ({known})"
        return f"{precision} is of no use on {target} here ({self.name}): {how} ({known})"

    def to_dict(self) -> dict[str, Any]:
        timing = self.timing
        return {
            "name": self.name,
            **vars(self.setting),
            "word": self.word,
            "reasons": list(self.reasons),
            "size_bytes": self.size_bytes,
            "error": json_number(self.error),
            "drop": self.drop,
            "relative": None if timing is None else json_number(timing.relative),
            "p50_ms": None if timing is None else timing.p50_ms,
            "against_float32": None if timing is None or timing.ratio is None else timing.ratio.to_dict(),
            "measurement": None if timing is None else timing.measurement,
            "use": self.use,
            "command": self.command,
            "how": self.how,
            "bench": self.bench,
        }


def error_of(outcome: Outcome) -> float:
    """The largest error of an outcome's outputs, relative to scale; of integers the share that differ. NaN for none."""
    found = [math.nan]
    for check in outcome.checks:
        if check.name == "parity":
            figures = check.figures
            is_exact = figures.get("kind") == "exact"
            share = figures.get("mismatches", 0) / max(figures.get("elements", 0), 1)
            found.append(share if is_exact else float(figures.get("error", math.nan)))
    return max(found[1:], default=math.nan)


def drop_of(outcome: Outcome) -> float | None:
    """By how much the metric on the labels is worse than the source's, 0 to 1; None where that is not known.

    It is the task metric where one was asked for, else top-1 accuracy: the largest drop of the outputs that have
    labels.
    """
    for check in outcome.checks:
        if check.name == "metric":
            drop = float(check.figures["drop"])  # what is no number stands there as text
            return drop + 0.0 if math.isfinite(drop) else None  # of -0.0 makes 0.0
    scores = [check.figures.get("accuracy") for check in outcome.checks if check.name == "parity"]
    return max(((each["reference"] - each["candidate"]) / each["count"] for each in scores if each), default=None)
