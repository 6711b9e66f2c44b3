"""A source in float16 or bfloat16 is judged by the noise of its own arithmetic, not by a bar made for float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlconv.model import Signature, TensorSpec
from dlconv.samples import to_bfloat16
from dlconv.validators.answers import Answers
from dlconv.validators.controls import with_controls
from dlconv.validators.judging import HALF_FACTOR, bar_of, judge
from dlconv.validators.moved import answers_of_moved, moved_samples
from dlconv.validators.parity import measure

FACTOR = 40.0
finite = st.floats(-(2.0**100), 2.0**100, width=32)


def answers(noise: float = 5e-4, dtype: str = "float16") -> Answers:
    """Of a source whose own answers lie up to `noise` of the scale away from float64's, in runs of different luck."""
    random = np.random.default_rng(0)
    y64 = tuple({"y": random.uniform(-1, 1, (4, 50))} for _ in range(4))

    def near(share: float) -> tuple[dict[str, np.ndarray], ...]:
        return tuple({"y": (a["y"] + random.uniform(-share, share, (4, 50))).astype(dtype)} for a in y64)

    return Answers(near(noise / 4), y64, further=(near(noise), near(noise / 2)))


def off_by(reference: Answers, share: float) -> list[dict[str, np.ndarray]]:
    dtype = reference.y32[0]["y"].dtype
    found = [{"y": a["y"].astype(dtype)} for a in reference.best]
    found[1]["y"][2, 3] += dtype.type(share)
    return found


def word(reference: Answers, candidate: list[dict[str, np.ndarray]]) -> str:
    floors = reference.floors
    assert floors is not None
    evidence = measure(reference, candidate, FACTOR, floors)
    return judge(with_controls(evidence, reference, candidate, floors)).word


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_lies_within_its_own_noise_passes_and_what_lies_beyond_fails(dtype: str) -> None:
    """An output in float32 too: the arithmetic before it is what makes the noise."""
    reference = answers(dtype=dtype)
    assert word(reference, off_by(reference, 0)) == "PASS"
    assert word(reference, off_by(reference, 1e-3)) == "PASS"
    assert word(reference, off_by(reference, 4e-3)) == "FAIL"


def test_a_float32_model_of_that_noise_could_not_be_judged() -> None:
    plain = replace(answers(dtype="float32"), further=())
    assert word(plain, off_by(plain, 0)) == "PASS", "its single run was lucky: 40 times the noise is still a bar"
    assert word(plain, off_by(plain, 4e-3)) == "PASS", "and a wide one"


def test_the_noise_is_the_largest_of_several_runs() -> None:
    reference = answers()
    lucky = replace(reference, further=()).floors
    assert lucky is not None and reference.floors is not None
    assert reference.floors["y"] > 2 * lucky["y"]


def test_an_output_that_has_no_such_noise_keeps_the_bar_of_float32() -> None:
    reference = answers(noise=1e-6, dtype="float32")
    floors = reference.floors or {}
    (output,) = measure(reference, off_by(reference, 0), FACTOR, floors).outputs
    assert output.kind == "float" and bar_of(output, FACTOR) == pytest.approx(FACTOR * output.floor)
    (output,) = measure(answers(), off_by(answers(), 0), FACTOR, answers().floors or {}).outputs
    assert output.kind == "half" and bar_of(output, FACTOR) == HALF_FACTOR * output.floor


def test_noise_that_leaves_no_answers_is_inconclusive_and_told_as_such() -> None:
    reference = answers(noise=0.5, dtype="float32")
    verdict = judge(measure(reference, off_by(reference, 0), FACTOR, reference.floors or {}))
    assert verdict.word == "INCONCLUSIVE"
    assert "the noise of the model's own float16 or bfloat16 is" in verdict.reasons[0]


def test_answers_rounded_to_bfloat16_are_found_in_float16() -> None:
    reference = answers(noise=3e-4)
    evidence = measure(reference, off_by(reference, 0), FACTOR, reference.floors or {})
    shown = with_controls(evidence, reference, off_by(reference, 0), reference.floors or {})
    assert shown.controls["y rounded to bfloat16"] is True


def test_some_of_the_samples_are_some_of_all_answers() -> None:
    cut = answers().at([2, 0])
    assert [len(each) for each in (cut.y32, cut.y64 or (), *cut.further)] == [2, 2, 2, 2]
    assert cut.further[1][0] is answers().further[1][2] or np.array_equal(
        cut.further[1][0]["y"], answers().further[1][2]["y"]
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(finite, min_size=1, max_size=20))
def test_rounding_to_bfloat16_is_that_of_ml_dtypes(values: list[float]) -> None:
    import ml_dtypes

    array = np.array(values, np.float32)
    np.testing.assert_array_equal(to_bfloat16(array), array.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_ties_go_to_the_even_neighbour() -> None:
    got = to_bfloat16(np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8], np.float32))
    np.testing.assert_array_equal(got, [1, 1 + 2**-6, -1])


def test_what_is_no_number_stays_so_in_bfloat16() -> None:
    got = to_bfloat16(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32))
    np.testing.assert_array_equal(got, [np.nan, np.inf, -np.inf, 0.0, -0.0])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(finite, min_size=1, max_size=20), st.integers(0, 2), st.sampled_from(["float16", "bfloat16", "float32"])
)
def test_a_float_is_moved_to_its_neighbour_in_its_own_dtype(values: list[float], move: int, dtype: str) -> None:
    spec = TensorSpec("x", dtype, (len(values),))
    with np.errstate(over="ignore"):
        array = np.array(values, np.float32).clip(-6e4, 6e4).astype(spec.array_dtype)
    array = to_bfloat16(array) if dtype == "bfloat16" else array
    (got,) = moved_samples([{"x": array}], Signature((spec,), ()), move)
    assert got["x"].dtype == array.dtype and np.all(got["x"] != array)
    if dtype == "bfloat16":
        np.testing.assert_array_equal(to_bfloat16(got["x"]), got["x"])
        steps = got["x"].view(np.int32).astype(np.int64) - array.view(np.int32)
        assert set(np.abs(steps)) == {1 << 16}
    else:
        between = np.nextafter(array, got["x"])
        np.testing.assert_array_equal(between, got["x"])


def test_a_run_that_a_moved_sample_ended_tells_no_noise() -> None:
    spec = TensorSpec("x", "float16", (2,))
    samples = [{"x": np.ones(2, np.float16)}]
    runs = iter([[{"y": np.ones(1)}], [{}], [{"y": np.zeros(1)}]])
    further = answers_of_moved(Signature((spec,), ()), samples, lambda _: next(runs))
    assert [each[0]["y"].item() for each in further] == [1.0, 0.0]
