"""Findings: all that did not pass in a report, worst first. Every form of a report tells the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlconv.validators.verdict import Check, Verdict, joined

if TYPE_CHECKING:
    from dlconv.errors import DlconvError
    from dlconv.records.outcome import Outcome, Report

WORST_FIRST = ("ERROR", "FAIL", "INCONCLUSIVE", "SKIPPED")

NOTHING = "nothing was judged: no artifact was run, so nothing is known of any"


@dataclass(frozen=True)
class Finding:
    """One thing that did not pass. rule: the check's name, or "error"; title: that and its subject. outcome is None
    where it is said of the whole report."""

    outcome: Outcome | None
    rule: str
    title: str
    word: str
    reasons: tuple[str, ...]


def checks_of(outcome: Outcome) -> tuple[Check, ...]:
    """The outcome's checks, and a check "verdict" besides where they alone do not say all that the verdict does."""
    if outcome.verdict is None:
        return outcome.checks
    told = {reason for check in outcome.checks for reason in check.verdict.reasons}
    besides = tuple(reason for reason in outcome.verdict.reasons if reason not in told)
    if not besides and outcome.checks and joined(outcome.checks).word == outcome.verdict.word:
        return outcome.checks
    return (*outcome.checks, Check("verdict", Verdict(outcome.verdict.word, besides or outcome.verdict.reasons)))


def findings(report: Report) -> tuple[Finding, ...]:
    """All that did not pass, worst first, without what may be skipped. Where the exit code is not 0, there is one."""
    found = [
        finding
        for outcome in report.outcomes
        if not report.may_lack(outcome)
        for finding in (_errors(outcome) + _failed_checks(outcome))
    ]
    if report.exit_code != 0 and not found:
        found.append(Finding(None, "report", "report", "INCONCLUSIVE", (NOTHING,)))
    return tuple(sorted(found, key=lambda finding: WORST_FIRST.index(finding.word)))


def error_lines(error: DlconvError) -> tuple[str, ...]:
    """What an error says: what was met, the problems, what is wanted, what to do next, and where the log is."""
    labelled = (("wanted", error.wanted), ("next", error.mend), ("log", error.log))
    further = (f"{label}: {line}" for label, text in labelled for line in text.splitlines())
    return (error.met, *error.problems, *further)


def _errors(outcome: Outcome) -> list[Finding]:
    if outcome.error is None or outcome.verdict is not None:  # an error beside a verdict stands in its reasons
        return []
    return [Finding(outcome, "error", f"error: {outcome.error.code}", "ERROR", error_lines(outcome.error))]


def _failed_checks(outcome: Outcome) -> list[Finding]:
    return [
        Finding(outcome, check.name, check.title, check.verdict.word, check.verdict.reasons or ("no reason is told",))
        for check in checks_of(outcome)
        if check.verdict.word != "PASS"
    ]
