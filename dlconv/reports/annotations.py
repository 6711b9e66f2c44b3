"""Annotations: what did not pass as GitHub's workflow commands, which its pages show beside the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.reports.findings import findings
from dlconv.reports.locations import location
from dlconv.reports.table import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.records.outcome import Report
    from dlconv.reports.findings import Finding

MOST = 10
"""GitHub shows no more of one kind for a step."""


def lines(report: Report, root: Path) -> str:
    """A workflow command a line, at most `MOST` of each kind, the last of them telling how many more there are.

    root: the folder that paths are told from.
    """
    found = findings(report)
    told: list[str] = []
    for kind in ("error", "warning"):
        of_kind = [finding for finding in found if _kind(finding) == kind]
        shown = of_kind if len(of_kind) <= MOST else of_kind[: MOST - 1]
        told += [_command(kind, finding, root) for finding in shown]
        if len(shown) < len(of_kind):
            told.append(f"::{kind} title=dlconv::and {len(of_kind) - len(shown)} more: the report tells all")
    return "\n".join(told)


def _kind(finding: Finding) -> str:
    return "error" if finding.word in ("ERROR", "FAIL") else "warning"


def _command(kind: str, finding: Finding, root: Path) -> str:
    outcome = finding.outcome
    if outcome is None:
        return f"::{kind} title=dlconv::{_message(f'{finding.word}: ' + '; '.join(finding.reasons))}"
    title = _property(one_line(f"{outcome.name}: {finding.word}, {finding.title}"))
    message = "\n".join(map(one_line, [*finding.reasons, *([f"again: {outcome.again}"] if outcome.again else [])]))
    return f"::{kind} file={_property(location(outcome, root))},title={title}::{_message(message)}"


def _message(text: str) -> str:
    """As actions/toolkit escapes a message: a line break would end the command, and what follows begin another."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
