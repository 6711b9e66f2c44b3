"""Percentiles of measured times, with bounds that suppose no distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.validators.evidence import json_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEEDED: Final = {"p50": (0.5, 11), "p90": (0.9, 64), "p95": (0.95, 130), "p99": (0.99, 662), "p99.9": (0.999, 6636)}
"""Each percentile's share, and the samples below which it is not told: with fewer, no sample but the very largest would
bound it from above with 99%. The same numbers as in MLPerf LoadGen's early stopping."""

CONFIDENCE: Final = 0.99
BATCHES: Final = 16
"""Batches of consecutive runs, whose spread tells how many of the runs were independent."""


@dataclass(frozen=True)
class Percentile:
    """A percentile in milliseconds: of the runs, and one-sided 99% bounds of the percentile of all runs to come.

    None where the samples do not suffice; a bound can be missing where the percentile is not, since runs that follow
    one another are alike, and count for less than as many independent ones. needed: so many samples at least.
    """

    value_ms: float | None
    low_ms: float | None
    high_ms: float | None
    needed: int

    def to_dict(self) -> dict[str, Any]:
        return {key: json_number(value) for key, value in vars(self).items()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Percentile:
        told = (data[key] for key in ("value_ms", "low_ms", "high_ms"))
        value, low, high = (None if figure is None else float(figure) for figure in told)
        return Percentile(value, low, high, int(data["needed"]))


def percentiles(times_ns: Sequence[Any]) -> dict[str, Percentile]:
    """All that `NEEDED` names, of the times of bursts in nanoseconds, in the order in which they were measured."""
    series = np.concatenate([np.asarray(burst, np.float64) for burst in times_ns]) / 1e6 if times_ns else np.empty(0)
    ordered = np.sort(series)
    return {name: _percentile(series, ordered, share, needed) for name, (share, needed) in NEEDED.items()}


def _percentile(series: np.ndarray[Any, Any], ordered: np.ndarray[Any, Any], share: float, needed: int) -> Percentile:
    count = len(series)
    if count < needed or not np.isfinite(series).all():
        return Percentile(None, None, None, needed)
    value = float(ordered[math.ceil(share * count) - 1])
    independent = int(count / _repetition(series <= value, share))
    low, high = ranks(independent, share)
    return Percentile(
        value,
        None if low is None else float(ordered[max(0, math.floor(low / independent * count) - 1)]),
        None if high is None else float(ordered[math.ceil(high / independent * count) - 1]),
        needed,
    )


def _repetition(below: np.ndarray[Any, np.dtype[np.bool_]], share: float) -> float:
    """How many runs say as much as one independent run: the variance of the share of runs below a time, between
    batches, over that of independent runs (the design effect of cluster samples; Kish, Survey Sampling, 1965)."""
    size = len(below) // BATCHES
    if size < 1:
        return 1.0
    shares = below[: size * BATCHES].reshape(BATCHES, size).mean(axis=1)
    return max(1.0, float(shares.var(ddof=1)) * size / (share * (1 - share)))


def ranks(count: int, share: float) -> tuple[int | None, int | None]:
    """Ranks (from 1) of the order statistics that bound a percentile from below and from above with 99% each, out of
    the binomial distribution of how many of `count` independent samples lie below it.

    The upper one is never the largest sample, and None where only that one would do; the lower one None alike.
    """
    k = np.arange(1, count + 1, dtype=np.float64)
    steps = np.log((count - k + 1) / k) + math.log(share / (1 - share))
    logs = np.concatenate([[0.0], np.cumsum(steps)]) + count * math.log1p(-share)
    at_most = np.minimum(np.cumsum(np.exp(logs)), 1.0)  # [k]: that k or fewer lie below
    # Rank r bounds from above if r - 1 or fewer lie below; from below if r or more do.
    high = int(np.searchsorted(at_most, CONFIDENCE)) + 1
    low = int(np.searchsorted(at_most, 1 - CONFIDENCE, side="right"))
    return (low if low >= 1 else None), (high if high <= count - 1 else None)
