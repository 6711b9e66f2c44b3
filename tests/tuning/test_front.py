"""The front and the rule of the winner: on made figures, since what they say must not hang on this machine."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.tuning.contender import Contender, Setting, Timing
from dlconv.tuning.front import Wish, dominates, front_of, judged, winner_of
from dlconv.tuning.tuned import Tuned
from dlconv.validators.ratios import Ratio


def contender(
    target: str = "onnxruntime",
    precision: str = "fp32",
    ratio: float = 1.0,
    half: float = 0.01,
    size: int = 1000,
    error: float = 1e-6,
    noise: float = 0.02,
    base: float = 1.0,
    measurement: int = 0,
    **further: Any,
) -> Contender:
    """One that was measured. ratio: to its float32; base: of that to the anchor; half: of the intervals, as logs."""
    is_baseline = precision == "fp32"
    told = Ratio(ratio, ratio * math.exp(-half), ratio * math.exp(half), noise, (ratio,) * 3, 12)
    timing = Timing(
        measurement,
        math.log(ratio),
        0.0 if is_baseline else half,
        math.log(base),
        half if measurement else 0.0,
        noise,
        ratio * base,
        None if is_baseline else told,
    )
    threads = further.pop("threads", 1)
    known: dict[str, Any] = {
        "size_bytes": size,
        "error": error,
        "timing": timing,
        "command": "dlconv export it",
        **further,
    }
    return Contender(Setting(target, precision, threads), known.pop("word", "PASS"), **known)


def tuned(*contenders: Contender, wish: Wish | None = None) -> Tuned:
    return Tuned("net.onnx", contenders, wish or Wish(), (), contenders[0].name, 2.0, 60.0, 1.0)


FIGURES = st.tuples(
    st.sampled_from(["onnxruntime", "openvino"]),
    st.sampled_from(["fp16", "int8"]),
    st.sampled_from([0.25, 0.5, 1.0, 2.0, math.nan]) | st.floats(0.01, 100),
    st.sampled_from([1000, 2000]) | st.integers(1, 10**6),
    st.sampled_from([0.0, 1e-6, math.nan]) | st.floats(0, 1),
    st.sampled_from(["PASS", "PASS", "PASS", "FAIL", "INCONCLUSIVE", "SKIPPED", "ERROR", "NOT REACHED"]),
    st.booleans(),
)


def of_figures(index: int, figures: tuple[Any, ...]) -> Contender:
    target, precision, ratio, size, error, word, is_timed = figures
    made = contender(target, precision, 1.0, size=size, error=error, word=word, threads=index + 1)
    assert made.timing is not None
    timing = replace(made.timing, log=math.log(ratio)) if is_timed else None
    return replace(made, timing=timing)


CONTENDERS = st.lists(FIGURES, max_size=12).map(lambda each: [of_figures(*pair) for pair in enumerate(each)])


@given(CONTENDERS)
def test_nothing_on_the_front_is_dominated_and_all_else_is_by_one_on_it(contenders: list[Contender]) -> None:
    front = front_of(contenders)
    measured = [each for each in contenders if each.is_measured]
    assert all(each in measured for each in front)
    for each in front:
        assert not any(dominates(other.costs, each.costs) for other in measured)
    for each in measured:
        assert each in front or any(dominates(other.costs, each.costs) for other in front)
    assert bool(front) == bool(measured)


@given(CONTENDERS)
def test_what_did_not_pass_or_was_not_measured_is_never_on_the_front(contenders: list[Contender]) -> None:
    for each in front_of(contenders):
        assert each.word == "PASS" and each.timing is not None
        assert all(math.isfinite(cost) for cost in each.costs)


@given(CONTENDERS)
def test_the_order_in_which_they_come_does_not_matter(contenders: list[Contender]) -> None:
    assert front_of(contenders) == front_of(contenders[::-1])
    assert winner_of(contenders, Wish()) == winner_of(contenders[::-1], Wish())


@given(CONTENDERS, st.sampled_from([None, 0.5, 1.0, 1.5, 3.0]))
def test_a_winner_meets_what_is_asked_and_nothing_is_faster_beyond_the_noise(
    contenders: list[Contender], speedup: float | None
) -> None:
    wish = Wish(min_speedup=speedup)
    winner = winner_of(contenders, wish)
    able = [each for each in contenders if each.is_measured and judged(each, wish).word == "PASS"]
    assert (winner is None) == (not able)
    if winner is not None:
        assert winner in able and winner.timing is not None
        fastest = min(able, key=lambda each: each.costs)
        assert fastest.timing is not None and winner.timing.ties_with(fastest.timing)
        tied = [each for each in able if each.timing is not None and each.timing.ties_with(fastest.timing)]
        assert winner.size_bytes == min(each.size_bytes for each in tied)


def test_the_fastest_wins_beyond_the_noise() -> None:
    base, quick = contender(size=100), contender(precision="int8", ratio=0.5, size=5000, error=1e-2)
    assert winner_of([base, quick], Wish()) == quick


def test_a_tie_is_broken_by_size_and_then_by_error() -> None:
    base = contender(size=1000)
    near = contender(precision="int8", ratio=0.985, size=1001, error=1e-9)
    assert winner_of([base, near], Wish()) == base, "1.5% is within a noise floor of 2%"
    assert winner_of([base, replace(near, size_bytes=999)], Wish()).size_bytes == 999  # type: ignore[union-attr]
    assert winner_of([base, replace(near, size_bytes=1000)], Wish()).error == 1e-9  # type: ignore[union-attr]


def test_a_wide_interval_ties_more_than_the_noise_floor() -> None:
    base = contender(size=1000)
    assert winner_of([base, contender(precision="int8", ratio=0.8, half=0.3, size=1001)], Wish()) == base
    sure = contender(precision="int8", ratio=0.8, half=0.01, size=1001)
    assert winner_of([base, sure], Wish()) == sure


def test_of_several_measurements_the_anchors_uncertainty_counts() -> None:
    one = contender("onnxruntime", "int8", 0.90, half=0.06, size=2000)
    other = contender("openvino", "int8", 0.90, half=0.06, size=1000, base=1.1, measurement=1)
    assert one.timing is not None and other.timing is not None
    assert one.timing.ties_with(other.timing), "9.5% apart, within 0.06 x sqrt(3)"
    beside = replace(other.timing, measurement=0, base_log=0.0, base_half=0.0, log=one.timing.log - 0.095)
    assert not one.timing.ties_with(beside), "side by side the anchor drops out: 0.06 x sqrt(2)"


def test_a_speedup_is_asked_of_the_whole_interval() -> None:
    wish = Wish(min_speedup=1.5)
    assert judged(contender(precision="int8", ratio=0.5), wish).word == "PASS"
    assert judged(contender(precision="int8", ratio=1 / 1.5, half=0.05), wish).word == "INCONCLUSIVE"
    assert judged(contender(precision="int8", ratio=0.9), wish).word == "FAIL"
    assert judged(contender(), wish).word == "FAIL", "float32 is as fast as itself"


def test_a_drop_is_asked_for_and_not_guessed() -> None:
    wish = Wish(max_drop=0.005)
    assert judged(contender(precision="int8", drop=0.005), wish).word == "PASS"
    assert judged(contender(precision="int8", drop=-0.01), wish).word == "PASS"
    assert judged(contender(precision="int8", drop=0.006), wish).word == "FAIL"
    assert judged(contender(precision="int8", drop=math.nan), wish).word == "FAIL"
    assert judged(contender(precision="int8"), wish).word == "FAIL"


@pytest.mark.parametrize(
    ("precision", "ratio", "half", "said"),
    [
        ("int8", 1.4, 0.02, "int8 is of no use on onnxruntime here (onnxruntime int8, 1 thread): it is slower"),
        ("fp16", 0.99, 0.02, "it is not faster than float32 beyond the noise (0.99 times"),
        ("fp16", 0.9, 0.3, "it is not faster than float32 beyond the noise"),
        ("int8-weights", 1.4, 0.02, "saves storage, no time: it is slower than float32"),
    ],
)
def test_a_precision_that_is_no_faster_is_said_to_be_of_no_use(
    precision: str, ratio: float, half: float, said: str
) -> None:
    assert said in contender(precision=precision, ratio=ratio, half=half).use


def test_one_that_is_faster_or_did_not_pass_is_not_told_so() -> None:
    assert contender(precision="int8", ratio=0.5).use == contender().use == ""
    assert contender(precision="int8", ratio=2.0, word="FAIL").use == ""
    slow = contender(precision="int8", ratio=2.0)
    assert slow.use and replace(slow, setting=replace(slow.setting, option="xnnpack=off")).use == ""


def test_exit_codes() -> None:
    base, quick = contender(), contender(precision="int8", ratio=0.5)
    lost = Contender(Setting("tflite", "int8", 1), "SKIPPED", ("no runtime",))
    assert tuned(base, quick, lost).exit_code == 0
    assert tuned(base, quick, wish=Wish(min_speedup=4)).exit_code == 1
    doubted = contender(precision="int8", ratio=0.5, half=0.1)
    assert tuned(base, doubted, wish=Wish(min_speedup=2)).exit_code == 3
    assert tuned(lost).exit_code == 3
    assert tuned(replace(lost, word="FAIL"), lost).exit_code == 1
    assert tuned(replace(lost, word="ERROR")).exit_code == 4
    assert tuned(replace(lost, word="NOT REACHED"), replace(lost, word="ERROR")).exit_code == 3


def test_one_dominates_another_that_is_no_better_in_anything() -> None:
    nan = math.nan
    assert dominates((1, 2, 3), (1, 2, 4)) and dominates((0, 0, 0), (1, 1, 1))
    assert not dominates((1, 2, 3), (1, 2, 3)), "as good as the other is not better"
    assert not dominates((1, 2, 3), (2, 3, 2)) and not dominates((2, 3, 2), (1, 2, 3))
    assert not dominates((nan, 1, 1), (2, 2, 2)) and not dominates((1, 1, 1), (nan, 2, 2))
