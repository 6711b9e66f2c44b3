"""Outcomes: what became of each artifact, and what that means for whoever waits for an exit code.

A release is read as a matrix: model x target x precision, a verdict in each field. Every report (console, JSON, JUnit,
Markdown, SARIF, HTML) is made from a `Report`, and so is the exit code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlconv.errors import ConversionError, DlconvError, InternalError, MachineError, RequestError
from dlconv.validators.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dlconv.validators.verdict import Check


@dataclass(frozen=True)
class Outcome:
    """One artifact: its verdict with the checks behind it, or the error that stands in its way.

    name: unique in a report ("digits-openvino-fp32"). notes: what is to be known besides; they are no reasons.
    again: the command that judges it again. path: the bundle or the file. body: the receipt (or, where no bundle was
    made, its `evidence`, `reference`, `artifact` and `environment`), as data. verdict is None where error is not, but
    for SKIPPED: then error says what is missing.
    """

    name: str
    model: str
    target: str
    precision: str
    path: Path | None = None
    verdict: Verdict | None = None
    checks: tuple[Check, ...] = ()
    error: DlconvError | None = None
    notes: tuple[str, ...] = ()
    again: str = ""
    seconds: float = 0.0
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """PASS, FAIL, INCONCLUSIVE, SKIPPED, or ERROR."""
        return "ERROR" if self.verdict is None else self.verdict.word

    @property
    def reasons(self) -> tuple[str, ...]:
        if self.verdict is not None:
            return self.verdict.reasons
        return () if self.error is None else (self.error.met, *self.error.problems)

    def to_dict(self) -> dict[str, Any]:
        """As reports hold it; `receipt` is the body."""
        return {
            "name": self.name,
            "model": self.model,
            "target": self.target,
            "precision": self.precision,
            "path": None if self.path is None else str(self.path),
            "word": self.word,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "checks": [check.to_dict() for check in self.checks],
            "error": None if self.error is None else self.error.to_dict(),
            "notes": list(self.notes),
            "again": self.again,
            "seconds": self.seconds,
            "receipt": self.body or None,
        }


@dataclass(frozen=True)
class Report:
    """The outcomes of one run. allowed: targets that this machine may lack without the run failing."""

    outcomes: tuple[Outcome, ...]
    allowed: frozenset[str] = frozenset()

    @property
    def exit_code(self) -> int:
        """70 or 4 if one failed so, 1 if one is not the model, 2 for a wrong request, 3 if one could not be judged or
        was skipped that may not be, else 0; nothing judged is 3."""
        errors = {outcome.error.exit_code for outcome in self.outcomes if outcome.error is not None}
        errors -= {MachineError.exit_code}
        for code in (InternalError.exit_code, ConversionError.exit_code):
            if code in errors:
                return code
        words = [outcome.word for outcome in self.outcomes if not self.may_lack(outcome)]
        if "FAIL" in words:
            return 1
        if errors:
            return max(errors, default=RequestError.exit_code)
        return 0 if words and set(words) == {"PASS"} else MachineError.exit_code

    def may_lack(self, outcome: Outcome) -> bool:
        """Whether it was skipped and is allowed to be."""
        return outcome.word == "SKIPPED" and outcome.target in self.allowed

    @property
    def counts(self) -> dict[str, int]:
        """How often each word was said, the words that were."""
        words = [outcome.word for outcome in self.outcomes]
        return {
            word: words.count(word) for word in ("PASS", "FAIL", "INCONCLUSIVE", "SKIPPED", "ERROR") if word in words
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            "exit_code": self.exit_code,
            "counts": self.counts,
            "allowed": sorted(self.allowed),
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
        }


def skipped(error: MachineError, reasons: Iterable[str] = ()) -> Verdict:
    """The verdict on what this machine cannot judge, with what is missing and what mends it."""
    mend = tuple(f"next: {line}" for line in error.mend.splitlines())
    return Verdict("SKIPPED", (error.met, *error.problems, *reasons, *mend))
