"""The options that say which reports are written, for every command that ends in a report, and how such a one ends."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.cli import faults
from dlconv.cli.reporting import command_line
from dlconv.errors import DlconvError, InternalError, MachineError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.cli.reporting import Reporting
    from dlconv.delivery import ReportFiles
    from dlconv.records.outcome import Report

_FILE = click.Path(path_type=Path, dir_okay=False)


def release_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with an option for each form of a report, which gets them as `files`."""

    @click.option("--junit", type=_FILE, metavar="FILE", help="Write the verdicts as JUnit XML, a test case a check.")
    @click.option("--markdown", type=_FILE, metavar="FILE", help="Write the report as Markdown.")
    @click.option("--sarif", type=_FILE, metavar="FILE", help="Write what did not pass as SARIF, for code scanning.")
    @click.option("--html", type=_FILE, metavar="FILE", help="Write the report as one HTML page, with its plots.")
    @click.option("--model-card", type=_FILE, metavar="FILE", help="Write a model card: Markdown, as hubs take it.")
    @click.option(
        "--log-to",
        multiple=True,
        metavar="TRACKER[:WHERE]",
        help="Log verdicts, figures, files and page: mlflow, wandb, tensorboard or a plugin's. May be repeated.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        junit: Path | None,
        markdown: Path | None,
        sarif: Path | None,
        html: Path | None,
        model_card: Path | None,
        log_to: tuple[str, ...],
        **words: Any,
    ) -> Any:
        from dlconv.delivery import ReportFiles  # here: `--help` answers before it is loaded

        files = ReportFiles(junit, markdown, sarif, html, model_card, command_line(), log_to)
        files.check()
        try:
            return command(*args, files=files, **words)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:  # raised again: whoever reads the reports alone learns of it too
            _tell(_of(error), files, to_stderr=words.get("json") == "-")
            raise

    return wrapped


def conclude(reporting: Reporting, report: Report, files: ReportFiles) -> int:
    """Tell the report in every way that was asked for; the exit code.

    The terminal first, then annotations in a GitHub job, `--json`, the files and the job summary. Where one cannot be
    written that is told, all others are written, and a run that would have passed does not.
    """
    from dlconv.reports.verdicts import lines

    if reporting.verbosity >= -1:
        for line in lines(report, reporting.width):
            click.echo(line, err=reporting.to_stderr)
    code = report.exit_code
    try:
        reporting.answer(report.to_dict())
    except OutputError as error:
        faults.show(error)
        code = code or error.exit_code
    return _tell(report, files, to_stderr=reporting.to_stderr) or code


def _tell(report: Report, files: ReportFiles, *, to_stderr: bool) -> int:
    """Write the report's files and annotations; the report's exit code, or why one could not be written if it is 0."""
    from dlconv.delivery import workflow_commands, write

    root = Path.cwd()
    if commands := workflow_commands(report, os.environ, root):
        click.echo(commands, err=to_stderr)
    try:
        write(report, files, os.environ, root)
    except MachineError as error:
        faults.show(error)
        return report.exit_code or error.exit_code
    return report.exit_code


def _of(error: Exception) -> Report:
    """The report of a run that came to no outcome: else a page that shows reports alone would show nothing amiss."""
    from dlconv.records.outcome import Outcome, Report

    name = click.get_current_context().info_name or "dlconv"
    if not isinstance(error, DlconvError):
        error = InternalError(f"a fault of dlconv's own: {type(error).__name__}: {error}")
    return Report((Outcome(f"dlconv {name}", "-", "-", "-", error=error),))
