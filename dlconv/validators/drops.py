"""By how much a candidate does its task worse than its source, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from dlconv.validators.evidence import TaskEvidence
from dlconv.validators.verdict import Check, Verdict

Array = np.ndarray[Any, Any]
Score = Callable[[Array], float]
"""The metric over the units (rows, lines, pictures) with these numbers; a number may come several times."""

LEAST_LABELS: Final = 20
"""With fewer, whatever the drop, nothing is concluded."""

_Z: Final = 1.959963984540054
_TINY: Final = 1e-12


def judged(task: TaskEvidence, bar: float) -> Check:
    """A check that passes where the drop is at most `bar`, and the labels are enough to show one of that size."""
    figures = {**task.to_dict(), "drop": task.drop, "bar": bar}
    if task.problem or not math.isfinite(task.drop):
        reason = f"{task.metric} is not known of the artifact: {task.problem or 'it is no number'}"
        return Check("metric", Verdict("FAIL", (reason,)), task.metric, _plain(figures))
    low, high = task.interval
    told = (
        f"{task.metric} is {task.candidate:.6g} for {task.reference:.6g} of the source: a drop of {task.drop:.3g} "
        f"(95%: {low:.3g} to {high:.3g}), at most {bar:.3g} is asked"
    )
    if not task.drop <= bar + _TINY:
        return Check("metric", Verdict("FAIL", (told,)), task.metric, _plain(figures))
    few = too_few(task.labels, bar)
    return Check("metric", Verdict("INCONCLUSIVE", (few,)) if few else Verdict("PASS"), task.metric, _plain(figures))


def too_few(labels: int, bar: float) -> str:
    """Why so many labels cannot show that a drop is at most `bar`; "" where they can."""
    if labels < LEAST_LABELS:
        return f"{labels} labels show nothing: give {LEAST_LABELS} or more"
    if 0 < bar * labels < 1 - _TINY:
        return f"one answer of {labels} is more than a drop of {bar:.3g}: give {math.ceil(1 / bar)} labels or more"
    return ""


def newcombe(reference: Array, candidate: Array) -> tuple[float, float]:
    """The 95% interval of the share of right ones in `reference` less that in `candidate`: bool [n], samples alike.

    Newcombe's tenth method for paired proportions (Statistics in Medicine 17, 1998, 2635-2650): from Wilson's intervals
    of both shares and the correlation of the answers. It does not shrink to nothing where no two answers differ.
    """
    count = int(reference.size)
    both, neither = int(np.sum(reference & candidate)), int(np.sum(~reference & ~candidate))
    lost, won = int(np.sum(reference & ~candidate)), int(np.sum(~reference & candidate))
    one, other = (both + lost) / count, (both + won) / count
    (one_low, one_high), (other_low, other_high) = (_wilson(share, count) for share in (one, other))
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    product = float(both * neither - lost * won)
    if product > 0:
        product = max(product - count / 2, 0.0)
    phi = product / math.sqrt(margins) if margins else 0.0

    def half(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    difference = one - other
    low = difference - half(one - one_low, other_high - other)
    return low, difference + half(one_high - one, other - other_low)


def bootstrapped(reference: Score, candidate: Score, units: int, draws: int, sign: int) -> tuple[float, float]:
    """The 95% interval of the drop by a paired bootstrap (Efron, Annals of Statistics 7, 1979; percentiles): the
    same units are drawn for both, with replacement, from a fixed seed. sign: -1 where less is better. NaN where a
    draw's figure is."""
    random = np.random.default_rng(0)
    drops = []
    for _ in range(draws):
        drawn = random.integers(0, units, units)
        drops.append(sign * (reference(drawn) - candidate(drawn)))
    low, high = np.percentile(drops, (2.5, 97.5))
    return float(low), float(high)


def _wilson(share: float, count: int) -> tuple[float, float]:
    middle = (share + _Z * _Z / (2 * count)) / (1 + _Z * _Z / count)
    half = _Z / (1 + _Z * _Z / count) * math.sqrt(share * (1 - share) / count + _Z * _Z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in figures.items()}  # fmt: skip
