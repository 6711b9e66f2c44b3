"""The contract of a runtime: open an artifact, run it, tell what really ran.

A runtime adapter is one module, named for the runtime, that runs in a worker process. It has

    probe() -> dict          imports the runtime, runs a tiny model, returns {"version": ..., "devices": [...]};
                             any exception means that it does not work here
    open(path, signature, settings) -> Session

where `signature` is the artifact's own (names as they are *in the artifact*) and settings are typed by the adapter;
every adapter takes "threads". What can be timed has `bound` besides (`Timeable`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

Tensors = dict[str, "np.ndarray"]
"""Tensors by name."""


class Session(Protocol):
    """A loaded model. Every call of `run` starts from the model's initial state."""

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name, exactly as the runtime gave them: no cast, no reshape, no reorder."""
        ...

    def placement(self) -> dict[str, Any]:
        """What really ran, from the runtime's own account: {"device": "CPU", "precision": "float32", ...}."""
        ...


class Timeable(Session, Protocol):
    """A session whose calls can be timed without what the adapter does around them."""

    def bound(self, inputs: Tensors) -> tuple[Callable[[], Any], Callable[[Any], Tensors]]:
        """The inputs, checked and handed over once: a call that the runtime alone works in, and a function that reads
        the outputs by name from what the call returned, before the next call. Every input given stays bound."""
        ...


@runtime_checkable
class Sequence(Protocol):
    """A session whose calls are steps of one sequence: each goes on from the state that the one before it left."""

    def run(self, inputs: Tensors) -> Tensors: ...

    def placement(self) -> dict[str, Any]: ...

    def restart(self) -> None:
        """The next call is the first of a sequence: it starts from the model's initial state."""
        ...
