"""What an operator has to do, and an estimate from it of how a model's time is shared out. Nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

BALANCE: Final = 10.0
"""Arithmetic operations that a CPU does in the time in which it moves one byte: the ridge of its roofline."""


@dataclass(frozen=True)
class Work:
    """An operator: its kind and name, its arithmetic operations (a multiplication and an addition are two), and the
    bytes that it reads and writes."""

    kind: str
    name: str
    operations: int
    size_bytes: int


def estimated(works: Sequence[Work]) -> list[list[Any]]:
    """[kind, name, share] of each, shares adding up to 1 (to 0 where nothing has any work).

    By the roofline model (Williams, Waterman and Patterson, 2009): an operator takes the longer of the times of its
    arithmetic and of its bytes.
    """
    times = [max(work.operations / BALANCE, float(work.size_bytes)) for work in works]
    total = sum(times) or 1.0
    return [[work.kind, work.name, taken / total] for work, taken in zip(works, times, strict=True)]
