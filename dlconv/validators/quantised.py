"""Quantised tensors: what their integers stand for, and how far a right implementation may lie from another.

Integer kernels round in their own ways, and a graph of Q/DQ pairs rounds in floats: two right implementations differ
by a step here and there, and a step in one layer is several at the end of the model. How many, the source itself
tells: its answers to inputs that were moved by a step are as right as those to the inputs as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dlconv.model import TensorSpec

Array = np.ndarray[Any, Any]

QUANTISED_FACTOR: Final = 2.0
"""Bar of a quantised output in units of its noise floor, in every runtime. See "Quantised models" in docs/parity.md."""
WIDEST_QUANTISED_BAR: Final = 0.25
"""A wider bar of the model's own judges nothing: its samples are ones that a single step turns."""
_DYNAMIC_STEPS: Final = 127
"""Steps from zero to the largest value, where each call finds its own scale for eight bits with a sign."""


@dataclass(frozen=True)
class Grid:
    """The values that a quantised tensor can have: scale * (q - zero_point). scale is 0.0 where each call finds it."""

    scale: float
    zero_point: int

    def real(self, array: Array) -> Array:
        """What the array's integers stand for, in float64; floats are what they are."""
        wide: Array = np.asarray(array).astype(np.float64)
        return (wide - self.zero_point) * self.scale if np.asarray(array).dtype.kind in "iu" else wide

    def step(self, largest: float) -> float:
        """One step, of a tensor whose largest value is this."""
        return self.scale or largest / _DYNAMIC_STEPS


def grids_of(specs: Iterable[TensorSpec]) -> dict[str, Grid]:
    """By name, of the tensors that are quantised."""
    return {spec.name: Grid(spec.scale, spec.zero_point) for spec in specs if spec.scale is not None}


def shifted(arrays: Sequence[Array], grid: Grid, share: float, scale: float) -> list[Array]:
    """Integers moved by a share of what the largest stands for, towards the side where there is room."""
    steps = max(1, int(np.ceil(share * scale / grid.scale)))
    limits = np.iinfo(arrays[0].dtype)
    middle = (int(limits.max) + int(limits.min)) / 2
    mean = sum(float(array.sum()) for array in arrays) / max(sum(array.size for array in arrays), 1)
    return [clipped(array, np.asarray(steps if mean <= middle else -steps)) for array in arrays]


def coarsened(arrays: Sequence[Array], bits: int) -> list[Array] | None:
    """Integers without their lowest bits. No fault where these are zero anyway."""
    coarse = [(array >> bits) << bits for array in arrays]
    return None if all(np.array_equal(a, b) for a, b in zip(arrays, coarse, strict=True)) else coarse


def clipped(array: Array, way: Array) -> Array:
    """Integers moved, but not beyond what their dtype holds."""
    limits = np.iinfo(array.dtype)
    wide: Array = np.clip(array.astype(np.int64) + way, limits.min, limits.max)
    return wide.astype(array.dtype)
