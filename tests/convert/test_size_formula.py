"""Whole numbers that follow free sizes: the formulas that are found, and what has none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dlconv.convert.size_formula import Formula, Line, fitted

TWO = ({"b": 2, "s": 33}, {"b": 8, "s": 33}, {"b": 2, "s": 63}, {"b": 5, "s": 40})
THREE = (
    {"b": 2, "s": 22, "t": 22},
    {"b": 8, "s": 22, "t": 22},
    {"b": 2, "s": 63, "t": 22},
    {"b": 2, "s": 22, "t": 63},
    {"b": 5, "s": 33, "t": 40},
)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (lambda b, s: b, Formula("MUL", (Line("b", 1),), 1)),
        (lambda b, s: s - 1, Formula("MUL", (Line("s", 1, -1),), 1)),
        (lambda b, s: 4 * b * s, Formula("MUL", (Line("b", 1), Line("s", 1)), 4)),
        (lambda b, s: 12 * b * (2 * s - 1), Formula("MUL", (Line("b", 1), Line("s", 2, -1)), 12)),
        (lambda b, s: 3 * b - s + 7, Formula("ADD", (Line("b", 3), Line("s", -1)), 7)),
        (lambda b, s: 100 - s, Formula("MUL", (Line("s", -1, 100),), 1)),
        (lambda b, s: b - 2, Formula("MUL", (Line("b", 1, -2),), 1)),
        (lambda b, s: 33 * b - 2 * s, Formula("ADD", (Line("b", 33), Line("s", -2)), 0)),
    ],
)
def test_what_follows_two_sizes(rule: Callable[[int, int], int], wanted: Formula) -> None:
    assert fitted(tuple(rule(**point) for point in TWO), TWO) == wanted
    assert wanted.at({"b": 7, "s": 11}) == rule(7, 11)


@pytest.mark.parametrize("rule", [lambda b, s, t: b * (s + 1) * t, lambda b, s, t: b + 2 * s - t])
def test_what_follows_three_sizes(rule: Callable[[int, int, int], int]) -> None:
    found = fitted(tuple(rule(**point) for point in THREE), THREE)
    assert found is not None and found.at({"b": 3, "s": 7, "t": 5}) == rule(3, 7, 5)


@pytest.mark.parametrize(
    "rule",
    [
        lambda b, s: s // 2,
        lambda b, s: s * s,
        lambda b, s: b * s + s + 1,
        lambda b, s: min(s, 50),
        lambda b, s: (s - 33) * (b - 2),  # differs where both do alone
        lambda b, s: 10 if s == 40 else s,
    ],
)
def test_what_no_formula_gives(rule: Callable[[int, int], int]) -> None:
    assert fitted(tuple(rule(**point) for point in TWO), TWO) is None


def test_the_last_point_decides_between_sum_and_product() -> None:
    # b + 2s - 4 and b * s are alike at the first three.
    points = ({"b": 2, "s": 2}, {"b": 3, "s": 2}, {"b": 2, "s": 3}, {"b": 5, "s": 7})
    assert fitted((4, 6, 6, 35), points) == Formula("MUL", (Line("b", 1), Line("s", 1)), 1)
    assert fitted((4, 6, 6, 20), points) == Formula("ADD", (Line("b", 2), Line("s", 2)), -4)
