"""The search for what has to stay in float32, so that a precision holds. Pure but for the clock.

A node's sensitivity is the noise of the model in which it alone is in the precision. The most sensitive one is found by
bisection: of two halves of the graph the noisier one is gone into, which takes some 2 log2(n) emulations. Where a few
such nodes do not suffice, all are ranked: groups of neighbours are measured, and the noisiest is split until it is a
node, fewer than 2 n emulations for all of them. The shortest beginning of that ranking that holds is found by steps
that grow with it, and by bisection.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dlconv.errors import ConversionError

Noise = Callable[[frozenset[str]], float]
"""Of the nodes that stay in float32: the noise in units of what is allowed; up to 1 holds, infinite on an overflow."""
MOST_KEPT: Final = 0.9
"""The share of the nodes from which on nothing is left of a precision: an artifact with under a tenth in it fails."""
_GROWTH: Final = 0.25
"""By how much of itself a list that does not hold yet is made longer before it is tried again."""
_BISECTED: Final = 8
"""How many nodes are bisected for, each anew, before all are ranked. Halves tell of nodes that are noisy together."""
_FEW: Final = 4
"""A group of so many nodes is split into single ones."""


@dataclass(frozen=True)
class Found:
    """The nodes to keep, the most sensitive first; the noise with them, in units of what is allowed; how many
    emulations that took; whether each of them was seen to be needed, before the time was over."""

    keep: tuple[str, ...]
    noise: float
    tries: int
    is_smallest: bool = True


def search(noise: Noise, nodes: Sequence[str], *, budget_s: float, tell: Callable[[str], None]) -> Found:
    """The nodes that have to stay, out of `nodes` (in the order of computation), so that the noise is at most 1.

    None of those found can be left out by itself. Where `budget_s` seconds were over before that was known, the fewest
    that were seen to hold. Raises ConversionError where even all of them do not suffice, where more than MOST_KEPT of
    them would have to stay, and where no fewer were seen to hold in time.
    """
    asked = _Asked(noise, tuple(nodes), time.monotonic() + budget_s, budget_s)
    if asked.noise(()) <= 1:
        return Found((), asked.noise(()), asked.tries)
    if asked.noise(nodes) > 1:
        raise ConversionError("the precision does not hold even with every node kept in float32")
    try:
        keep = _needed(asked, _bisected(asked, tell) or _shortest(asked, tell), tell)
    except ConversionError:
        keep = asked.fewest()
        if not asked.is_over or len(keep) > MOST_KEPT * len(nodes):
            raise
    if len(keep) > MOST_KEPT * len(nodes):
        raise ConversionError(
            f"{len(keep)} of {len(nodes)} nodes would have to stay in float32: nothing is left of the precision",
            wanted=f"{MOST_KEPT:.0%} of them at the most",
            mend="another precision, as --fp16 or --int8-weights; or allow a larger error: --max-error X",
        )
    return Found(tuple(keep), asked.noise(keep), asked.tries, not asked.is_over)


def _bisected(asked: _Asked, tell: Callable[[str], None]) -> list[str]:
    """The most sensitive node, the most sensitive of the others, and so on until they hold; none where that would take
    more than _BISECTED."""
    for _ in range(min(_BISECTED, len(asked.nodes))):
        left = [name for name in asked.nodes if name not in asked.ranked]
        while len(left) > 1:
            halves = left[: len(left) // 2], left[len(left) // 2 :]
            # Of two that are alike, as where both overflow, the first: what comes later follows from it.
            left = max(halves, key=lambda half: asked.of_alone(half))
        asked.ranked.append(left[0])
        noise = asked.noise(asked.ranked)
        tell(f"{left[0]} stays in float32: {_told(noise)}")
        if noise <= 1:
            return list(asked.ranked)
    asked.ranked.clear()
    tell(f"more than {_BISECTED} nodes have to stay: all are ranked")
    return []


def _shortest(asked: _Asked, tell: Callable[[str], None]) -> list[str]:
    """The shortest beginning of the ranking that holds: of those that were tried, and of what lies between."""
    ranked, keep, fails = _by_sensitivity(asked), asked.ranked, 0
    while asked.noise(keep) > 1:
        fails = len(keep)
        keep += islice(ranked, max(1, int(fails * _GROWTH)))
        others = f" and {more} more stay" if (more := len(keep) - fails - 1) else " stays"
        tell(f"{keep[fails]}{others} in float32: {_told(asked.noise(keep))}")
    holds = len(keep)
    while holds - fails > 1:
        middle = (holds + fails) // 2
        if asked.noise(keep[:middle]) <= 1:
            holds = middle
        else:
            fails = middle
    return keep[:holds]


def _by_sensitivity(asked: _Asked) -> Iterator[str]:
    """The nodes, the most sensitive first, by noises of groups: none is noisier than a group that holds it."""
    groups: list[tuple[float, int, tuple[str, ...]]] = []

    def add(first: int, group: tuple[str, ...]) -> None:
        heapq.heappush(groups, (-asked.of_alone(group), first, group))

    add(0, asked.nodes)
    while groups:
        _, first, group = heapq.heappop(groups)
        if len(group) == 1:
            yield group[0]
            continue
        size = 1 if len(group) <= _FEW else (len(group) + 1) // 2
        for at in range(0, len(group), size):
            add(first + at, group[at : at + size])


def _needed(asked: _Asked, keep: Sequence[str], tell: Callable[[str], None]) -> list[str]:
    """Without those that need not stay, the least sensitive asked first."""
    needed = list(keep)
    for name in reversed(keep):
        fewer = [each for each in needed if each != name]
        if asked.noise(fewer) <= 1:
            needed = fewer
            tell(f"{name} need not stay")
    return needed


class _Asked:
    """The noises that were asked for, each once, until the time is over. ranked: nodes, the most sensitive first."""

    def __init__(self, noise: Noise, nodes: tuple[str, ...], end: float, budget_s: float) -> None:
        self.nodes = nodes
        self.ranked: list[str] = []
        self.is_over = False
        self._noise = noise
        self._end = end
        self._budget_s = budget_s
        self._known: dict[frozenset[str], float] = {}

    @property
    def tries(self) -> int:
        return len(self._known)

    def noise(self, keep: Sequence[str]) -> float:
        """With these nodes in float32."""
        kept = frozenset(keep)
        if kept not in self._known:
            if time.monotonic() > self._end:
                self.is_over = True
                raise ConversionError(
                    f"no keep-list was found within {self._budget_s:.0f} s, in {self.tries} emulations",
                    mend="the same command again goes on from there; or --search-budget SECONDS",
                )
            found = self._noise(kept)
            self._known[kept] = found if found == found else float("inf")
        return self._known[kept]

    def fewest(self) -> list[str]:
        """The fewest nodes that were seen to hold, as far as they are ranked in that order."""
        kept = min((kept for kept, noise in self._known.items() if noise <= 1), key=len)
        return [name for name in dict.fromkeys((*self.ranked, *self.nodes)) if name in kept]

    def of_alone(self, nodes: Sequence[str]) -> float:
        """With all but these nodes in float32."""
        alone = set(nodes)
        return self.noise([name for name in self.nodes if name not in alone])


def _told(noise: float) -> str:
    return "it still overflows" if noise == float("inf") else f"noise {noise:.3g} of what is allowed"
