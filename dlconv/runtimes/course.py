"""The contract of a course: a model run on samples, its inner tensors shown stop by stop, and no more held than needed.

A stop is a list of tensors by name. They are shown once the run has come that far, and then forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors


class Course(Protocol):
    """A model whose tensors can be shown. Names are the model's own."""

    def begin(self, samples: list[Tensors], stops: list[list[str]]) -> None:
        """Start anew: all samples side by side, every tensor of `stops` to be shown in its turn."""
        ...

    def next(self) -> list[Tensors]:
        """The tensors of the next stop, a set a sample."""
        ...

    def held(self) -> int:
        """The largest number of a sample's tensors, weights not counted, that were held at a time."""
        ...
