"""Verdicts: the words, the checks that they are said of, and the rule that joins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

Word = Literal["PASS", "FAIL", "INCONCLUSIVE", "SKIPPED"]


@dataclass(frozen=True)
class Verdict:
    """PASS, FAIL, INCONCLUSIVE or SKIPPED, with its reasons. A verdict has no truth value: compare its word."""

    word: Word
    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        raise TypeError("a verdict is neither true nor false: compare verdict.word")

    def to_dict(self) -> dict[str, Any]:
        return {"word": self.word, "reasons": list(self.reasons)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Verdict:
        """What `to_dict` wrote. ValueError for a word that is none: joined with others it would pass."""
        if data["word"] not in get_args(Word):
            raise ValueError(f"{data['word']!r} is no verdict")
        return Verdict(data["word"], tuple(data["reasons"]))


@dataclass(frozen=True)
class Check:
    """One question that was judged: its name ("files", "parity", "latency", ...), of what, and the verdict.

    subject: the output that it was asked of, "" where it was asked of the whole. figures: what was measured, JSON-able.
    """

    name: str
    verdict: Verdict
    subject: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name} of {self.subject}" if self.subject else self.name

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "subject": self.subject,
            "verdict": self.verdict.to_dict(),
            "figures": dict(self.figures),
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Check:
        return Check(data["name"], Verdict.from_dict(data["verdict"]), data["subject"], data["figures"])


def joined(checks: Iterable[Check]) -> Verdict:
    """The verdict of all checks together: the worst word, and the reasons of all that are not PASS.

    FAIL before INCONCLUSIVE before SKIPPED before PASS; where nothing was judged, INCONCLUSIVE. A check that was
    skipped (latency, where no bar was given and nothing was measured) is left out by its maker, not told as SKIPPED.
    """
    known = tuple(checks)
    for word in ("FAIL", "INCONCLUSIVE", "SKIPPED"):
        reasons = tuple(reason for check in known if check.verdict.word == word for reason in check.verdict.reasons)
        if any(check.verdict.word == word for check in known):
            return Verdict(word, reasons)
    if not known:
        return Verdict("INCONCLUSIVE", ("nothing was judged",))
    return Verdict("PASS")
