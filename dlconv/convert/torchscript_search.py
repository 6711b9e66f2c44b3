"""The search for a signature that runs: suppositions are tried, and failures tell which size to change."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dlconv.convert.torchscript_guess import Guess, domain
from dlconv.convert.torchscript_trial import Drawn, Outcome, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_HYPOTHESES = 96
MAX_REPAIRS = 12
MAX_SIZE = 1 << 20
MAX_ELEMENTS = 1 << 24
"""Of one supposed input: a model that wants more is not found by trying, and a try that large can take all memory."""
Sizes = dict[str, int]


@dataclass
class Found:
    """What ran: the inputs, the free sizes, the scalars, and the outcome."""

    guesses: dict[str, Guess]
    sizes: Sizes
    constants: dict[str, Any]
    outcome: Outcome

    def inputs(self) -> dict[str, Drawn]:
        return materialise(self.guesses, self.sizes)


@dataclass
class Search:
    """One search. tried: a line for each supposition that failed, with the model's own words."""

    trial: Trial
    named_sizes: list[int]
    seconds: float = 120.0
    tried: list[str] = field(default_factory=list)
    _start: float = field(default_factory=time.monotonic)

    def find(self, tensors: dict[str, list[Guess]], scalars: dict[str, list[Any]]) -> Found | None:
        """The first supposition that runs, in the order of likelihood."""
        for guesses, constants in _combinations(tensors, scalars):
            found = self._solve(guesses, constants)
            if found is not None:
                return found
            if time.monotonic() - self._start > self.seconds:
                self.tried.append(f"(the search ended after {self.seconds:.0f} s)")
                return None
        return None

    def _solve(self, guesses: dict[str, Guess], constants: dict[str, Any]) -> Found | None:
        variables = list(dict.fromkeys(s for g in guesses.values() for s in g.shape if isinstance(s, str)))
        first = ""
        last = Outcome(error="nothing ran")
        for sizes in _assignments(variables, self.named_sizes):
            found, last = self._repair(guesses, sizes, constants)
            if found is not None:
                return self._rounded(found, sizes)
            first = first or _said(guesses, sizes, constants, last)
            if time.monotonic() - self._start > self.seconds or _is_hopeless(last):
                break
        self.tried.append(first)
        return None

    def _rounded(self, found: Found, started: Sizes) -> Found:
        """Sides that were solved for at the roundest of the neighbouring sizes that run: 72 rather than 74."""
        for variable in [
            name for name in found.sizes if name.startswith("side") and found.sizes[name] != started[name]
        ]:
            near = range(max(1, found.sizes[variable] - 8), found.sizes[variable] + 9)
            for size in sorted(near, key=lambda size: (-(size & -size), size)):
                sizes = {**found.sizes, variable: size}
                outcome = self._run(found.guesses, sizes, found.constants)
                if outcome.ran:
                    found = replace(found, sizes=sizes, outcome=outcome)
                    break
        return found

    def _repair(
        self, guesses: dict[str, Guess], sizes: Sizes, constants: dict[str, Any]
    ) -> tuple[Found | None, Outcome]:
        outcome = self._run(guesses, sizes, constants)
        for _ in range(MAX_REPAIRS):
            if outcome.ran:
                return Found(guesses, sizes, constants, outcome), outcome
            lowered = _lowered(guesses, outcome)
            if lowered is not None:
                guesses = lowered
                outcome = self._run(guesses, sizes, constants)
                continue
            better = self._better(guesses, sizes, constants, outcome)
            if better is None:
                return None, outcome
            sizes, outcome = better
        return None, outcome

    def _better(
        self, guesses: dict[str, Guess], sizes: Sizes, constants: dict[str, Any], outcome: Outcome
    ) -> tuple[Sizes, Outcome] | None:
        """Sizes with which the failing operator is passed: the first free size that moves its gap is solved for."""
        for variable in sorted(sizes, key=lambda name: (name == "batch", name == "side")):
            for size in [number for number in outcome.numbers[:6] if number > 1]:
                better = self._passes(guesses, {**sizes, variable: size}, constants, outcome)
                if better is not None and variable.startswith(("audio", "feature", "length")):
                    return better
            if outcome.gap is not None:
                better = self._secant(guesses, sizes, constants, outcome, variable)
                if better is not None:
                    return better
        return None

    def _secant(
        self, guesses: dict[str, Guess], sizes: Sizes, constants: dict[str, Any], outcome: Outcome, variable: str
    ) -> tuple[Sizes, Outcome] | None:
        before, gap = sizes[variable], _residual(outcome)
        step = max(before, 1) if variable == "side" else 1 + before // 2
        size = before + step
        for _ in range(10):
            now = self._run(guesses, {**sizes, variable: size}, constants)
            if now.ran or now.operator > outcome.operator:
                return {**sizes, variable: size}, now
            if now.operator < outcome.operator or now.gap is None or _residual(now) == gap:
                return None
            slope = (_residual(now) - gap) / (size - before)
            before, gap = size, _residual(now)
            # A size of 1 fits everything by broadcasting, and proves nothing.
            size = max(2, min(MAX_SIZE, round(size - gap / slope)))
            if size == before:
                return None
        return None

    def _passes(
        self, guesses: dict[str, Guess], sizes: Sizes, constants: dict[str, Any], outcome: Outcome
    ) -> tuple[Sizes, Outcome] | None:
        if not all(0 < size <= MAX_SIZE for size in sizes.values()):
            return None
        now = self._run(guesses, sizes, constants)
        return (sizes, now) if now.ran or now.operator > outcome.operator else None

    def _run(self, guesses: dict[str, Guess], sizes: Sizes, constants: dict[str, Any]) -> Outcome:
        drawn = materialise(guesses, sizes)
        if any(guess.is_free and math.prod(drawn[name].shape) > MAX_ELEMENTS for name, guess in guesses.items()):
            return Outcome(error=f"not tried: an input of more than {MAX_ELEMENTS} elements", operator=-1)
        return self.trial.run(drawn, constants)


