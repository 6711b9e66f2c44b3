"""Negative controls: the judge is shown the candidate's own outputs with a fault planted in them.

A control that is not found means that these samples, on these outputs, could not have shown such a fault.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.asked.bars import Bars, OutputBars
from dlconv.validators.answers import Answers
from dlconv.validators.judging import bar_of, judge
from dlconv.validators.parity import measure
from dlconv.validators.quantised import coarsened, shifted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.samples import Sample
    from dlconv.validators.evidence import Evidence

Arrays = list["np.ndarray[Any, Any]"]

_SHIFT: Final = 0.02
"""Everything moved by this share of the scale; twice the bar, where a wider one was asked for."""
_COARSE: Final = 2.0**-9
"""Cutting to bfloat16 moves a value by up to 2^-8 of itself: under a bar of half of that it has to be seen."""
_LOST_BITS: Final = 4
"""Of a quantised output. It moves a value by up to 15 steps: under a bar of half of that it has to be seen."""


def with_controls(
    evidence: Evidence,
    answers: Answers,
    candidate: Sequence[Sample],
    floors: Mapping[str, float],
    narrowed: Mapping[str, str] | None = None,
    bars: Bars | None = None,
    made: Mapping[str, Sequence[Sample]] | None = None,
) -> Evidence:
    """The evidence with each planted fault's name, and whether the judge found it.

    made: faults that were not planted in the outputs but made by the artifact itself, each with all its answers.

    Only of a candidate that would pass is it asked: a failing one needs no proof that it could fail.
    """
    if judge(evidence, bars).word != "PASS":
        return evidence
    asked = bars or Bars()
    # The figures besides the error are not measured again, so that their bars are not asked.
    errors_alone = Bars(asked.factor, {name: OutputBars(own.max_error) for name, own in asked.outputs.items()})
    found: dict[str, bool] = {}

    def plant(fault: str, planted: Mapping[str, Arrays | None]) -> None:
        if any(arrays is None for arrays in planted.values()):
            return
        shown = [{name: (planted[name] or [])[i] for name in planted} for i in range(len(candidate))]
        named = replace(errors_alone, outputs={n: b for n, b in errors_alone.outputs.items() if n in {*planted, "*"}})
        seen = measure(_only(answers, planted), shown, evidence.factor, floors, narrowed)
        seen = replace(seen, precision=evidence.precision, account=evidence.account, runtime=evidence.runtime)
        found[fault] = judge(seen, named).word == "FAIL"

    for output in evidence.outputs:
        name = output.name
        bar = bar_of(output, evidence.factor, asked)
        arrays = [sample[name] for sample in candidate]
        grid = answers.grids.get(name) if arrays[0].dtype.kind in "iu" else None
        plant(f"a NaN in {name}", {name: _nan(arrays)})
        share = max(_SHIFT, 2 * bar)
        plant(f"{name} shifted", {name: shifted(arrays, grid, share, output.scale) if grid else _shift(arrays, share)})
        plant(f"two axes of {name} swapped", {name: _turn(arrays, [sample[name] for sample in answers.best])})
        plant(f"a stale sample in {name}", {name: _stale(arrays)})
        if grid and bar * output.scale < grid.scale * 2 ** (_LOST_BITS - 1):
            plant(f"{name} rounded to {_LOST_BITS} bits fewer", {name: coarsened(arrays, _LOST_BITS)})
        elif bar < _COARSE:
            plant(f"{name} rounded to bfloat16", {name: _coarse(arrays)})
    for one, other in zip(evidence.outputs, evidence.outputs[1:], strict=False):
        first, second = ([sample[name] for sample in candidate] for name in (one.name, other.name))
        if first[0].shape == second[0].shape and first[0].dtype == second[0].dtype:  # else their form tells them apart
            plant(f"{one.name} and {other.name} swapped", {one.name: second, other.name: first})
    for fault, faulty in (made or {}).items():
        plant(fault, {output.name: [sample[output.name] for sample in faulty] for output in evidence.outputs})
    return replace(evidence, controls=found)


def _only(answers: Answers, names: Mapping[str, Any]) -> Answers:
    return answers.mapped(lambda samples: tuple({name: sample[name] for name in names} for sample in samples))


def _nan(arrays: Arrays) -> Arrays | None:
    """One element of the last sample."""
    if arrays[-1].dtype.kind != "f" or arrays[-1].size == 0:
        return None
    last = arrays[-1].copy()
    last.flat[-1] = np.nan
    return [*arrays[:-1], last]


def _shift(arrays: Arrays, share: float) -> Arrays:
    """Everything moved by a share of the largest value; an integer by one; a boolean turned."""
    if arrays[0].dtype.kind == "b":
        return [~array for array in arrays]
    if arrays[0].dtype.kind != "f":
        return [array + array.dtype.type(1) for array in arrays]
    largest = max(float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array))) for array in arrays)
    return [array + array.dtype.type(share * largest) for array in arrays]


def _turn(arrays: Arrays, reference: Arrays) -> Arrays | None:
    """The last two axes of one length exchanged: others show in the shape. No fault where the source's own answers are
    symmetric, to their last digits."""
    shape = arrays[0].shape
    pairs = [(a, b) for b in range(len(shape)) for a in range(b) if shape[a] == shape[b] > 1]
    if not pairs or any(array.shape != shape for array in arrays):
        return None
    turned = [np.swapaxes(array, *pairs[-1]) for array in arrays]
    mirrored = [np.swapaxes(array, *pairs[-1]) for array in reference]
    return None if all(_same(a, b) for a, b in zip(reference, mirrored, strict=True)) else turned


def _same(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> bool:
    if one.dtype.kind != "f":
        return np.array_equal(one, two)
    digits = 8 * float(np.finfo(one.dtype).eps)
    largest = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
    return np.allclose(one, two, rtol=0, atol=digits * largest, equal_nan=True)


def _stale(arrays: Arrays) -> Arrays | None:
    """Each sample answered as the one before it of the same shape was. No fault where no two are of one shape: then the
    form tells them apart."""
    last = {array.shape: array for array in arrays}
    stale: Arrays = []
    for array in arrays:
        stale.append(last[array.shape])
        last[array.shape] = array
    return stale if any(before is not array for before, array in zip(stale, arrays, strict=True)) else None


def _coarse(arrays: Arrays) -> Arrays | None:
    """What a runtime answers that lowers the precision on its own. No fault where every value is a bfloat16 anyway."""
    dtype = arrays[0].dtype
    if dtype not in (np.float32, np.float16):
        return None
    rounded = [
        (array.astype(np.float32, order="C").view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(dtype)
        for array in arrays
    ]
    unchanged = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays, rounded, strict=True))
    return None if unchanged else rounded
