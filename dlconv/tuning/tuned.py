"""What a search for the best artifact found: contenders, the front, the winner, and what that is as an exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dlconv.errors import ConversionError, MachineError
from dlconv.tuning.front import RULE, Wish, front_of, judged, winner_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.tuning.contender import Contender
    from dlconv.validators.latency import LatencyEvidence


@dataclass(frozen=True)
class Tuned:
    """The answer of `dlconv tune`.

    model: the file's name. contenders: all, in the order in which they were to be measured. measurements: one for each
    number that a contender's timing names. anchor: the name of the side that all measurements have in common, "" where
    nothing was measured; anchor_ms: its median. seconds: that it took, budget_s: that it was given. earlier: of the
    measurements that an earlier run made, by their place, when they ended; at: when this run began, in seconds since
    the epoch both. is_kept: the next run of the same command has what this one measured.
    """

    model: str
    contenders: tuple[Contender, ...]
    wish: Wish
    measurements: tuple[LatencyEvidence, ...]
    anchor: str
    anchor_ms: float | None
    budget_s: float
    seconds: float
    is_interrupted: bool = False
    earlier: Mapping[int, float] = field(default_factory=dict)
    at: float = 0.0
    is_kept: bool = False

    @cached_property
    def front(self) -> tuple[Contender, ...]:
        """The contenders that no other beats in latency, size and error together, the fastest first."""
        return front_of(self.contenders)

    @cached_property
    def winner(self) -> Contender | None:
        return winner_of(self.contenders, self.wish)

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each word, those that there are."""
        words = [each.word for each in self.contenders]
        return {word: words.count(word) for word in dict.fromkeys(words)}

    @property
    def uses(self) -> tuple[str, ...]:
        """A sentence for each lower precision that is no faster than float32."""
        return tuple(each.use for each in self.contenders if each.use)

    def why(self) -> tuple[str, ...]:
        """A line or more on the winner, or on why there is none."""
        if self.winner is not None:
            return (RULE,)
        measured = [each for each in self.contenders if each.is_measured]
        if not measured:
            return ("nothing passed and was measured",)
        verdicts = [(each.name, judged(each, self.wish)) for each in measured]
        return tuple(f"{name}: {reason}" for name, verdict in verdicts for reason in verdict.reasons)

    def earlier_at(self, contender: Contender) -> float | None:
        """When an earlier run measured it, in seconds since the epoch; None where this one did, or none."""
        return None if contender.timing is None else self.earlier.get(contender.timing.measurement)

    @property
    def goes_on(self) -> bool:
        """Whether the same command again would measure what this run did not reach, and has what it did."""
        return self.is_kept and bool(self.measurements) and "NOT REACHED" in self.counts

    def time_ms(self, contender: Contender) -> float | None:
        """The contender's median on the scale that all share: its time over the anchor's, times the anchor's median."""
        if contender.timing is None or self.anchor_ms is None or not contender.timing.is_known:
            return None
        return contender.timing.relative * self.anchor_ms

    @property
    def exit_code(self) -> int:
        """0 with a winner; 1 where what was measured misses what is asked, or nothing is the same model; 3 where that
        could not be told; 4 where nothing could be made."""
        if self.winner is not None:
            return 0
        measured = [judged(each, self.wish).word for each in self.contenders if each.is_measured]
        if measured:
            return MachineError.exit_code if "INCONCLUSIVE" in measured else 1
        words = set(self.counts)
        if "FAIL" in words:
            return 1
        return ConversionError.exit_code if words == {"ERROR"} else MachineError.exit_code

    def to_dict(self) -> dict[str, Any]:
        winner, names = self.winner, {each.name for each in self.front}
        return {
            "model": self.model,
            "rule": RULE,
            "asked": {**vars(self.wish), "budget_s": self.budget_s},
            "seconds": self.seconds,
            "is_interrupted": self.is_interrupted,
            "counts": self.counts,
            "winner": None if winner is None else winner.name,
            "command": "" if winner is None else winner.command,
            "why": list(self.why()),
            "uses": list(self.uses),
            "front": [each.name for each in self.front],
            "contenders": [
                {
                    **each.to_dict(),
                    "time_ms": self.time_ms(each),
                    "measured_earlier": _utc(self.earlier_at(each)),
                    "is_on_front": each.name in names,
                    "meets": judged(each, self.wish).to_dict() if each.is_measured else None,
                }
                for each in self.contenders
            ],
            "anchor": self.anchor,
            "earlier": [
                {"measurement": place, "at": _utc(at), "age_s": max(0.0, self.at - at)}
                for place, at in sorted(self.earlier.items())
            ],
            "measurements": [evidence.to_dict() for evidence in self.measurements],
        }


def _utc(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