def materialise(guesses: Mapping[str, Guess], sizes: Sizes) -> dict[str, Drawn]:
    """The inputs of a guess with its free sizes set."""
    drawn = {}
    for name, guess in guesses.items():
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in guess.shape)
        drawn[name] = Drawn(guess.dtype, shape, guess.low, 7 if guess.high is None else guess.high)
    return drawn


def _combinations(
    tensors: dict[str, list[Guess]], scalars: dict[str, list[Any]]
) -> Iterator[tuple[dict[str, Guess], dict[str, Any]]]:
    """Choices of one guess an input, the sum of their ranks rising."""
    names, lists = [*tensors, *scalars], [*tensors.values(), *scalars.values()]
    widths = [range(min(len(each), 8)) for each in lists]
    if len(lists) > 5:
        # Of many inputs only one departs from its likeliest guess at a time.
        first = (0,) * len(lists)
        order = [
            first,
            *((*first[:i], k, *first[i + 1 :]) for k in range(1, 8) for i in range(len(lists)) if k in widths[i]),
        ]
    else:
        order = sorted(itertools.product(*widths), key=lambda ranks: (sum(ranks), max(ranks, default=0)))
    for ranks in order[:MAX_HYPOTHESES]:
        chosen = {name: each[rank] for name, each, rank in zip(names, lists, ranks, strict=True)}
        yield {name: chosen[name] for name in tensors}, {name: chosen[name] for name in scalars}


def _assignments(variables: list[str], named_sizes: list[int]) -> Iterator[Sizes]:
    domains = {variable: domain(variable, named_sizes) for variable in variables}
    base = {variable: values[0] for variable, values in domains.items()}
    yield dict(base)
    # Sizes of one role are changed together first: two sequences share a table of positions that ends somewhere.
    roles = {
        role: [v for v in variables if v.partition("@")[0] == role] for role in ("length", "audio", "side", "feature")
    }
    for members in roles.values():
        for size in domains[members[0]][1:] if len(members) > 1 else ():
            yield {**base, **dict.fromkeys(members, size)}
    for variable in sorted(variables, key=lambda name: (name == "batch", name)):
        for size in domains[variable][1:]:
            yield {**base, variable: size}


def _residual(outcome: Outcome) -> int:
    assert outcome.gap is not None
    return outcome.gap[0] - outcome.gap[1]


def _lowered(guesses: dict[str, Guess], outcome: Outcome) -> dict[str, Guess] | None:
    """Smaller integers, where the model said that an index was out of range."""
    text = outcome.error.lower()
    if "dimension" in text or not (
        "out of range" in text or "out of bounds" in text or "smaller than num_classes" in text
    ):
        return None
    changed = {}
    for name, guess in guesses.items():
        high, rows = 7 if guess.high is None else guess.high, outcome.rows.get(name)
        if guess.dtype.startswith("int") and high > guess.low and (rows is None or high >= rows):
            changed[name] = replace(guess, high=max(guess.low, high // 2 if rows is None else rows - 1))
    return {**guesses, **changed} if changed else None


def _is_hopeless(outcome: Outcome) -> bool:
    """Whether no other size can mend this: the rank or the dtype is wrong."""
    text = outcome.error.lower()
    words = ("expected scalar type", "to be one of: long", "expected 4d", "expected 3d", "expected 2d",
             "dimension out of range",
             "expected 3-d", "expected 2-d", "dtype", "not implemented for", "must be tensor")  # fmt: skip
    return outcome.gap is None and any(word in text for word in words)


def _said(guesses: dict[str, Guess], sizes: Sizes, constants: dict[str, Any], outcome: Outcome) -> str:
    drawn = materialise(guesses, sizes)
    inputs = [f"{name}:{'x'.join(map(str, item.shape)) or 'scalar'}:{item.dtype}" for name, item in drawn.items()]
    values = [f"{name}={value!r}" for name, value in constants.items()]
    return f"{' '.join([*inputs, *values])}: {outcome.error}"
