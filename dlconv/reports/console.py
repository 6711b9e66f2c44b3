"""A run told to a person while it goes on."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dlconv.events import Silence
from dlconv.reports.fitting import folded
from dlconv.reports.table import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from dlconv.events import Event, Listener

_ENDS = ("step-failed", "judged", "published")
_LOUD = {"step-started": 1, "progress": 1}
"""Kinds of events that are told from this verbosity on; all others from 0 on."""
_NARROW = 60
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
    return sys.stderr.isatty() and not is_plain()


def is_plain() -> bool:
    """Whether a terminal is said to be for plain text alone."""
    return any(name in os.environ for name in ("NO_COLOR", "CI")) or os.environ.get("TERM") == "dumb"


class Lines:
    """Tells each event as a line: the seconds since the beginning, the target, the text. Of progress a line every
    `EVERY_S` seconds, where steps are told too: whoever waits sees that the work goes on."""

    EVERY_S = 10.0

    def __init__(self, verbosity: int, write: Callable[[str], None], width: int | None = None) -> None:
        self._verbosity = verbosity
        self._write = write
        self._width = width
        self._start = self._progress = time.monotonic()
        self._lock = threading.Lock()

    def on(self, event: Event) -> None:
        """Write the event's lines, if the verbosity is enough for it."""
        if self._verbosity < _LOUD.get(event.kind, 0):
            return
        with self._lock:
            if event.kind == "progress":
                if not event.data or time.monotonic() - self._progress < self.EVERY_S:
                    return
                self._progress = time.monotonic()
            self._tell(f"{time.monotonic() - self._start:7.1f} s", f"{event.target:12} {_sentence(event)}")
            if self._verbosity > 0:
                for note in event.data.get("notes") or ():
                    self._tell("", f"{'':12}   {note}")

    def _tell(self, seconds: str, text: str) -> None:
        if self._width is not None and self._width < _NARROW:  # no column of targets: the text needs the room
            text = " ".join(text.split())
        for line in folded(f"{seconds:9}  {text}".rstrip(), self._width, after=11):
            self._write(line)


def _sentence(event: Event) -> str:
    took = f" ({duration(event.seconds)})" if event.seconds is not None else ""
    before = {"step-started": "begins: ", "step-failed": "failed: "}.get(event.kind, "")
    return f"{before}{event.text}{took}{_reached(event)}"


def _reached(event: Event) -> str:
    return ": {phase} {done} of {of}".format(**event.data) if event.kind == "progress" else ""


@contextmanager
def _live(verbosity: int) -> Iterator[Listener]:
    # Loaded here: rich takes longer to import than `dlconv --help` may run.
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    running = Running()
    with Live(get_renderable=running.render, console=console, refresh_per_second=8, transient=True) as live:
        lines = Lines(verbosity, lambda line: live.console.print(Text(line)), console.width)

        class Both:
            def on(self, event: Event) -> None:
                running.on(event)
                lines.on(event)

        yield Both()


class Running:
    """What runs now, a line each, with the seconds that it has run, and how far it has come."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}
        self._calls: dict[str, tuple[str, float]] = {}
        """Of work that tells how far it has come: where it is, and since when it has told."""
        self._last = ("starting", time.monotonic())
        self._lock = threading.Lock()

    def on(self, event: Event) -> None:
        """Take note of a step that began, went on or ended; each target has one at a time."""
        with self._lock:
            if event.kind == "progress":
                if event.data:
                    _, since = self._calls.get(event.text, ("", time.monotonic()))
                    self._calls[event.text] = _reached(event), since
                else:
                    self._calls.pop(event.text, None)
                return
            self._last = (f"going on after {event.text}", time.monotonic())
            if event.kind == "step-started":
                self._since[event.target] = (event.text, time.monotonic())
            elif event.kind in ("step-ended", "cached") and event.target:
                self._since[event.target] = (f"going on after {event.text}", time.monotonic())
            elif event.kind in (*_ENDS, "step-ended", "cached"):  # what concerns all targets has no end of its own
                self._since.pop(event.target, None)

    def now(self) -> list[tuple[str, str, float]]:
        """Target, step and seconds of all that runs, and of what is done for all targets; what happened last, where no
        step runs."""
        with self._lock:
            steps = dict(self._since) or ({} if self._calls else {"": self._last})
            calls = dict(self._calls)
        now, named = time.monotonic(), {text for text, _ in steps.values()}
        reached = {text: where for text, (where, _) in calls.items()}
        rows = [(target, f"{text}{reached.get(text, '')}", now - since) for target, (text, since) in steps.items()]
        rows += [("", f"{text}{where}", now - since) for text, (where, since) in calls.items() if text not in named]
        return rows

    def render(self) -> RenderableType:
        """The lines for rich, each with a mark that moves."""
        from rich.text import Text

        mark = _MARKS[int(time.monotonic() * 8) % len(_MARKS)]
        rows = (f"{mark} {target:12} {text}  {duration(seconds)}" for target, text, seconds in self.now())
        return Text("\n".join(rows), no_wrap=True, overflow="ellipsis")
