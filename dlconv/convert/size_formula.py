"""How a whole number follows free sizes, found from what it is at several combinations of them.

The first is the base, the next differ from it in one size alone each, and the last differs from all of them: it is
what a formula is held against, so that nothing is guessed. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, prod
from typing import Literal

Point = dict[str, int]
"""A size for each name."""

Values = tuple[int, ...]
"""What a number is at each point."""


@dataclass(frozen=True)
class Line:
    """times * the size + plus."""

    name: str
    times: int
    plus: int = 0

    def at(self, point: Point) -> int:
        return self.times * point[self.name] + self.plus


@dataclass(frozen=True)
class Formula:
    """Lines and a constant, all of them added, or all of them multiplied."""

    joined: Literal["ADD", "MUL"]
    lines: tuple[Line, ...]
    constant: int

    def at(self, point: Point) -> int:
        parts = [line.at(point) for line in self.lines]
        return sum(parts) + self.constant if self.joined == "ADD" else prod(parts) * self.constant


def fitted(values: Values, points: tuple[Point, ...]) -> Formula | None:
    """The formula that gives `values` at all `points`; None where there is none of these kinds."""
    base, *others = points[:-1]
    lines: list[tuple[str, Fraction, Fraction]] = []
    for other, value in zip(others, values[1:-1], strict=True):
        if value == values[0]:
            continue
        [name] = [name for name in base if base[name] != other[name]]
        times = Fraction(value - values[0], other[name] - base[name])
        lines.append((name, times, values[0] - times * base[name]))
    found = (_product(lines, values[0]), _sum(lines, values[0], base))
    return next(
        (each for each in found if each and values == tuple(each.at(point) for point in points)),
        None,
    )


def _product(lines: list[tuple[str, Fraction, Fraction]], value: int) -> Formula | None:
    """Each line by itself gives the value at the base: the product of all has it once too often for each but one."""
    if any(part.denominator != 1 for _, *parts in lines for part in parts) or (value == 0 and len(lines) > 1):
        return None
    plain: list[Line] = []
    constant = Fraction(value, value ** len(lines)) if value else Fraction(1)
    for name, times, plus in lines:
        common = gcd(int(times), int(plus))
        plain.append(Line(name, int(times) // common, int(plus) // common))
        constant *= common
    return Formula("MUL", tuple(plain), int(constant)) if constant.denominator == 1 else None


def _sum(lines: list[tuple[str, Fraction, Fraction]], value: int, base: Point) -> Formula | None:
    if any(times.denominator != 1 for _, times, _ in lines):
        return None
    plain = tuple(Line(name, int(times)) for name, times, _ in lines)
    return Formula("ADD", plain, value - sum(line.at(base) for line in plain))
