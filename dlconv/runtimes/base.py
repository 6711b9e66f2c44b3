"""The contract of a runtime: open an artifact, run it, tell what really ran.

A runtime adapter is one module, named for the runtime, that runs in a worker process. It has

    probe() -> dict          imports the runtime, runs a tiny model, returns {"version": ..., "devices": [...]};
                             any exception means that it does not work here
    open(path, signature, settings) -> Session

where `signature` is the artifact's own (names as they are *in the artifact*) and settings are typed by the adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
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
