"""Quantised outputs are judged by what their integers stand for: a step here and there passes, a fault does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlconv.asked.bars import Bars
from dlconv.model import Signature, TensorSpec
from dlconv.validators.answers import Answers
from dlconv.validators.controls import with_controls
from dlconv.validators.judging import checks, judge
from dlconv.validators.moved import floors_of_moved, moved_samples
from dlconv.validators.parity import measure
from dlconv.validators.quantised import Grid, clipped, coarsened, grids_of, shifted

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]

WEIGHTS = np.random.default_rng(5).integers(-60, 61, (6, 12)).astype(np.int64)
TAKEN, GIVEN = Grid(0.05, -3), Grid(0.4, 10)
SIGNATURE = Signature(
    (TensorSpec("x", "int8", (1, 12), scale=TAKEN.scale, zero_point=TAKEN.zero_point),),
    (TensorSpec("y", "int8", (1, 6), scale=GIVEN.scale, zero_point=GIVEN.zero_point),),
)


def layer(sample: dict[str, Array], weights: Array = WEIGHTS, way: Callable[[Array], Array] = np.rint) -> Array:
    """A quantised linear layer: integers in, a sum, and its rounding onto the output's grid."""
    summed = (sample["x"].astype(np.int64) - TAKEN.zero_point) @ weights.T
    real = summed * TAKEN.scale * 0.02
    return np.clip(way(real / GIVEN.scale) + GIVEN.zero_point, -128, 127).astype(np.int8)


SAMPLES = [{"x": np.random.default_rng(seed).integers(-100, 101, (1, 12)).astype(np.int8)} for seed in range(8)]
REFERENCE = tuple({"y": layer(sample)} for sample in SAMPLES)
FLOORS = floors_of_moved(SIGNATURE, SAMPLES, REFERENCE, lambda given: [{"y": layer(sample)} for sample in given])
ANSWERS = Answers(REFERENCE, None, grids_of(SIGNATURE.outputs))


def word(candidate: list[Array]) -> str:
    """The verdict on answers that another implementation gave, controls included."""
    outputs = [{"y": array} for array in candidate]
    evidence = measure(ANSWERS, outputs, 80.0, FLOORS, again=outputs)
    told: str = judge(with_controls(evidence, ANSWERS, outputs, FLOORS, {}, Bars(), {}), Bars()).word
    return told


def test_the_floor_is_a_step_at_least_and_what_a_step_of_the_inputs_makes() -> None:
    scale = max(float(np.abs(GIVEN.real(each["y"])).max()) for each in REFERENCE)
    evidence = measure(ANSWERS, REFERENCE, 80.0, FLOORS)
    (output,) = evidence.outputs
    assert output.kind == "quantised" and output.scale == pytest.approx(scale)
    assert output.floor >= GIVEN.scale / scale
    assert output.floor == pytest.approx(max(FLOORS["y"], GIVEN.scale / scale))
    exact = measure(ANSWERS, REFERENCE, 80.0, {"y": 0.0})
    assert exact.outputs[0].floor == pytest.approx(GIVEN.scale / scale), "no less than its own step"


def test_the_same_answers_and_those_of_another_rounding_pass() -> None:
    assert word([each["y"] for each in REFERENCE]) == "PASS"
    assert word([layer(sample, way=np.floor) for sample in SAMPLES]) == "PASS"
    assert (
        word([layer(sample, way=lambda real: np.trunc(real + np.copysign(0.5, real))) for sample in SAMPLES]) == "PASS"
    )


