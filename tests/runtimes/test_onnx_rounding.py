"""Rounding through a coarser float: exact, to the nearest and ties to even, and its losses counted."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.errors import RequestError
from dlconv.runtimes import onnx_rounding
from dlconv.runtimes.onnx_rounding import Losses, rounding

pytestmark = pytest.mark.onnx

# Digits of the significand, the exponent of the smallest normal number, and that of the largest.
_FORMS = {"float16": (11, -14, 15), "bfloat16": (8, -126, 127)}
_precisions = st.sampled_from(sorted(_FORMS))
_singles = st.floats(width=32) | st.floats(-(2.0**-22), 2.0**-22, width=32) | st.floats(-(2.0**17), 2.0**17, width=32)


def nearest(x: float, precision: str) -> float:
    """x rounded by the definition, in rational numbers: no float arithmetic is believed."""
    if not math.isfinite(x) or x == 0:
        return x
    digits, smallest, largest = _FORMS[precision]
    exponent = max(math.frexp(x)[1] - 1, smallest)
    step = Fraction(2) ** (exponent - digits + 1)
    rounded = round(Fraction(x) / step) * step  # Fraction rounds ties to even
    return math.copysign(math.inf, x) if abs(rounded) >= Fraction(2) ** (largest + 1) else math.copysign(rounded, x)


@given(_precisions, st.lists(_singles, min_size=1, max_size=20))
def test_float32_is_rounded_as_the_definition_says(precision: str, values: list[float]) -> None:
    got, _ = rounding(precision).through(np.array(values, np.float32))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.array([nearest(x, precision) for x in values], np.float32))


@given(_precisions, st.lists(st.floats() | st.floats(-1e5, 1e5), min_size=1, max_size=20))
def test_float64_is_rounded_once_not_twice(precision: str, values: list[float]) -> None:
    got, _ = rounding(precision).through(np.array(values))
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, [nearest(x, precision) for x in values])


def test_a_tie_that_float32_would_hide() -> None:
    # Just above the middle of two bfloat16s: as a float32 it is the middle, which goes to the even one below.
    x = np.array([1 + 2.0**-8 + 2.0**-40])
    assert rounding("bfloat16").through(x)[0][0] == 1 + 2.0**-7


@given(_precisions, st.lists(_singles, min_size=1, max_size=20))
def test_rounding_again_changes_nothing(precision: str, values: list[float]) -> None:
    once, _ = rounding(precision).through(np.array(values, np.float32))
    again, losses = rounding(precision).through(once)
    np.testing.assert_array_equal(again, once)
    assert losses.overflows == losses.underflows == 0


@given(_precisions, st.lists(_singles, min_size=1, max_size=20))
def test_losses_are_those_of_each_element(precision: str, values: list[float]) -> None:
    held = [float(np.float32(x)) for x in values]
    rounded = [nearest(x, precision) for x in held]
    tiny = 2.0 ** _FORMS[precision][1]
    wanted = Losses(
        elements=len(held),
        overflows=sum(math.isinf(y) and math.isfinite(x) for x, y in zip(held, rounded, strict=True)),
        underflows=sum(y == 0 and x != 0 for x, y in zip(held, rounded, strict=True)),
        subnormals=sum(0 < abs(y) < tiny for y in rounded),
        largest=max((abs(x) for x in held if math.isfinite(x)), default=0.0),
    )
    assert rounding(precision).through(np.array(held, np.float32))[1] == wanted


def test_the_edges_of_float16() -> None:
    nearly = 2.0**-14 - 2.0**-28  # below the smallest normal number, which it becomes
    x = np.array([65504, 65519.99, 65520, -65520, 2.0**-25, 2.0**-24, 2.0**-14, nearly, np.inf, np.nan], np.float32)
    got, losses = rounding("float16").through(x)
    np.testing.assert_array_equal(got, [65504, 65504, np.inf, -np.inf, 0, 2.0**-24, 2.0**-14, 2.0**-14, np.inf, np.nan])
    assert losses == Losses(elements=10, overflows=2, underflows=1, subnormals=1, largest=65520.0)


def test_saturation_keeps_the_largest_and_counts_it() -> None:
    x = np.array([-3.4e38, 1e5, 1.0, -np.inf], np.float32)
    got, losses = rounding("float16").saturating.through(x)
    np.testing.assert_array_equal(got, [-65504, 65504, 1, -np.inf])
    assert losses.overflows == 2


def test_bfloat16s_own_largest_is_kept_too() -> None:
    x = np.array([np.finfo(np.float32).max], np.float32)
    assert rounding("bfloat16").through(x)[0][0] == np.inf
    got = float(rounding("bfloat16").saturating.through(x)[0][0])
    assert np.isfinite(got) and got == nearest(got, "bfloat16") and nearest(got * (1 + 2.0**-7), "bfloat16") == np.inf


def test_a_tensor_is_rounded_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32).T * 1e5
    whole = rounding("float16").saturating.through(x)
    monkeypatch.setattr(onnx_rounding, "_PIECE", 4)
    pieces = rounding("float16").saturating.through(x)
    np.testing.assert_array_equal(pieces[0], whole[0])
    assert pieces[1] == whole[1] and whole[1].overflows > 0


@pytest.mark.parametrize("array", [np.float32(1 / 3).reshape(()), np.zeros((0, 3), np.float32)])
def test_scalars_and_nothing_keep_their_shape(array: Any) -> None:
    assert rounding("float16").through(array)[0].shape == array.shape


def test_other_precisions_are_refused() -> None:
    with pytest.raises(RequestError, match="int8"):
        rounding("int8")
