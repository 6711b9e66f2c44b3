"""How much slower one model is than another: the ratio of paired bursts, and an interval that can be trusted.

A round has fresh processes: one of the candidate, two of the baseline. A block times each of them twice, in a random
order and then in the reverse one (ABBA for two), so that a steady drift weighs on all alike. What is compared is the
logarithm of a burst's median time.

Two things make a measured ratio wrong: what happens from block to block, and what a process is given for its life
(where its memory lies). The first is told by a bootstrap over blocks, the second by how the two processes of the same
baseline differ and how the rounds differ. The interval is the wider of the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.validators.evidence import json_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIDENCE: Final = 0.995
"""Of the interval, two-sided; so much that the words drawn from it are wrong in less than one of a hundred runs."""

STUDENT: Final = (
    127.321, 14.089, 7.453, 5.598, 4.773, 4.317, 4.029, 3.833, 3.690, 3.581, 3.497, 3.428, 3.372, 3.326, 3.286,
    3.252, 3.222, 3.197, 3.174, 3.153, 3.135, 3.119, 3.104, 3.091, 3.078, 3.067, 3.057, 3.047, 3.038, 3.030,
)  # fmt: skip
"""Student's t at 99.75%, for 1 to 30 degrees of freedom; NumPy has no function for it."""

TRIM: Final = 0.2
"""The share of blocks left out at each end of a round's mean: steps and outliers fall into few blocks."""

RESAMPLES: Final = 1000
NARROW: Final = 0.02
"""Half of the interval's width, as a share, at which a measurement has said enough of sides that are much alike."""

NARROW_OF_EFFECT: Final = 0.1
"""The same for sides that are not: half of the width over the distance from 1, both of logarithms."""

LEAST: Final = 0.01
"""A ratio nearer to 1 than this share is never called faster or slower, however quiet the machine was."""

SAME: Final = 0.03
"""A ratio whose interval lies within this share of 1 is "same"."""

BASELINE_VARIANCE: Final = 0.5
"""The baseline's logarithm is the mean of two processes'."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of times with its interval; noise: the ratio that the baseline has to itself, as a share (0.01: 1%).

    rounds: the ratio that each round found.
    """

    ratio: float
    low: float
    high: float
    noise: float
    rounds: tuple[float, ...]
    blocks: int

    @property
    def word(self) -> str:
        """faster, slower, same or inconclusive. A NaN anywhere is inconclusive."""
        if not all(math.isfinite(value) for value in (self.ratio, self.low, self.high, self.noise)):
            return "inconclusive"
        is_beyond_noise = self.ratio > 0 and abs(math.log(self.ratio)) > math.log1p(max(self.noise, LEAST))
        if self.low > 1 and is_beyond_noise:
            return "slower"
        if self.high < 1 and is_beyond_noise:
            return "faster"
        return "same" if self.low >= 1 / (1 + SAME) and self.high <= 1 + SAME else "inconclusive"

    @property
    def is_narrow(self) -> bool:
        """Whether more time would say little more."""
        if not (0 < self.low <= self.high and self.ratio > 0):
            return False
        wanted = max(math.log1p(NARROW), NARROW_OF_EFFECT * abs(math.log(self.ratio)))
        return math.log(self.high / self.low) <= 2 * wanted

    def to_dict(self) -> dict[str, Any]:
        told = {key: json_number(value) for key, value in vars(self).items() if key != "rounds"}
        return {**told, "rounds": [json_number(value) for value in self.rounds], "word": self.word}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Ratio:
        ratio, low, high, noise = (float(data[key]) for key in ("ratio", "low", "high", "noise"))
        return Ratio(ratio, low, high, noise, tuple(map(float, data["rounds"])), int(data["blocks"]))


def compare(candidate: Sequence[Any], baseline: Sequence[Any], again: Sequence[Any], seed: int = 0) -> Ratio:
    """The ratio candidate / baseline out of rounds of equal length, at least two.

    Each argument: an array a round, the logarithm of the time of each block; `again` is the baseline's second process.
    """
    rounds = list(zip(candidate, baseline, again, strict=True))
    wanted = [np.asarray(c, np.float64) - (np.asarray(a) + np.asarray(b)) / 2 for c, a, b in rounds]
    selves = [np.asarray(b, np.float64) - np.asarray(a) for _, a, b in rounds]
    centres, noises = (np.array([_centre(series) for series in each]) for each in (wanted, selves))
    estimate = float(centres.mean())
    # Every process adds its own variance s2: selves' differ by 2 s2, those of candidate and baseline by 1.5 s2.
    freedom = 2 * len(rounds) - 1
    of_pair = 1 + BASELINE_VARIANCE
    squares = float((noises**2).sum()) / 2 + float(((centres - estimate) ** 2).sum()) / of_pair
    between = _student(freedom) * math.sqrt(squares / freedom * of_pair / len(rounds))
    low, high = _bootstrap(wanted, seed)
    ends = (min(low, estimate - between), max(high, estimate + between))
    return Ratio(
        ratio=_exp(estimate),
        low=_exp(ends[0]),
        high=_exp(ends[1]),
        noise=noise_of(baseline, again, seed),
        rounds=tuple(map(_exp, centres.tolist())),
        blocks=sum(len(series) for series in wanted),
    )


def noise_of(baseline: Sequence[Any], again: Sequence[Any], seed: int = 0) -> float:
    """The noise floor: how far the ratio of one model to itself lies from 1 at most, as a share, by the bootstrap."""
    selves = [np.asarray(b, np.float64) - np.asarray(a) for a, b in zip(baseline, again, strict=True)]
    low, high = _bootstrap(selves, seed)
    return _exp(max(abs(low), abs(high))) - 1


def _bootstrap(rounds: Sequence[np.ndarray[Any, Any]], seed: int) -> tuple[float, float]:
    """The interval of the mean of the rounds' centres, by resampling runs of consecutive blocks within each round
    (the circular block bootstrap; Politis and Romano, 1992)."""
    random = np.random.default_rng(seed)
    if not all(np.isfinite(series).all() for series in rounds):
        return math.nan, math.nan  # trimming would leave out what is no number
    means = np.mean([_resampled(series, random) for series in rounds], axis=0)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def _resampled(series: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
    count = len(series)
    length = max(1, round(count ** (1 / 3)))
    starts = random.integers(count, size=(RESAMPLES, math.ceil(count / length)))
    indices = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :count] % count
    return _centres(series[indices])


def _centre(series: np.ndarray[Any, Any]) -> float:
    return float(_centres(series[None, :])[0])


def _centres(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The trimmed mean of each row."""
    count = rows.shape[1]
    cut = int(TRIM * count)
    if cut == 0:
        return np.asarray(rows.mean(axis=1))
    ordered = np.partition(rows, (cut, count - cut - 1), axis=1)
    return np.asarray(ordered[:, cut : count - cut].mean(axis=1))


def _exp(value: float) -> float:
    """The exponential; infinity where it would be too large: one round of a restless machine says nothing."""
    return math.inf if value > 700 else math.exp(value)


def _student(freedom: int) -> float:
    return STUDENT[min(freedom, len(STUDENT)) - 1]
