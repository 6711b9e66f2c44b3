"""How errors are told: met, wanted, next; and the log of what nobody foresaw."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from dlconv.errors import DlconvError
from dlconv.reports.console import is_plain

_INTERRUPTED = 130


def show(error: DlconvError) -> None:
    """Write an error to stderr, for a person."""
    paint("error: ", error.met, "red")
    for problem in error.problems:
        click.echo(f"  - {problem}", err=True)
    if error.wanted:
        paint("wanted: ", error.wanted, "yellow")
    for line in error.mend.splitlines():
        paint("next: ", line, "green")
    if error.log:
        paint("log: ", error.log, "blue")


def paint(label: str, text: str, colour: str) -> None:
    """Write one line to stderr, its label in a colour where the terminal has colours."""
    click.echo((label if is_plain() else click.style(label, fg=colour, bold=True)) + text, err=True)


def told(error: Exception) -> int:
    """Tell an error; its exit code. One that dlconv did not foresee is logged with its traceback."""
    if isinstance(error, DlconvError):
        show(error)
        return error.exit_code
    log = _write_log(error)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    if log is None:
        import traceback

        click.echo("".join(traceback.format_exception(type(error), error, error.__traceback__)), err=True)
    show(
        DlconvError(
            f"a fault of dlconv's own: {what}",
            mend="report it, with the log" if log else "report it, with the lines above",
            log=str(log or ""),
        )
    )
    return DlconvError.exit_code


def interrupted() -> int:
    """End all children, and say that the work was interrupted; the exit code."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue  # it has ended by itself
    click.echo("interrupted", err=True)
    return _INTERRUPTED


def _write_log(error: Exception) -> Path | None:
    import traceback

    from dlconv import __version__

    try:
        folder = _log_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        with path.open("w", encoding="utf-8") as log:
            log.write(f"dlconv {__version__}, Python {sys.version}\narguments: {sys.argv[1:]}\n\n")
            traceback.print_exception(type(error), error, error.__traceback__, file=log)
    except OSError:
        return None
    return path


def _log_folder() -> Path:
    base = os.environ.get("DLCONV_HOME")
    if base:
        return Path(base).expanduser().resolve() / "logs"
    from platformdirs import user_state_path

    return user_state_path("dlconv") / "logs"
