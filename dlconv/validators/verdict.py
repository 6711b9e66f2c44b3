"""Verdicts: the words, and the rule that joins them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

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
        return Verdict(data["word"], tuple(data["reasons"]))
