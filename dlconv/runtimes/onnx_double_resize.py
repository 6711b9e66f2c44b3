"""ONNX's Resize and Upsample in float64, in NumPy: one matrix of weights an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.onnx_plan import filled

Array = Any
"""A NumPy array: dtype and rank are what an operator is about, so they are no types here."""
Attributes = dict[str, Any]


def upsample(attributes: Attributes, inputs: Sequence[Any]) -> Sequence[Array]:
    """Upsample (opset 7 to 9): Resize by given scales with asymmetric coordinates."""
    x = inputs[0]
    scales = inputs[1] if len(inputs) > 1 else np.asarray(attributes["scales"], np.float64)
    mode = attributes.get("mode", "nearest")
    plain = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return resize(plain, [x, None, scales])


def resize(attributes: Attributes, inputs: Sequence[Any]) -> Sequence[Array]:
    """Resize from opset 10 on, nearest, linear and cubic, in every mode of coordinates but that of a region."""
    if len(inputs) == 2:  # opset 10: X, scales
        legacy = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        inputs, attributes = [inputs[0], None, inputs[1]], {**legacy, **attributes}
    x, _, scales, sizes = filled(inputs, 4)
    mode = attributes.get("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_crop_and_resize":
        raise Unsupported("Resize with a region (tf_crop_and_resize)")
    axes = [axis % x.ndim for axis in attributes.get("axes", range(x.ndim))]
    pairs = _scales_and_sizes(attributes, [x.shape[axis] for axis in axes], scales, sizes)
    for axis, (scale, size) in zip(axes, pairs, strict=True):
        if size == x.shape[axis] and scale == 1:
            continue
        weights = _weights(attributes, mode, x.shape[axis], size, scale)
        x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
    return [x]


def _scales_and_sizes(attributes: Attributes, has: list[int], scales: Any, sizes: Any) -> list[tuple[float, int]]:
    if sizes is None or not sizes.size:
        # The scales are float32 in the file; their product with a size is floored in float32's sense.
        return [
            (float(scale), math.floor(float(np.float32(scale) * size))) for scale, size in zip(scales, has, strict=True)
        ]
    policy = attributes.get("keep_aspect_ratio_policy", "stretch")
    ratios = [size / old for size, old in zip(sizes.tolist(), has, strict=True)]
    if policy == "stretch":
        return list(zip(ratios, (int(size) for size in sizes), strict=True))
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [(ratio, math.floor(ratio * old + 0.5)) for old in has]


def _weights(attributes: Attributes, mode: str, old: int, new: int, scale: float) -> Array:
    """What each of `new` positions takes of each of `old` ones."""
    kind = attributes.get("mode", "nearest")
    # Which neighbour is nearest is a choice, not a number: ties fall as they do in float32.
    precise = np.float32 if kind == "nearest" else np.float64
    at = _coordinates(mode, np.arange(new, dtype=precise), old, new, precise(scale))
    if kind == "nearest":
        chosen = np.clip(_nearest(at, attributes.get("nearest_mode", "round_prefer_floor")), 0, old - 1)
        return np.eye(old)[chosen.astype(np.int64)]
    wide = max(1.0, 1 / scale) if attributes.get("antialias", 0) else 1.0
    reach = (2 if kind == "cubic" else 1) * wide
    places = np.arange(math.floor(-reach) - 1, old + math.ceil(reach) + 2)
    distance = (places[None] - at[:, None]) / wide
    weights = _cubic(distance, attributes.get("cubic_coeff_a", -0.75)) if kind == "cubic" else _linear(distance)
    inside = (places >= 0) & (places < old)
    if attributes.get("exclude_outside", 0):
        weights = weights * inside
    weights = weights / weights.sum(1, keepdims=True)
    gathered = np.zeros((new, old))
    for place, column in zip(np.clip(places, 0, old - 1), weights.T, strict=True):
        gathered[:, place] += column
    return gathered


def _coordinates(mode: str, out: Array, old: int, new: int, scale: Any) -> Array:
    if mode == "align_corners":
        return out * (old - 1) / (new - 1) if new > 1 else np.zeros(new)
    if mode == "asymmetric":
        return out / scale
    if mode == "pytorch_half_pixel" and new == 1:
        return np.zeros(new)
    if mode == "half_pixel_symmetric":
        adjustment = new / (scale * old)
        return (old / 2) * (1 - adjustment) + (out + 0.5) / scale - 0.5
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (out + 0.5) / scale - 0.5
    raise Unsupported(f"Resize with coordinates {mode!r}")


def _nearest(at: Array, mode: str) -> Array:
    if mode == "floor":
        return np.floor(at)
    if mode == "ceil":
        return np.ceil(at)
    if mode == "round_prefer_ceil":
        return np.floor(at + 0.5)
    return np.ceil(at - 0.5)


def _linear(distance: Array) -> Array:
    return np.clip(1 - np.abs(distance), 0, None)


def _cubic(distance: Array, a: float) -> Array:
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