FAULTS: dict[str, Callable[[], list[Array]]] = {
    "everything moved by six steps": lambda: [clipped(each["y"], np.asarray(6)) for each in REFERENCE],
    "a zero point taken for 0": lambda: [clipped(each["y"], np.asarray(-GIVEN.zero_point)) for each in REFERENCE],
    "a scale twice as wide": lambda: [
        np.clip((each["y"].astype(int) - GIVEN.zero_point) * 2 + GIVEN.zero_point, -128, 127).astype(np.int8)
        for each in REFERENCE
    ],
    "int8 read as uint8": lambda: [each["y"].view(np.uint8) for each in REFERENCE],
    "the scale of one channel": lambda: [
        layer(s, WEIGHTS * np.where(np.arange(6) == 2, 1.4, 1)[:, None]) for s in SAMPLES
    ],
    "two channels exchanged": lambda: [layer(sample, WEIGHTS[[1, 0, 2, 3, 4, 5]]) for sample in SAMPLES],
    "a weight of the other sign": lambda: [
        layer(s, np.where(WEIGHTS.max() == WEIGHTS, -WEIGHTS, WEIGHTS)) for s in SAMPLES
    ],
    "saturation that wraps": lambda: [
        (np.rint((s["x"].astype(int) - TAKEN.zero_point) @ WEIGHTS.T * TAKEN.scale * 0.02 / GIVEN.scale) + 110)
        .astype(np.int64)
        .astype(np.int8)
        for s in SAMPLES
    ],
    "answers of the sample before": lambda: [REFERENCE[max(0, i - 1)]["y"] for i in range(len(REFERENCE))],
    "the lowest four bits lost": lambda: coarsened([each["y"] for each in REFERENCE], 4) or [],
    "one answer for all": lambda: [REFERENCE[0]["y"]] * len(REFERENCE),
    "dequantised, as a float": lambda: [GIVEN.real(each["y"]).astype(np.float32) for each in REFERENCE],
    "another shape": lambda: [each["y"][0] for each in REFERENCE],
    "a sample less": lambda: [each["y"] for each in REFERENCE[:-1]],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails(fault: str) -> None:
    assert word(FAULTS[fault]()) == "FAIL"


def test_a_float_that_the_model_quantises_is_judged_in_its_steps() -> None:
    """The file's input and output are float32, its inside integer: answers lie on a grid, to the last digit or not."""
    given = {"y": Grid(GIVEN.scale, 0)}
    real = [(GIVEN.real(each["y"])).astype(np.float32) for each in REFERENCE]
    answers = Answers(tuple({"y": each} for each in real), None, given)

    def judged(candidate: list[Array]) -> str:
        outputs = [{"y": array} for array in candidate]
        return judge(measure(answers, outputs, 80.0, FLOORS), Bars()).word

    assert judged([each + np.float32(GIVEN.scale) for each in real]) == "PASS", "a step"
    assert judged([each + np.float32(6 * GIVEN.scale) for each in real]) == "FAIL"
    broken = [each.copy() for each in real]
    broken[3][0, 1] = np.nan
    assert judged(broken) == "FAIL"


def test_samples_that_a_step_turns_judge_nothing() -> None:
    """A bar so wide that half of the scale passes is none: the verdict says so, and passes nothing."""
    evidence = measure(ANSWERS, REFERENCE, 80.0, {"y": 0.2})
    (parity,) = [check for check in checks(evidence, Bars()) if check.name == "parity"]
    assert parity.verdict.word == "INCONCLUSIVE" and "a step of its quantisation" in parity.verdict.reasons[0]


integers = st.sampled_from(["int8", "uint8", "int16", "uint16", "int32"])


@settings(max_examples=200, deadline=None)
@given(integers, st.integers(-(1 << 20), 1 << 20), st.integers(0, 1 << 16))
def test_what_is_moved_never_wraps(dtype: str, way: int, seed: int) -> None:
    limits = np.iinfo(dtype)
    array = np.random.default_rng(seed).integers(limits.min, limits.max, 20, endpoint=True).astype(dtype)
    got = clipped(array, np.asarray(way))
    wanted = [min(max(int(each) + way, int(limits.min)), int(limits.max)) for each in array]
    assert got.dtype == array.dtype and got.tolist() == wanted


@settings(max_examples=200, deadline=None)
@given(integers, st.floats(1e-6, 1e3), st.integers(-128, 127), st.floats(0, 1), st.integers(0, 1 << 16))
def test_a_planted_shift_moves_every_value_that_has_room(
    dtype: str, scale: float, zero_point: int, share: float, seed: int
) -> None:
    limits = np.iinfo(dtype)
    arrays = [np.random.default_rng(seed).integers(limits.min, limits.max, 9, endpoint=True).astype(dtype)]
    grid = Grid(scale, zero_point)
    largest = float(np.abs(grid.real(arrays[0])).max())
    (got,) = shifted(arrays, grid, share, largest)
    apart = np.abs(got.astype(np.int64) - arrays[0].astype(np.int64))
    at_the_end = np.isin(got, [limits.min, limits.max])
    assert np.all((apart == max(1, int(np.ceil(share * largest / scale)))) | at_the_end)


@settings(max_examples=100, deadline=None)
@given(integers, st.integers(0, 1 << 16))
def test_inputs_are_moved_by_a_step_at_most(dtype: str, seed: int) -> None:
    limits = np.iinfo(dtype)
    array = np.random.default_rng(seed).integers(limits.min, limits.max, 50, endpoint=True).astype(dtype)
    taken = (TensorSpec("x", dtype, (50,), scale=0.5, zero_point=3), TensorSpec("mask", dtype, (50,)))
    (got,) = moved_samples([{"x": array, "mask": array}], Signature(taken, ()), seed)
    apart = np.abs(got["x"].astype(np.int64) - array.astype(np.int64))
    assert got["x"].dtype == array.dtype and apart.max() <= 1 and apart.any()
    assert got["mask"] is array, "an integer that is not quantised is an index or a mask: it stays"


def test_bits_that_are_zero_anyway_are_no_fault() -> None:
    assert coarsened([np.array([0, 16, -32], np.int8)], 4) is None
    assert [each.tolist() for each in coarsened([np.array([1, 17, -1], np.int8)], 4) or []] == [[0, 16, -16]]
