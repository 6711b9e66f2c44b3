"""How far a call has come, told from within it to whoever waits for it. Worker-side; standard library alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

_EVERY_S: Final = 0.1
"""Seconds from one telling to the next: nobody reads faster."""

_Item = TypeVar("_Item")

Send = Callable[[dict[str, Any]], None]


class _Teller:
    """Tells of the call under way: a worker has one at a time. Frameworks tell from threads of their own."""

    def __init__(self) -> None:
        self._send: Send | None = None
        self._next_s = 0.0
        self._lock = threading.Lock()

    def begin(self, send: Send | None) -> None:
        with self._lock:
            self._send, self._next_s = send, 0.0

    def tell(self, phase: str, done: int, of: int) -> None:
        with self._lock:
            now = time.monotonic()
            if self._send is not None and now >= self._next_s:
                self._next_s = now + _EVERY_S
                self._send({"phase": phase, "done": done, "of": of})


_TELLER: Final = _Teller()


def begin(send: Send | None) -> None:
    """From now on `tell` goes to `send`; with None, to nobody."""
    _TELLER.begin(send)


def tell(phase: str, done: int, of: int) -> None:
    """phase: what is gone through, as "sample". done: at which of them it is. Outside a worker nobody hears of it."""
    _TELLER.tell(phase, done, of)


def through(samples: Sequence[_Item]) -> Iterator[_Item]:
    """Each of the samples in turn, told as it comes; of one alone nothing is told."""
    for number, sample in enumerate(samples, 1):
        if len(samples) > 1:
            tell("sample", number, len(samples))
        yield sample
