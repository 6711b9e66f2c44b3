"""The Pareto front of contenders, and the rule by which one of them wins. Pure: figures in, names out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dlconv.validators.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.tuning.contender import Contender

RULE: Final = (
    "the fastest of those that pass and meet --min-speedup and --max-drop; of those that are within the noise of it, "
    "the smallest, then the one with the least error"
)


@dataclass(frozen=True)
class Wish:
    """What a winner has to meet; None for what is not asked.

    min_speedup: how many times as fast as float32 of the same target with the same threads. max_drop: of the metric on
    the labels, 0 to 1. metric: as ExportOptions has it, which every export is judged by then, with max_drop as the bar;
    "" for accuracy on the labels, of which the winner alone is asked.
    """

    min_speedup: float | None = None
    max_drop: float | None = None
    metric: str = ""

    @property
    def is_asked(self) -> bool:
        return self.min_speedup is not None or self.max_drop is not None


def dominates(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """Whether one is no worse in anything and better in something. A NaN is never better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def front_of(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    """Those that passed, were measured and are dominated by no other such, the fastest first."""
    measured = [each for each in contenders if each.is_measured]
    found = [each for each in measured if not any(dominates(other.costs, each.costs) for other in measured)]
    return tuple(sorted(found, key=_order))


def winner_of(contenders: Sequence[Contender], wish: Wish) -> Contender | None:
    """The winner by `RULE`; None where none meets what is asked."""
    able = [each for each in contenders if each.is_measured and judged(each, wish).word == "PASS"]
    if not able:
        return None
    fastest = min(able, key=_order)
    tied = [each for each in able if _ties(each, fastest)]
    return min(tied, key=lambda each: (each.size_bytes, each.error, *_order(each)))


def judged(contender: Contender, wish: Wish) -> Verdict:
    """Whether a measured contender meets what is asked. A speedup is met where the whole interval of the ratio is, and
    missed where all of it is; between, it is INCONCLUSIVE."""
    failures: list[str] = []
    doubts: list[str] = []
    if wish.min_speedup is not None:
        ratio = None if contender.timing is None else contender.timing.ratio
        # The baseline is as fast as itself.
        slow, quick = (1.0, 1.0) if ratio is None else (1 / ratio.high, 1 / ratio.low)
        met = f"{slow:.3g} to {quick:.3g} times as fast as float32 of its target, wanted {wish.min_speedup:g}"
        if not (slow >= wish.min_speedup):
            (failures if quick < wish.min_speedup else doubts).append(met)
    if wish.max_drop is not None:
        if contender.drop is None:
            failures.append("there are no labels to know the drop by")
        elif not (contender.drop <= wish.max_drop):
            of = f" of {wish.metric}" if wish.metric else ""
            failures.append(f"a drop{of} of {100 * contender.drop:.3g}%, at most {100 * wish.max_drop:g}% is wanted")
    if failures:
        return Verdict("FAIL", tuple(failures))
    return Verdict("INCONCLUSIVE", tuple(doubts)) if doubts else Verdict("PASS")


def _ties(one: Contender, other: Contender) -> bool:
    return one.timing is not None and other.timing is not None and one.timing.ties_with(other.timing)


def _order(contender: Contender) -> tuple[float, float, float, str]:
    return (*contender.costs, contender.name)
