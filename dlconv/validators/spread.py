"""How figures spread: counts by size on a logarithmic axis, small enough to lie in a receipt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PER_DECADE: Final = 5
"""Bins of a decade, for errors: bin k holds 10^(k / PER_DECADE) up to the next one's."""

PER_DECADE_OF_TIMES: Final = 50
"""For times, which lie near each other: a bin is 4.7% wide."""

MOST_BINS: Final = 400
"""So many bins at most: those beyond are counted in the last one."""


@dataclass(frozen=True)
class Spread:
    """Counts of positive figures: counts[i] lie from 10^((first + i) / per_decade) up to the next bin's beginning.

    zeros: figures that are 0, an error's "no difference". endless: those that are infinite or NaN.
    """

    per_decade: int
    first: int
    counts: tuple[int, ...]
    zeros: int = 0
    endless: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts) + self.zeros + self.endless

    @property
    def edges(self) -> tuple[float, ...]:
        """Of the bins, one more than there are bins."""
        return tuple(10.0 ** ((self.first + i) / self.per_decade) for i in range(len(self.counts) + 1))

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "counts": list(self.counts)}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Spread:
        numbers = {key: int(data[key]) for key in ("per_decade", "first", "zeros", "endless")}
        return Spread(**numbers, counts=tuple(map(int, data["counts"])))


def spread_of(parts: Iterable[np.ndarray[Any, Any]], per_decade: int = PER_DECADE) -> Spread:
    """The spread of figures that are 0 or more, of all parts together. Each part is read once, one after another."""
    zeros = endless = 0
    found: dict[int, int] = {}
    for part in parts:
        figures = np.asarray(part, np.float64).ravel()
        finite = figures[np.isfinite(figures)]
        positive = finite[finite > 0]
        endless += figures.size - finite.size
        zeros += finite.size - positive.size
        bins, counts = np.unique(np.floor(per_decade * np.log10(positive)).astype(np.int64), return_counts=True)
        for bin_, count in zip(bins.tolist(), counts.tolist(), strict=True):
            found[bin_] = found.get(bin_, 0) + count
    if not found:
        return Spread(per_decade, 0, (), zeros, endless)
    first = min(found)
    counted = [0] * min(max(found) - first + 1, MOST_BINS)
    for bin_, count in found.items():
        counted[min(bin_ - first, MOST_BINS - 1)] += count
    return Spread(per_decade, first, tuple(counted), zeros, endless)
