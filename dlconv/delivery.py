"""What a release pipeline reads: every report file that was asked for, the job summary, and annotations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from dlconv.errors import MachineError, OutputError
from dlconv.reports import as_json, junit, markdown, model_card, sarif
from dlconv.reports.annotations import lines as annotation_lines
from dlconv.reports.html import needs, page
from dlconv.trackers.base import entries_of, find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dlconv.records.outcome import Report

SUMMARY = "GITHUB_STEP_SUMMARY"
"""The environment variable that names the job summary's file, which takes Markdown."""
SUMMARY_BYTES = 1_000_000
"""GitHub takes 1 MiB for a step, and shows nothing of a longer one."""


@dataclass(frozen=True)
class ReportFiles:
    """Where reports go besides the terminal; None for those that nobody asked for.

    command: what made them. log_to: trackers, each NAME or NAME:WHERE.
    """

    junit: Path | None = None
    markdown: Path | None = None
    sarif: Path | None = None
    html: Path | None = None
    model_card: Path | None = None
    command: str = ""
    log_to: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises PackagesMissing for a form or a tracker that is not here, RequestError for a tracker that there is
        not: asked before any work."""
        if self.html is not None or self.log_to:
            needs.check()
        for text in self.log_to:
            find(text)


def write(report: Report, files: ReportFiles, environment: Mapping[str, str], root: Path) -> None:
    """Write all files that were asked for, each whole or not at all, and append to the job summary if there is one.

    root: the folder that paths in the reports are told from. Raises OutputError or TrackerError, after all that can be
    written is written, with all that cannot.
    """
    when = datetime.now(timezone.utc)
    wanted: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (files.junit, lambda: junit.document(report, when)),
        (files.markdown, lambda: markdown.document(report)),
        (files.sarif, lambda: sarif.document(report, root)),
        (files.html, lambda: page.document(report, command=files.command)),
        (files.model_card, lambda: model_card.document(report, files.command)),
    )
    troubles: list[MachineError] = []
    for path, make in wanted:
        if path is not None:
            try:
                as_json.write(path, make())
            except OutputError as error:
                troubles.append(error)
    try:
        if environment.get(SUMMARY):
            _append(Path(environment[SUMMARY]), summary(report))
    except OutputError as error:
        troubles.append(error)
    for text in files.log_to:
        try:
            log(report, text, files.command)
        except MachineError as error:
            troubles.append(error)
    if len(troubles) > 1:
        met = f"{len(troubles)} reports cannot be written"
        raise OutputError(met, mend=troubles[0].mend, problems=tuple(error.met for error in troubles)) from troubles[0]
    if troubles:
        raise troubles[0]


def log(report: Report, text: str, command: str = "") -> str:
    """Log the report to the tracker of `NAME[:WHERE]`; says where it is now. Raises RequestError, MachineError."""
    tracker, where = find(text)
    return tracker.log(entries_of(report), page.document(report, command=command), where)


def summary(report: Report) -> str:
    """The Markdown for a page with a size limit: without the figures where they would be too many, else cut."""
    for text in (markdown.document(report), markdown.document(report, details=False)):
        if len(text.encode("utf-8", "backslashreplace")) < SUMMARY_BYTES:
            return text
    head = text.encode("utf-8", "backslashreplace")[: SUMMARY_BYTES - 100].decode("utf-8", "ignore")
    return head.rpartition("\n")[0] + "\n\nThe rest is left out here: the report's files tell all."


def workflow_commands(report: Report, environment: Mapping[str, str], root: Path) -> str:
    """Annotations as workflow commands, "" where this is no GitHub job or nothing is to be told."""
    return annotation_lines(report, root) if environment.get("GITHUB_ACTIONS") == "true" else ""


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")
    except OSError as error:
        raise OutputError(
            f"the job summary {path} cannot be written: {error.strerror or error}", mend=f"unset {SUMMARY}"
        ) from error
