"""An export told to a person: what happens while it runs, and the closing table."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dlconv.events import Silence
from dlconv.reports.table import duration, size, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from dlconv.errors import DlconvError
    from dlconv.events import Event, Listener
    from dlconv.outcome import Outcome, Report

_COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "SKIPPED": "yellow", "ERROR": "red"}
_ENDS = ("step-failed", "judged", "published")
_LOUD = {"step-started": 1}
"""Kinds of events that are told from this verbosity on; all others from 0 on."""
_MARKS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@contextmanager
def progress(verbosity: int) -> Iterator[Listener]:
    """A listener that tells events on stderr while the block runs: live on a terminal, in lines elsewhere.

    verbosity: under 0 nothing is told; 1 tells when steps start, and their notes.
    """
    if verbosity < 0:
        yield Silence()
    elif _is_live():
        with _live(verbosity) as listener:
            yield listener
    else:
        yield Lines(verbosity, lambda line: click.echo(line, err=True))


def _is_live() -> bool:
    plain = any(name in os.environ for name in ("NO_COLOR", "CI")) or os.environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and not plain


class Lines:
    """Tells each event as a line: the seconds since the beginning, the target, the text."""

    def __init__(self, verbosity: int, write: Callable[[str], None]) -> None:
        self._verbosity = verbosity
        self._write = write
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def on(self, event: Event) -> None:
        """Write the event's lines, if the verbosity is enough for it."""
        if self._verbosity < _LOUD.get(event.kind, 0):
            return
        with self._lock:
            self._write(f"{time.monotonic() - self._start:7.1f} s  {event.target:12} {_sentence(event)}".rstrip())
            if self._verbosity > 0:
                for note in event.data.get("notes") or ():
                    self._write(f"{'':10}  {'':12}   {note}")


def _sentence(event: Event) -> str:
    took = f" ({duration(event.seconds)})" if event.seconds is not None else ""
    before = {"step-started": "begins: ", "step-failed": "failed: "}.get(event.kind, "")
    return f"{before}{event.text}{took}"


@contextmanager
def _live(verbosity: int) -> Iterator[Listener]:
    # Loaded here: rich takes longer to import than `dlconv --help` may run.
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    running = Running()
    with Live(get_renderable=running.render, console=console, refresh_per_second=8, transient=True) as live:
        lines = Lines(verbosity, lambda line: live.console.print(Text(line)))

        class Both:
            def on(self, event: Event) -> None:
                running.on(event)
                lines.on(event)

        yield Both()


class Running:
    """What runs now, a line each, with the seconds that it has run."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}
        self._last = ("starting", time.monotonic())
        self._lock = threading.Lock()

    def on(self, event: Event) -> None:
        """Take note of a step that began or ended; each target has one at a time."""
        with self._lock:
            self._last = (f"going on after {event.text}", time.monotonic())
            if event.kind == "step-started":
                self._since[event.target] = (event.text, time.monotonic())
            elif event.kind in ("step-ended", "cached") and event.target:
                self._since[event.target] = (f"going on after {event.text}", time.monotonic())
            elif event.kind in _ENDS:
                self._since.pop(event.target, None)

    def now(self) -> list[tuple[str, str, float]]:
        """Target, step and seconds of all that runs; what happened last, where no step runs."""
        with self._lock:
            steps = dict(self._since) or {"": self._last}
        return [(target, text, time.monotonic() - since) for target, (text, since) in steps.items()]

    def render(self) -> RenderableType:
        """The lines for rich, each with a mark that moves."""
        from rich.text import Text

        mark = _MARKS[int(time.monotonic() * 8) % len(_MARKS)]
        rows = (f"{mark} {target:12} {text}  {duration(seconds)}" for target, text, seconds in self.now())
        return Text("\n".join(rows), no_wrap=True, overflow="ellipsis")


def close(result: Report, verbosity: int, *, to_stderr: bool = False) -> None:
    """Write the closing table, and below it the reasons of all that did not pass; nothing at verbosity -2."""
    if verbosity < -1:
        return
    for line in closing_lines(result):
        click.echo(line, err=to_stderr)


def closing_lines(result: Report) -> Iterator[str]:
    """The closing table, then reasons and errors, as lines."""
    heads = ("target", "verdict", "error", "bar", "size", "time", "bundle")
    yield ""
    lines = table(heads, [_row(outcome) for outcome in result.outcomes], right=("error", "bar", "size", "time"))
    yield from lines[:2]
    for line, outcome in zip(lines[2:], result.outcomes, strict=True):
        yield _coloured(line, outcome.word)
    for outcome in result.outcomes:
        if outcome.error is not None:
            yield ""
            yield from _error_lines(outcome.target, outcome.error)
        elif outcome.reasons or outcome.notes:
            yield ""
            yield f"{outcome.target}: {outcome.word}"
            yield from (f"  - {reason}" for reason in outcome.reasons)
            yield from (f"  note: {note}" for note in outcome.notes)


def _row(outcome: Outcome) -> tuple[str, ...]:
    error, bar = worst(outcome.body.get("evidence", {}).get("outputs", []))
    files = outcome.body.get("artifact", {}).get("files", [])
    stored = size(sum(file["size_bytes"] for file in files)) if files else "-"
    return (outcome.target, outcome.word, error, bar, stored, duration(outcome.seconds), str(outcome.path or "-"))


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


def _error_lines(target: str, error: DlconvError) -> Iterator[str]:
    yield f"{target}: {error.met}"
    yield from (f"  - {problem}" for problem in error.problems)
    for label, text in (("wanted", error.wanted), ("next", error.mend), ("log", error.log)):
        yield from (f"  {label}: {line}" for line in text.splitlines())


def _coloured(line: str, word: str) -> str:
    # click takes the colour out again where the output is no terminal.
    if "NO_COLOR" in os.environ:
        return line
    return line.replace(f"  {word} ", f"  {click.style(word, fg=_COLOURS[word], bold=True)} ", 1)
