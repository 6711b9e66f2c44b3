"""What a search for a keep-list learns from real targets: how much less noise they need than it left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dlconv.records.outcome import Outcome
    from dlconv.validators.verdict import Check

_MOST: Final = 4.0
"""One bad element does not tell of all the noise: a factor beyond this one is taken for it."""
_USUAL: Final = 2.0
"""Of a metric, and of the bars besides the error: they say that there is too much noise, and not how much."""


def shortfall(outcome: Outcome) -> float:
    """By what factor the noise was too large for the bars that the target missed, over 1; else 0: where none was
    missed, and where something else is wrong that no keep-list mends."""
    failed = [check for check in outcome.checks if check.verdict.word == "FAIL"]
    if any(check.name not in ("parity", "metric") or check.figures.get("problems") for check in failed):
        return 0.0
    return max((_factor(check) for check in failed), default=0.0)


def _factor(check: Check) -> float:
    error, bar = (float(check.figures.get(name) or 0) for name in ("error", "bar"))
    if check.name != "parity" or not error > bar > 0:
        return _USUAL
    return min(error / bar, _MOST)
