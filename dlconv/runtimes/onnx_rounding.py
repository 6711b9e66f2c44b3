"""Arrays rounded through a coarser float, to the nearest and ties to even, and what was lost in it, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from dlconv.errors import RequestError

_PIECE = 1 << 22
"""Elements that are rounded at once: what is held besides an array and its rounding is bounded by it."""


@dataclass(frozen=True)
class Losses:
    """What rounding did to the elements of a tensor, over all runs.

    overflows: finite ones whose rounding is infinite. underflows: nonzero ones whose rounding is 0. subnormals: those
    whose rounding is nonzero and below the smallest normal number, where digits are lost. largest: the largest finite
    magnitude before rounding.
    """

    elements: int = 0
    overflows: int = 0
    underflows: int = 0
    subnormals: int = 0
    largest: float = 0.0

    def __add__(self, other: Losses) -> Losses:
        return Losses(
            self.elements + other.elements,
            self.overflows + other.overflows,
            self.underflows + other.underflows,
            self.subnormals + other.subnormals,
            max(self.largest, other.largest),
        )


@dataclass(frozen=True)
class Rounding:
    """Rounding through a float type of NumPy's, or of ml_dtypes, which the onnx package brings.

    saturates: a finite value that would become infinite becomes the largest finite one; it counts as an overflow.
    """

    dtype: Any
    smallest_normal: float
    largest: float
    saturates: bool = False

    @property
    def saturating(self) -> Rounding:
        return replace(self, saturates=True)

    def narrow(self, array: Any) -> tuple[Any, Losses]:
        """The array in the coarser type, which takes half of float32's bytes or less, and what was lost."""
        flat = np.asarray(array, order="C").reshape(-1)
        narrow = np.empty(flat.shape, self.dtype)
        losses = Losses()
        for piece in _pieces(flat.size):
            narrow[piece] = self._narrow(flat[piece])
            losses += self._losses(flat[piece], narrow[piece])
            if self.saturates and losses.overflows:
                self._saturate(flat[piece], narrow[piece])
        return narrow.reshape(np.shape(array)), losses

    def through(self, array: Any) -> tuple[Any, Losses]:
        """The array in its own float type, its values those of the coarser type, and what was lost."""
        narrow, losses = self.narrow(array)
        return narrow.astype(array.dtype), losses

    def _narrow(self, flat: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            return (_odd(flat) if flat.dtype == np.float64 else flat).astype(self.dtype)

    def _saturate(self, flat: Any, narrow: Any) -> None:
        beyond = np.isinf(narrow) & np.isfinite(flat)
        narrow[beyond] = np.copysign(self.largest, flat[beyond]).astype(self.dtype)

    def _losses(self, flat: Any, narrow: Any) -> Losses:
        sizes = np.abs(flat)
        largest = float(sizes.max(initial=0))
        overflows = 0
        if not largest <= self.largest:  # an infinity or NaN among them, or what may overflow
            finite = np.isfinite(flat)
            overflows = int(np.count_nonzero(np.isinf(narrow) & finite))
            largest = float(sizes[finite].max(initial=0))
        small = np.abs(narrow[(sizes > 0) & (sizes < self.smallest_normal)].astype(np.float32))
        underflows = int(np.count_nonzero(small == 0))
        subnormals = int(np.count_nonzero(small < self.smallest_normal)) - underflows
        return Losses(int(flat.size), overflows, underflows, subnormals, largest)


def rounding(precision: str) -> Rounding:
    """The rounding through "float16" or "bfloat16". RequestError for another."""
    if precision == "float16":
        return Rounding(np.dtype(np.float16), 2.0**-14, 65504.0)
    if precision == "bfloat16":
        return Rounding(np.dtype(import_module("ml_dtypes").bfloat16), 2.0**-126, 2.0**128 - 2.0**120)
    raise RequestError(f"nothing rounds through {precision!r} here", wanted="float16 or bfloat16")


def _odd(flat: Any) -> Any:
    """float64 as float32, an inexact one as that of its two neighbours whose last bit is set: rounded once more to at
    most 22 bits it gives what rounding at once would (S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded
    sums: proved algorithms using rounding to odd", 2008). ml_dtypes goes by way of float32, and would round twice."""
    single = flat.astype(np.float32)
    is_even = (single.view(np.uint32) & 1) == 0
    moved = (single != flat) & is_even & np.isfinite(flat)
    return np.where(moved, np.nextafter(single, np.where(flat > single, np.inf, -np.inf).astype(np.float32)), single)


def _pieces(size: int) -> Iterator[slice]:
    return (slice(start, start + _PIECE) for start in range(0, size, _PIECE))
