"""Whether arrays are what a plan takes: sizes within a profile, and values that its dtypes hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import SamplesError

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_within(shape: Sequence[int], least: Sequence[int], most: Sequence[int]) -> bool:
    """Whether each size is from the least to the most."""
    if len(shape) != len(least):
        return False
    return all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True))


def fitting(name: str, array: np.ndarray[Any, Any], wanted: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The array as the engine takes it: TensorRT 8 has int32 for int64. Raises SamplesError where it does not fit."""
    if array.dtype != wanted and array.dtype.kind in "iu" and wanted.kind in "iu":
        bounds = np.iinfo(wanted)
        if array.size and (array.min() < bounds.min or array.max() > bounds.max):
            raise SamplesError(f"{name} has values from {array.min()} to {array.max()}", wanted=f"values of {wanted}")
        array = array.astype(wanted)
    if array.dtype != wanted:
        raise SamplesError(f"{name} is {array.dtype}", wanted=f"{wanted}")
    return np.require(array, requirements="C")
