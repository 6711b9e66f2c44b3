"""A bar that could let everything pass is refused where it is said."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.asked.bars import Bars, LatencyBars, OutputBars
from dlconv.errors import RequestError

NO_BAR = (math.nan, math.inf, -math.inf, -1.0, True, "0.1")


@pytest.mark.parametrize("value", NO_BAR)
@pytest.mark.parametrize("key", ["max_error", "max_ulp", "min_top1", "min_top5", "max_drop"])
def test_an_output_s_bar_that_could_not_judge_is_refused(key: str, value: object) -> None:
    with pytest.raises(RequestError, match="no number that could judge") as caught:
        Bars(outputs={"y": OutputBars(**{key: value})})  # type: ignore[arg-type]
    assert caught.value.problems == (f"y.{key} is {value!r}",)


@pytest.mark.parametrize("value", NO_BAR)
def test_a_factor_and_a_latency_that_could_not_judge_are_refused(value: object) -> None:
    with pytest.raises(RequestError):
        Bars(factor=value)  # type: ignore[arg-type]
    with pytest.raises(RequestError):
        Bars(latency=LatencyBars(max_ratio=value))  # type: ignore[arg-type]


def test_signal_to_noise_and_cosine_may_be_negative_and_not_nan() -> None:
    Bars(outputs={"y": OutputBars(min_cosine=-1.0, min_sqnr_db=-3.0)})
    for key in ("min_cosine", "min_sqnr_db"):
        with pytest.raises(RequestError):
            Bars(outputs={"y": OutputBars(**{key: math.nan})})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        Bars(-1.0, {"a": OutputBars(max_error=math.nan), "b": OutputBars(max_ulp=math.inf)})
    assert len(caught.value.problems) == 3


def test_an_output_without_bars_has_those_of_every_output() -> None:
    bars = Bars(outputs={"*": OutputBars(0.5), "y": OutputBars(0.1)})
    assert (bars.of("y").max_error, bars.of("z").max_error) == (0.1, 0.5)
    assert Bars(outputs={"y": OutputBars(0.1)}).of("z") == OutputBars()


_number = st.one_of(st.none(), st.floats(0, 1e6))
_outputs = st.builds(OutputBars, _number, _number, _number, _number, _number, _number, _number)


@given(st.builds(Bars, _number, st.dictionaries(st.sampled_from(["*", "y", "z"]), _outputs)))
def test_bars_survive_their_own_json(bars: Bars) -> None:
    back = Bars.from_dict(json.loads(json.dumps(bars.to_dict())))
    assert (back.factor, back.latency) == (bars.factor, bars.latency)
    assert all(back.of(name) == bars.of(name) for name in ("*", "y", "z"))


@pytest.mark.parametrize(
    "data",
    [
        {"tolerance": 1e-3},
        {"outputs": {"y": {"rtol": 1e-3}}},
        {"outputs": {"y": 1e-3}},
        {"latency": {"p75_ms": 3}},
        {"factor": "nan"},
        {"outputs": {"y": {"max_error": "inf"}}},
    ],
)
def test_an_unknown_bar_is_no_bar_that_is_left_out(data: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        Bars.from_dict(data)
