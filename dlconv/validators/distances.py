"""Distances between answers, in float64 and relative to an output's scale. Every comparison lets a NaN stand out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.validators.evidence import Worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dlconv.validators.quantised import Grid

TINY: Final = float(np.finfo(np.float64).tiny)


def plain(array: Any, grid: Grid | None = None) -> np.ndarray[Any, Any]:
    """Numbers that NumPy can compare one by one: a complex one as two, a bfloat16 as the float32 that it is, a
    quantised one as what it stands for."""
    if grid is not None:
        return grid.real(array)
    known = np.asarray(array)
    if known.dtype.kind == "c":
        return np.stack([np.real(known), np.imag(known)], axis=-1)
    return known.astype(np.float32) if known.dtype.name == "bfloat16" else known


def scale_of(arrays: Sequence[np.ndarray[Any, Any]]) -> float:
    """The largest finite magnitude of them all, 0.0 where there is none."""
    finite = [np.abs(array[np.isfinite(array)].astype(np.float64)) for array in arrays if array.dtype.kind in "f"]
    return max((float(part.max()) for part in finite if part.size), default=0.0)


def ulp(best: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]) -> float:
    """Largest number of float32s between the two, infinity where only one is finite."""
    largest = 0.0
    for sure, got in zip(best, y, strict=True):
        with np.errstate(over="ignore"):
            single = sure.astype(np.float32)
        same = (single == got) | (np.isnan(single) & np.isnan(got))
        gap = np.abs(_ordinal(single) - _ordinal(got)).astype(np.float64)
        gap = np.where(same, 0.0, np.where(np.isfinite(single) & np.isfinite(got), gap, np.inf))
        largest = max(largest, float(gap.max(initial=0.0)))
    return largest


def _ordinal(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float32s as integers in the same order, one apart where they are neighbours; both zeros are 0."""
    bits = np.asarray(array, order="C").view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def distance(best: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]) -> tuple[float, Worst | None]:
    """Largest error relative to the scale, and where. Non-finite elements have to be the same: else infinity."""
    scale = scale_of(best)
    largest = 0.0
    worst: Worst | None = None
    for sample, (sure, got) in enumerate(zip(best, y, strict=True)):
        if sure.shape != got.shape:
            return math.inf, None
        if sure.size == 0:
            continue
        a, b = sure.astype(np.float64), got.astype(np.float64)
        gap = _gaps(a, b)
        index = np.unravel_index(int(np.argmax(gap)), gap.shape)
        error = float(gap[index]) / max(scale, TINY)
        if worst is None or error > largest:
            largest = max(largest, error)
            worst = Worst(sample, tuple(int(axis) for axis in index), float(a[index]), float(b[index]))
    return largest, worst


def relative(best: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]) -> Iterator[np.ndarray[Any, Any]]:
    """The errors of each sample's elements, relative to the output's scale."""
    scale = max(scale_of(best), TINY)
    for sure, got in zip(best, y, strict=True):
        yield _gaps(sure.astype(np.float64), got.astype(np.float64)) / scale


def _gaps(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """|a - b|, zero where both are the same non-finite value, infinity where only one is finite."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))


def largest_gap(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> float:
    """The largest distance of two elements, in their own unit; infinite where only one is finite."""
    return float(_gaps(one.astype(np.float64), two.astype(np.float64)).max(initial=0.0))
