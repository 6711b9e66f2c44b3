"""From errors of tensors to operators: noise, growth, ranks. Pure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dlconv.diffing.parting import Operator, TensorError, back, first, measured, partings, ranked

CHAIN = (
    Operator("one", "MatMul", ("x",), ("a",)),
    Operator("two", "Relu", ("a",), ("b",)),
    Operator("three", "MatMul", ("b",), ("c",)),
    Operator("", "Add", ("c", "a"), ("y",)),
)


def error(name: str, noise: float) -> TensorError:
    return TensorError(name, noise * 1e-6, 1e-6, 1.0, "float32")


def errors(**noises: float) -> dict[str, TensorError]:
    return {name: error(name, noise) for name, noise in noises.items()}


def of(reference: Any, candidate: Any, single: Any = None, unit: float = 1e-7, **words: Any) -> TensorError:
    sure = np.asarray(reference)
    return measured(
        "t", [sure], [np.asarray(candidate)], [sure if single is None else np.asarray(single)], unit, **words
    )


def test_the_operator_that_makes_the_error_ranks_before_those_that_carry_it() -> None:
    found = partings(CHAIN, errors(a=1, b=1, c=1000, y=2000))
    assert ranked(found)[0].operator.name == "three" and ranked(found)[0].growth == pytest.approx(1000)
    assert found[3].growth == pytest.approx(2) and found[3].given == ("c", "a")
    parted = first(found, 40.0)
    assert parted is not None and parted.operator.name == "three" and first(found, 1e6) is None


def test_an_infinite_error_does_not_grow_again() -> None:
    found = partings(CHAIN, errors(a=1, b=math.inf, c=math.inf, y=3))
    assert ranked(found)[0].operator.name == "two" and math.isinf(found[1].growth)
    assert found[2].growth == 1 and found[3].growth == 1


def test_what_is_not_compared_is_told_as_a_stretch() -> None:
    found = partings(CHAIN, errors(a=1, y=500))
    assert [operator.name for operator in found[1].operators] == ["two", "three", ""]
    assert found[1].growth == pytest.approx(500) and found[1].operator.label == "(y)"
    assert back(3, CHAIN, {"b"}) == (CHAIN[:1] + CHAIN[2:], ("b", "x"))


def test_one_wrong_element_and_many_small_ones_are_both_seen() -> None:
    wide = np.ones((100,))
    one = wide.copy()
    one[7] = 0
    found = of(wide, one.astype(np.float32))
    assert found.error == 1.0 and found.worst is not None and found.worst.index == (7,)
    outlier = wide.copy()
    outlier[0] = 1e4
    rough = outlier.copy()
    rough[1:] = 0  # the largest magnitude hides it; the sums do not
    assert of(outlier, rough).error > 0.9 * 99 / 10099


def test_the_floor_is_the_models_own_noise_or_a_step_of_the_precision() -> None:
    sure = np.array([1.0, 2.0])
    assert of(sure, sure, sure + 2e-3).floor == pytest.approx(2e-3 * 2 / 3)
    assert of(sure, sure, sure, unit=2.0**-11).floor == 2.0**-11
    assert of(sure, sure, [1.0, np.inf], unit=0.5).floor == 0.5


def test_numbers_and_no_numbers() -> None:
    assert math.isinf(of([1.0, 2.0], [1.0, np.inf]).error)
    assert math.isinf(of([1.0, 2.0], [1.0, np.nan]).error)
    assert of([1.0, np.inf, np.nan], [1.0, np.inf, np.nan]).error == 0
    assert math.isinf(of([1.0, 2.0], [[1.0, 2.0]]).error)
    assert of(np.zeros((0, 3)), np.zeros((0, 3))).error == 0


def test_masks_are_no_errors_where_they_stay_masks() -> None:
    sure = np.array([-3.4e38, 0.5])
    assert of(sure, [-65504.0, 0.5]).error == 0
    assert of(sure, [-10.0, 0.5]).error > 1
    assert of(sure, [65504.0, 0.5]).error > 1
    assert of([-1e9, 0.5], [-65504.0, 0.5], saturates_at=65504.0).error == 0
    assert of([-1e9, 0.5], [-65504.0, 0.5]).error > 0.9
    assert math.isinf(of([1e6, 0.5], [np.inf, 0.5], saturates_at=65504.0).error)


def test_of_integers_the_share_that_differs() -> None:
    found = of(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5]))
    assert found.error == 0.25 and found.worst is not None and found.worst.index == (3,)
    assert of(np.array([True, False]), np.array([True, False])).error == 0
    assert math.isinf(of(np.array([1, 2]), np.array([1.0, 2.0])).error)
