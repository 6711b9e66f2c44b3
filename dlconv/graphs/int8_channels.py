"""Weights in int8: which axis of an operator's weight is its channel, and the rounding, a scale a channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_LARGEST = 127
"""Symmetric: -128 is not used, so that a weight and its negative are stored alike (ONNX's and TFLite's convention)."""


def _is_turned(node: Proto) -> bool:
    return any(item.name == "transB" and item.i for item in node.attribute)


CHANNELS: Final[dict[str, Callable[[Any, int, int], int | None]]] = {
    "Conv": lambda node, place, rank: 0 if place == 1 else None,
    "ConvTranspose": lambda node, place, rank: 1 if place == 1 else None,
    "Gemm": lambda node, place, rank: (0 if _is_turned(node) else 1) if place == 1 else None,
    "MatMul": lambda node, place, rank: rank - 1 if place == 1 and rank >= 2 else None,
}
"""By operator: of the node, the place among its inputs and the tensor's rank, the axis of its output channels; None
where that input is no weight."""


def quantised(array: Any, axis: int) -> tuple[Any, Any]:
    """The array in int8, and the scale of each channel along `axis`, float32: array is about values * scales."""
    others = tuple(each for each in range(array.ndim) if each != axis)
    largest = np.abs(array).max(axis=others, initial=0.0).astype(np.float64)
    scales = np.where(largest > 0, largest / _LARGEST, 1.0).astype(np.float32)
    shape = [-1 if each == axis else 1 for each in range(array.ndim)]
    values = np.rint(array / scales.reshape(shape)).clip(-_LARGEST, _LARGEST)
    return values.astype(np.int8), scales
