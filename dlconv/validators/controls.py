"""Negative controls: the judge is shown the candidate's own outputs with a fault planted in them.

A control that is not found means that these samples, on these outputs, could not have shown such a fault.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.validators.parity import Answers, judge, measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.samples import Sample
    from dlconv.validators.parity import Evidence

Arrays = list["np.ndarray[Any, Any]"]


def with_controls(
    evidence: Evidence,
    answers: Answers,
    candidate: Sequence[Sample],
    floors: Mapping[str, float],
    narrowed: Mapping[str, str] | None = None,
) -> Evidence:
    """The evidence with each planted fault's name, and whether the judge found it.

    Only of a candidate that would pass is it asked: a failing one needs no proof that it could fail.
    """
    if judge(evidence).word != "PASS":
        return evidence
    found: dict[str, bool] = {}

    def plant(fault: str, planted: Mapping[str, Arrays | None]) -> None:
        if any(arrays is None for arrays in planted.values()):
            return
        sight = _only(answers, planted)
        shown = [{name: (planted[name] or [])[i] for name in planted} for i in range(len(candidate))]
        found[fault] = judge(measure(sight, shown, evidence.factor, floors, narrowed)).word == "FAIL"

    for name in (output.name for output in evidence.outputs):
        arrays = [sample[name] for sample in candidate]
        plant(f"a NaN in {name}", {name: _nan(arrays)})
        plant(f"{name} shifted", {name: _shift(arrays)})
        plant(f"a stale sample in {name}", {name: _stale(arrays)})
        plant(f"{name} rounded to bfloat16", {name: _coarse(arrays)})
    for one, other in zip(evidence.outputs, evidence.outputs[1:], strict=False):
        first, second = ([sample[name] for sample in candidate] for name in (one.name, other.name))
        if first[0].shape == second[0].shape and first[0].dtype == second[0].dtype:  # else their form tells them apart
            plant(f"{one.name} and {other.name} swapped", {one.name: second, other.name: first})
    return replace(evidence, controls=found)


def _only(answers: Answers, names: Mapping[str, Any]) -> Answers:
    def cut(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple({name: sample[name] for name in names} for sample in samples)

    return Answers(cut(answers.y32), None if answers.y64 is None else cut(answers.y64))


def _nan(arrays: Arrays) -> Arrays | None:
    """One element of the last sample."""
    if arrays[-1].dtype.kind != "f" or arrays[-1].size == 0:
        return None
    last = arrays[-1].copy()
    last.flat[-1] = np.nan
    return [*arrays[:-1], last]


def _shift(arrays: Arrays) -> Arrays:
    """Everything moved by a fiftieth of the largest value; an integer by one; a boolean turned."""
    if arrays[0].dtype.kind == "b":
        return [~array for array in arrays]
    if arrays[0].dtype.kind != "f":
        return [array + array.dtype.type(1) for array in arrays]
    largest = max(float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array))) for array in arrays)
    return [array + array.dtype.type(0.02 * largest) for array in arrays]


def _stale(arrays: Arrays) -> Arrays | None:
    """Each sample answered with the answer to the one before it, where the shapes are the same."""
    if len(arrays) < 2:
        return None
    pairs = zip([arrays[-1], *arrays[:-1]], arrays, strict=True)
    return [before if before.shape == array.shape else array for before, array in pairs]


def _coarse(arrays: Arrays) -> Arrays | None:
    """What a runtime answers that lowers the precision on its own. No fault where every value is a bfloat16 anyway."""
    if arrays[0].dtype != np.float32:
        return None
    rounded = [
        (np.ascontiguousarray(array).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for array in arrays
    ]
    unchanged = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays, rounded, strict=True))
    return None if unchanged else rounded
