"""The search for what has to stay in float32, so that a precision holds. Pure but for the clock.

A node's sensitivity is the noise of the model in which it alone is in the precision. It is found by bisection: of two
halves of the graph the noisier one is gone into. So a search costs some 2 log2(n) emulations for each node that stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlconv.errors import ConversionError

Noise = Callable[[frozenset[str]], float]
"""Of the nodes that stay in float32: the noise in units of what is allowed; up to 1 holds, infinite on an overflow."""


@dataclass(frozen=True)
class Found:
    """The nodes to keep, the most sensitive first; the noise with them, in units of what is allowed; how many
    emulations that took."""

    keep: tuple[str, ...]
    noise: float
    tries: int


def search(noise: Noise, nodes: Sequence[str], *, budget_s: float, tell: Callable[[str], None]) -> Found:
    """The nodes that have to stay, out of `nodes` (in the order of computation), so that the noise is at most 1.

    None of those found can be left out by itself. Raises ConversionError where even all of them do not suffice, and
    where `budget_s` seconds do not.
    """
    asked = _Asked(noise, tuple(nodes), time.monotonic() + budget_s, budget_s)
    keep: list[str] = []
    found = asked.noise(keep)
    if found > 1 and asked.noise(nodes) > 1:
        raise ConversionError("the precision does not hold even with every node kept in float32")
    while not found <= 1:
        keep.append(_most_sensitive(asked, keep))
        found = asked.noise(keep)
        tell(f"{keep[-1]} stays in float32: {_told(found)}")
    for name in list(keep):
        fewer = [each for each in keep if each != name]
        if asked.noise(fewer) <= 1:
            keep = fewer
            tell(f"{name} need not stay")
    return Found(tuple(keep), asked.noise(keep), asked.tries)


def _most_sensitive(asked: _Asked, keep: Sequence[str]) -> str:
    left = [name for name in asked.nodes if name not in keep]
    while len(left) > 1:
        halves = left[: len(left) // 2], left[len(left) // 2 :]
        # Of two that are alike, as where both overflow, the first: what comes later follows from it.
        left = max(halves, key=lambda half: asked.of_alone(half))
    return left[0]


class _Asked:
    """The noises that were asked for, each once, until the time is over."""

    def __init__(self, noise: Noise, nodes: tuple[str, ...], end: float, budget_s: float) -> None:
        self.nodes = nodes
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
                raise ConversionError(
                    f"no keep-list was found within {self._budget_s:.0f} s, in {self.tries} emulations",
                    mend="the same command again goes on from there; or --search-budget SECONDS",
                )
            found = self._noise(kept)
            self._known[kept] = found if found == found else float("inf")
        return self._known[kept]

    def of_alone(self, nodes: Sequence[str]) -> float:
        """With all but these nodes in float32."""
        alone = set(nodes)
        return self.noise([name for name in self.nodes if name not in alone])


def _told(noise: float) -> str:
    return "it still overflows" if noise == float("inf") else f"noise {noise:.3g} of what is allowed"
