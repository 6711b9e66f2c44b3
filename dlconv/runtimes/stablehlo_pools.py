"""StableHLO's reductions over windows as the poolings and running sums that they stand for: what converters know."""

# pyright: reportAttributeAccessIssue=false
# Where JAX is not installed, pyright takes jax.py beside this file for it.

from __future__ import annotations

from typing import Any

import numpy as np

_CUMULATIVE = {
    "stablehlo.add": "cumsum", "stablehlo.multiply": "cumprod", "stablehlo.maximum": "cummax",
    "stablehlo.minimum": "cummin",
}  # fmt: skip


def pooled(
    kind: str, value: Any, window: Any, strides: Any, padding: list[tuple[int, int]], dilations: list[Any]
) -> Any:
    """A pooling of images, where two axes have no window: written with those first, as converters know poolings."""
    from jax import lax

    told_of_axes = list(zip(window, strides, padding, dilations[1], strict=True))
    still = [axis for axis, each in enumerate(told_of_axes) if each == (1, 1, (0, 0), 1)]
    if len(still) != 2 or set(dilations[0]) != {1} or value.dtype.kind != "f":
        return None
    order = still + [axis for axis in range(value.ndim) if axis not in still]
    sides = [padding[axis] for axis in order]
    sizes, steps, apart = ([each[axis] for axis in order] for each in (window, strides, dilations[1]))
    turned = lax.transpose(value, order)
    if kind == "stablehlo.add":
        channels = value.shape[still[1]]
        if not isinstance(channels, int):
            return None
        ones = np.ones((channels, 1, *sizes[2:]), value.dtype)
        made = lax.conv_general_dilated(
            turned, ones, steps[2:], sides[2:], rhs_dilation=apart[2:], feature_group_count=channels
        )
    elif kind == "stablehlo.maximum":
        made = _largest(turned, sizes, steps, sides, apart)
    elif kind == "stablehlo.minimum":
        made = lax.neg(_largest(lax.neg(turned), sizes, steps, sides, apart))
    else:
        return None
    return lax.transpose(made, [order.index(axis) for axis in range(value.ndim)])


def _largest(value: Any, window: Any, strides: Any, padding: Any, dilations: Any) -> Any:
    from jax import lax

    lowest = np.array(-np.inf, value.dtype)
    return lax.reduce_window(value, lowest, lax.max, window, strides, padding, None, dilations)


def cumulative(
    kind: str, value: Any, window: Any, strides: Any, padding: list[tuple[int, int]], dilations: list[Any]
) -> Any:
    """A running sum (product, maximum, minimum): a window as long as an axis, padded on one side alone."""
    from jax import lax

    long = [axis for axis, size in enumerate(window) if size != 1]
    if kind not in _CUMULATIVE or len(long) != 1 or set(strides) != {1} or any(set(each) != {1} for each in dilations):
        return None
    [axis] = long
    others = [pair for place, pair in enumerate(padding) if place != axis]
    size = value.shape[axis]
    if window[axis] != size or any(pair != (0, 0) for pair in others):
        return None
    if padding[axis] not in ((size - 1, 0), (0, size - 1)):
        return None
    return getattr(lax, _CUMULATIVE[kind])(value, axis=axis, reverse=padding[axis] == (0, size - 1))
