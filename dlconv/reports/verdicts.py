"""A report as lines for a person: the table of verdicts, and the reasons of all that did not pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.reports.console import is_plain
from dlconv.reports.findings import NOTHING, error_lines
from dlconv.reports.fitting import fitted, folded
from dlconv.reports.table import duration, one_line, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.records.outcome import Outcome, Report

_COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "SKIPPED": "yellow", "ERROR": "red"}
_RIGHT = ("error", "bar", "size", "time")
_BELOW = ("path", "time", "size", "latency", "metric", "bar", "error")
"""The columns that leave the row where a terminal is narrow, the first to go first."""


def lines(report: Report, width: int | None = None) -> Iterator[str]:
    """The table, a row for each outcome, then reasons and errors, then how it ends.

    width: the terminal's columns, into which all but paths and commands fits; None where there is no terminal.
    """
    yield ""
    yield from _matrix(report.outcomes, width)
    for outcome in report.outcomes:
        if outcome.word != "PASS" or outcome.notes:
            yield ""
            may_lack = " (allowed)" if report.may_lack(outcome) else ""
            yield from folded(f"{one_line(outcome.name)}: {outcome.word}{may_lack}", width, after=2)
            for line in _reasons(outcome) if outcome.word != "PASS" else ():
                yield from folded(f"  {line}", width, after=4)
            for note in outcome.notes:
                yield from folded(f"  note: {one_line(note)}", width, after=4)
            if outcome.again and outcome.word not in ("PASS", "SKIPPED"):
                yield f"  again: {one_line(outcome.again)}"
    yield ""
    yield from folded(_end(report), width, after=2)


def _matrix(outcomes: tuple[Outcome, ...], width: int | None) -> Iterator[str]:
    if not outcomes:
        return
    rows = [_row(outcome) for outcome in outcomes]
    # A column that no outcome has anything for is left out.
    empty = {head for head in ("metric", "latency", "size") if all(row[head] == "-" for row in rows)}
    rows = [{head: cell for head, cell in row.items() if head not in empty} for row in rows]
    head, told = fitted(rows, width, right=_RIGHT, below=_BELOW, lead="verdict")
    yield from head
    for number, (block, outcome) in enumerate(zip(told, outcomes, strict=True)):
        if number and not head:
            yield ""
        yield _coloured(block[0], outcome.word)
        yield from block[1:]


def _row(outcome: Outcome) -> dict[str, str]:
    error, bar = worst(_outputs(outcome))
    files = outcome.body.get("artifact", {}).get("files", [])
    return {
        "model": one_line(outcome.model),
        "target": outcome.target,
        "precision": outcome.precision,
        "verdict": outcome.word,
        "error": error,
        "bar": bar,
        "metric": metric(outcome),
        "latency": _latency(outcome),
        "size": size(sum(file["size_bytes"] for file in files)) if files else "-",
        "time": duration(outcome.seconds),
        "path": "-" if outcome.path is None else one_line(_shown(outcome.path)),
    }


def _shown(path: Path) -> str:
    """From the current folder where it lies below it: whoever reads this stands there."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _outputs(outcome: Outcome) -> list[dict[str, Any]]:
    """Each output's error and bar, as they were judged now; else as the receipt has them."""
    judged = [dict(check.figures) for check in outcome.checks if check.name == "parity"]
    told: list[dict[str, Any]] = judged or outcome.body.get("evidence", {}).get("outputs", [])
    return [output for output in told if "error" in output and "bar" in output]


def metric(outcome: Outcome) -> str:
    """The task metric of the artifact beside the source's, "0.962 for 0.964"; "-" where none was judged."""
    figures = next((check.figures for check in outcome.checks if check.name == "metric"), None)
    if figures is None:
        return "-"
    return f"{float(figures['candidate']):.4g} for {float(figures['reference']):.4g}"


def _latency(outcome: Outcome) -> str:
    """The word of the comparison (faster, slower, same, inconclusive), with the ratio where it is told."""
    asked = [check for check in outcome.checks if check.name == "latency"]
    for check in sorted(asked, key=lambda check: "word" not in check.figures):
        word, ratio = check.figures.get("word", check.verdict.word), check.figures.get("ratio")
        return f"{word} x{ratio:.3g}" if isinstance(ratio, float) else str(word)
    return "-"


def worst(outputs: list[dict[str, Any]]) -> tuple[str, str]:
    """The error and the bar of the output that comes nearest to its bar, or passes it the farthest, as text."""
    if not outputs:
        return "-", "-"

    def nearness(output: dict[str, Any]) -> float:
        error, bar = float(output["error"]), float(output["bar"])
        if not error <= bar:  # NaN too
            return error / bar if bar > 0 and error == error else float("inf")
        return error / bar if bar > 0 else 0.0

    output = max(outputs, key=nearness)
    if float(output["bar"]) == 0:
        return ("0" if float(output["error"]) == 0 else f"{output.get('mismatches', 'some')} differ"), "exact"
    return f"{float(output['error']):.1e}", f"{float(output['bar']):.1e}"


def _reasons(outcome: Outcome) -> Iterator[str]:
    error = outcome.error
    if outcome.verdict is None and error is not None:
        plain = (error.met, *error.problems)
        yield from (f"- {one_line(line)}" for line in plain)
        yield from (one_line(line) for line in error_lines(error)[len(plain) :])
        return
    yield from (f"- {one_line(reason)}" for reason in outcome.reasons or ("no reason is told",))


def _end(report: Report) -> str:
    counts = ", ".join(f"{count} {word}" for word, count in report.counts.items())
    if not counts or (report.exit_code != 0 and set(report.counts) <= {"PASS", "SKIPPED"} and "PASS" not in counts):
        return f"{NOTHING} ({counts or 'no artifact'}); exit code {report.exit_code}"
    return f"{counts}; exit code {report.exit_code}"


def _coloured(line: str, word: str) -> str:
    # click takes the colour out again where the output is no terminal.
    if is_plain():
        return line
    shown = click.style(word, fg=_COLOURS[word], bold=True)
    if line.startswith(f"{word} "):
        return shown + line.removeprefix(word)
    return line.replace(f"  {word} ", f"  {shown} ", 1)
