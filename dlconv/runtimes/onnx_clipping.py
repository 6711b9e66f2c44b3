"""Ranges of activations by the least mean square error: what is rare and large may be cut off, where the finer steps
that this gives the rest are worth more.

The model is run node by node in float32, once for the extremes of each tensor and once for its histogram. The range is
the pair of ends, out of a grid between zero and the extremes, that loses least: within it a value is off by up to half
a step, the mean square of which is step**2 / 12; beyond it by its distance from the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv import progress
from dlconv.runtimes.onnx_float32 import Float32Kernels, single
from dlconv.runtimes.onnx_int8_operators import QUANTISED
from dlconv.runtimes.onnx_plan import program_of
from dlconv.runtimes.onnx_rounded_plan import roles_of
from dlconv.runtimes.onnx_walk import Walk

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode, Program

_BINS: Final = 2048
_ENDS: Final = np.linspace(0.05, 1.0, 39)
"""Shares of an extreme that an end of the range may be at."""
_STEPS: Final = 255


def least_squares(path: Path, samples: Sequence[Tensors]) -> dict[str, tuple[float, float]]:
    """By tensor that int8 quantises: the ends of its range, zero among it. One that is always zero is left out."""
    program = program_of(path)
    extremes = _Extremes(frozenset(program.plan.weights))
    _run(program, extremes.see, samples)
    counted = _Histograms(extremes.ranges)
    _run(program, counted.see, samples)
    return {name: cut(counts, *extremes.ranges[name]) for name, counts in counted.counts.items()}


def cut(counts: Any, low: float, high: float) -> tuple[float, float]:
    """The ends that lose least. counts: of values in equal bins from low to high; low <= 0 <= high."""
    edges = np.linspace(low, high, len(counts) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    lows = low * _ENDS if low < 0 else np.zeros(1)
    highs = high * _ENDS if high > 0 else np.zeros(1)
    # What is beyond one end does not depend on the other: a sum each, and the steps' own noise for each pair.
    under = np.asarray([(counts * np.square(np.minimum(middles - end, 0))).sum() for end in lows])
    over = np.asarray([(counts * np.square(np.maximum(middles - end, 0))).sum() for end in highs])
    within = np.asarray([[counts[(middles >= a) & (middles <= b)].sum() for b in highs] for a in lows])
    steps = (highs[np.newaxis, :] - lows[:, np.newaxis]) / _STEPS
    loss = under[:, np.newaxis] + over[np.newaxis, :] + within * np.square(steps) / 12
    first, second = np.unravel_index(np.argmin(loss), loss.shape)
    return float(lows[first]), float(highs[second])


See = Callable[[str, Any, bool], None]
"""Is shown a tensor's name, its finite values, and whether it is one that is only read here."""


class _Watched:
    """See `dlconv.runtimes.onnx_walk.Arithmetic`: float32, and each tensor that is quantised is shown to `see`."""

    def __init__(self, program: Program, see: See) -> None:
        self._kernels = Float32Kernels(program.opsets)
        self._early = roles_of(program.plan).early
        self._see = see

    def given(self, name: str, value: Any) -> Any:
        return self._shown(name, single(np.asarray(value)), is_read=False)

    def entering(self, node: PlannedNode, place: int, value: Any) -> Any:
        known = single(value)
        if node.kind in QUANTISED and id(node) not in self._early:
            self._shown(node.inputs[place], known, is_read=True)
        return known

    def computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        answers = [None if each is None else single(np.asarray(each)) for each in self._kernels.answers(node, values)]
        if node.kind in QUANTISED and id(node) not in self._early:
            for name, answer in zip(node.outputs, answers, strict=False):
                if answer is not None:
                    self._shown(name, answer, is_read=False)
        return answers

    def leaving(self, plan: Plan, name: str, value: Any) -> Any:
        return value

    def _shown(self, name: str, value: Any, *, is_read: bool) -> Any:
        finite = value[np.isfinite(value)] if value.dtype == np.float32 else value[:0]
        if finite.size:
            self._see(name, finite, is_read)
        return value


class _Extremes:
    """ranges: the least and largest value of each tensor that is not stored, zero among them."""

    def __init__(self, stored: frozenset[str]) -> None:
        self.ranges: dict[str, tuple[float, float]] = {}
        self._stored = stored

    def see(self, name: str, values: Any, is_read: bool) -> None:
        if name not in self._stored:
            low, high = self.ranges.get(name, (0.0, 0.0))
            self.ranges[name] = min(low, float(values.min())), max(high, float(values.max()))


class _Histograms:
    """counts: of each tensor's values, in equal bins between the ends of its range. One that is made here is counted
    where it is made; one that is only read here, wherever it is read."""

    def __init__(self, ranges: dict[str, tuple[float, float]]) -> None:
        self.counts: dict[str, Any] = {}
        self._ranges = ranges
        self._made: set[str] = set()

    def see(self, name: str, values: Any, is_read: bool) -> None:
        low, high = self._ranges.get(name, (0.0, 0.0))
        if not is_read:
            self._made.add(name)
        if high > low and not (is_read and name in self._made):
            self.counts[name] = self.counts.get(name, 0) + np.histogram(values, _BINS, (low, high))[0]


def _run(program: Program, see: See, samples: Sequence[Tensors]) -> None:
    watched = _Watched(program, see)
    walk = Walk(program.plan, watched)
    for sample in progress.through(samples):
        given = {name: watched.given(name, value) for name, value in sample.items()}
        walk.run(given, program.plan.outputs)
