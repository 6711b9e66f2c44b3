"""The options that say which reports are written, for every command that ends in a report, and how such a one ends."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.reports.release import ReportFiles, workflow_commands, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.cli.reporting import Reporting
    from dlconv.outcome import Report

_FILE = click.Path(path_type=Path, dir_okay=False)


def release_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with `--junit`, `--markdown` and `--sarif`, which gets them as `files`."""

    @click.option("--junit", type=_FILE, metavar="FILE", help="Write the verdicts as JUnit XML, a test case a check.")
    @click.option("--markdown", type=_FILE, metavar="FILE", help="Write the report as Markdown.")
    @click.option("--sarif", type=_FILE, metavar="FILE", help="Write what did not pass as SARIF, for code scanning.")
    @functools.wraps(command)
    def wrapped(*args: Any, junit: Path | None, markdown: Path | None, sarif: Path | None, **words: Any) -> Any:
        return command(*args, files=ReportFiles(junit, markdown, sarif), **words)

    return wrapped


def conclude(reporting: Reporting, report: Report, files: ReportFiles) -> int:
    """Tell the report in every way that was asked for; the exit code.

    The terminal first, then `--json`, the files and the job summary, and annotations in a GitHub job. Raises
    OutputError where one cannot be written; all others are written by then.
    """
    from dlconv.reports.verdicts import lines

    if reporting.verbosity >= -1:
        for line in lines(report):
            click.echo(line, err=reporting.to_stderr)
    root = Path.cwd()
    if commands := workflow_commands(report, os.environ, root):
        click.echo(commands, err=reporting.to_stderr)
    try:
        reporting.answer(report.to_dict())
    finally:
        write(report, files, os.environ, root)
    return report.exit_code
