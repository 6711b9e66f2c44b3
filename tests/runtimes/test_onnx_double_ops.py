"""Operators in float64, against their definitions written out."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from dlconv.runtimes import onnx_double_ops


def _by_definition(x: Any, w: Any, pads: list[int], strides: list[int], dilations: list[int], group: int) -> Any:
    spatial, before, after = x.ndim - 2, pads[: x.ndim - 2], pads[x.ndim - 2 :]
    padded = np.pad(x, [(0, 0), (0, 0), *zip(before, after, strict=True)])
    reach = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, w.shape[2:], strict=True)]
    out = [(padded.shape[2 + axis] - reach[axis]) // strides[axis] + 1 for axis in range(spatial)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    each, made = w.shape[1], w.shape[0] // group
    for place in product(*map(range, out)):
        seen = tuple(
            slice(at * stride, at * stride + span, dilation)
            for at, stride, span, dilation in zip(place, strides, reach, dilations, strict=True)
        )
        for channel in range(w.shape[0]):
            first = channel // made * each
            part = padded[(slice(None), slice(first, first + each), *seen)]
            y[(slice(None), channel, *place)] = (part * w[channel]).reshape(x.shape[0], -1).sum(1)
    return y


@pytest.mark.parametrize("cached_bytes", [1, 3000, 1 << 23])
@pytest.mark.parametrize(
    ("x", "w", "told"),
    [
        ((2, 3, 17), (4, 3, 3), {"pads": [1, 2], "strides": [2], "dilations": [1], "group": 1}),
        ((2, 4, 9, 7), (6, 2, 3, 2), {"pads": [1, 0, 1, 1], "strides": [1, 2], "dilations": [2, 1], "group": 2}),
        ((1, 1, 8, 8), (5, 1, 3, 3), {"pads": [0] * 4, "strides": [3, 1], "dilations": [1, 1], "group": 1}),
        ((2, 3, 6, 8), (6, 1, 3, 3), {"pads": [1] * 4, "strides": [2, 1], "dilations": [1, 2], "group": 3}),
        ((1, 2, 4, 5, 6), (3, 2, 2, 1, 3), {"pads": [0] * 6, "strides": [1] * 3, "dilations": [1] * 3, "group": 1}),
    ],
)
def test_a_convolution_is_what_its_definition_says(
    x: tuple[int, ...], w: tuple[int, ...], told: dict[str, Any], cached_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_double_ops, "_CACHED_BYTES", cached_bytes)  # rows at a time: one, some, all
    random = np.random.default_rng(0)
    data, weights = random.standard_normal(x), random.standard_normal(w)
    (got,) = onnx_double_ops.conv(told, [data, weights, None])
    wanted = _by_definition(data, weights, **told)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())
    bias = random.standard_normal(w[0])
    (shifted,) = onnx_double_ops.conv(told, [data, weights, bias])
    np.testing.assert_allclose(shifted - got, np.broadcast_to(bias.reshape(-1, *[1] * (len(x) - 2)), got.shape))
