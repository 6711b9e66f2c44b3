"""What all commands share: `-q`, `-v` and `--json`, and where each kind of output goes."""

from __future__ import annotations

import functools
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.errors import DlconvError
from dlconv.reports import as_json
from dlconv.reports.fitting import width_of

if TYPE_CHECKING:
    from collections.abc import Callable


WORDS = "dlconv.words"
"""Where a context keeps the words of the command line."""


def command_line() -> str:
    """The command that runs, as a shell takes it. Folders that only this machine has are left out."""
    words = click.get_current_context().meta.get(WORDS, ())
    return shlex.join(["dlconv", *map(_told, words)])


def _told(word: str) -> str:
    flag, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    return f"{flag}{equals}{Path(value).name if Path(value).is_absolute() else value}"


@dataclass(frozen=True)
class Reporting:
    """How a command answers.

    verbosity: 0 as usual, less than 0 quieter, more than 0 more. json: "-", a path, or None.
    """

    command: str
    verbosity: int
    json: str | None

    @property
    def to_stderr(self) -> bool:
        """Whether text for a person goes to stderr, because stdout is for JSON."""
        return self.json == "-"

    @property
    def width(self) -> int | None:
        """The columns of the terminal that text for a person goes to; None where it goes elsewhere."""
        return width_of(sys.stderr if self.to_stderr else sys.stdout)

    def say(self, text: str = "", *, level: int = 0) -> None:
        """Write text for a person, unless the verbosity is less than `level`."""
        if self.verbosity >= level:
            click.echo(text, err=self.to_stderr)

    def answer(self, body: dict[str, Any]) -> None:
        """Write the result as JSON, where it was asked for. Raises OutputError if it cannot be written."""
        if self.json is None:
            return
        text = as_json.document(self.command, body)
        if self.json == "-":
            click.echo(text)
        else:
            as_json.write(Path(self.json), text)


def reported(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """A command that gets a Reporting first, and whose errors are answered as JSON too where that was asked for."""

    @click.option("-q", "--quiet", count=True, help="Say less: results alone; twice, errors alone.")
    @click.option("-v", "--verbose", count=True, help="Say more: notes of each step, and when each begins.")
    @click.option("--json", metavar="FILE|-", help="Write the result as JSON to a file, or to stdout.")
    @click.pass_context
    @functools.wraps(command)
    def wrapped(ctx: click.Context, /, quiet: int, verbose: int, json: str | None, **words: Any) -> int | None:
        inherited = ctx.obj if isinstance(ctx.obj, int) else 0
        reporting = Reporting(ctx.info_name or "", inherited + verbose - quiet, json)
        try:
            return command(reporting, **words)
        except DlconvError as error:
            reporting.answer({"error": error.to_dict(), "exit_code": error.exit_code})
            raise

    return wrapped
