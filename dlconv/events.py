"""What the pipeline tells while it works, and who listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Kind = Literal[
    "note", "step-started", "step-ended", "step-failed", "cached", "reference", "judged", "published", "progress"
]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    target: the target it concerns, "" where it concerns all. text: one line for a person.
    seconds: how long it took, where it is an end. data: the same as data, JSON-able, for other listeners.

    "progress" comes often, from within the work that text names: data has "phase", "done" and "of" ("sample", 3, 64),
    and is empty once that work is over.
    """

    kind: Kind
    target: str
    text: str
    seconds: float | None = None
    data: dict[str, Any] = field(default_factory=dict)


class Listener(Protocol):
    """Who is told. `on` is called from any of the pipeline's threads, and must return soon."""

    def on(self, event: Event) -> None: ...


class Silence:
    """A listener that does nothing."""

    def on(self, event: Event) -> None:
        """Nothing."""
