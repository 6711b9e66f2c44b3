"""Properties of the judge over all that evidence can say: it never fails open, whatever stands in the figures."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from dlconv.asked.bars import Bars, OutputBars
from dlconv.errors import SamplesError
from dlconv.validators.answers import Answers, noise_floors
from dlconv.validators.classes import accuracy, agreement
from dlconv.validators.controls import with_controls
from dlconv.validators.evidence import Accuracy, Evidence, OutputEvidence, Worst
from dlconv.validators.judging import RESOLUTION, bar_of, checks, judge, wilson
from dlconv.validators.parity import measure

FACTOR = 40.0
RIGHT = OutputEvidence("y", "float32", "float", 10, 1.0, 1e-7, 2e-7, 1e-8, 140.0, 1.0, 3.0, repeat=0.0)
EXACT = OutputEvidence("n", "int64", "exact", 10, 1.0, 0.0, 0.0, repeat=0.0)
NAN = math.nan
Outputs = dict[str, np.ndarray]


def evidence(*outputs: OutputEvidence, **more: Any) -> Evidence:
    return Evidence(outputs or (RIGHT, EXACT), 8, FACTOR, **more)


def word(*outputs: OutputEvidence, bars: Bars | None = None, **more: Any) -> str:
    return judge(evidence(*outputs, **more), bars).word


def reasons(*outputs: OutputEvidence, bars: Bars | None = None) -> str:
    return " ".join(judge(evidence(*outputs), bars).reasons)


def every(**bars: float) -> Bars:
    return Bars(outputs={"*": OutputBars(**bars)})


_size = st.one_of(st.floats(0, 1), st.floats(0, 1e-5), st.sampled_from([0.0, math.inf, NAN]))
_figure = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
_count = st.integers(0, 10)
_score = st.builds(lambda right, sure, more: Accuracy(right, sure, max(right, sure, 1) + more), _count, _count, _count)
_output = st.builds(
    OutputEvidence,
    name=st.sampled_from(["y", "z"]),
    dtype=st.just("float32"),
    kind=st.sampled_from(["float", "exact"]),
    elements=_count,
    scale=_size,
    floor=_size,
    error=_size,
    rms_error=_figure,
    sqnr_db=_figure,
    cosine=_figure,
    max_ulp=_figure,
    top1=_figure,
    top5=_figure,
    accuracy=st.one_of(st.none(), _score),
    repeat=st.one_of(st.none(), _size),
    mismatches=_count,
    undetermined=_count,
    nans=_count,
    varies=st.booleans(),
    worst=st.one_of(st.none(), st.builds(Worst, _count, st.just((0, 1)), st.floats(), st.floats())),
    problems=st.lists(st.text(max_size=5), max_size=1).map(tuple),
)
_evidence = st.builds(
    Evidence,
    st.lists(_output, max_size=3).map(tuple),
    st.integers(0, 9),
    st.one_of(st.floats(0, 100), st.just(NAN)),
    st.lists(st.text(max_size=5), max_size=1).map(tuple),
    st.dictionaries(st.text(max_size=5), st.booleans(), max_size=2),
    st.lists(st.text(max_size=5), max_size=1).map(tuple),
)
_bar = st.one_of(st.none(), st.floats(0, 1e3))
_bars = st.one_of(
    st.none(), st.builds(lambda f, *own: Bars(f, {"*": OutputBars(*own)}), _bar, *[_bar] * 7), st.just(Bars())
)


class TestNeverOpen:
    @given(_evidence, _bars)
    def test_a_pass_has_nothing_against_it(self, seen: Evidence, bars: Bars | None) -> None:
        if judge(seen, bars).word != "PASS":
            return
        assert seen.outputs and seen.samples >= 1
        assert not seen.problems and not seen.doubts and all(seen.controls.values())
        for output in seen.outputs:
            assert not output.problems and not output.nans and output.elements > 0
            assert output.varies and seen.samples > 1
            own = (bars or Bars()).of(output.name)
            factor = seen.factor if bars is None or bars.factor is None else bars.factor
            if output.kind == "float":
                assert output.error <= bar_of(output, factor, own)
            elif own.max_error is None:
                assert output.mismatches == 0
            assert output.repeat is None or output.repeat <= max(output.floor, RESOLUTION)

    @given(_evidence, _bars)
    def test_what_did_not_pass_says_why(self, seen: Evidence, bars: Bars | None) -> None:
        verdict = judge(seen, bars)
        assert verdict.word in ("PASS", "FAIL", "INCONCLUSIVE")
        assert bool(verdict.reasons) == (verdict.word != "PASS")

    @pytest.mark.parametrize("figure", ["floor", "error", "repeat"])
    def test_a_nan_in_a_figure_that_is_judged_is_no_pass(self, figure: str) -> None:
        assert word(RIGHT) == "PASS"
        assert word(replace(RIGHT, **{figure: NAN})) != "PASS"

    @pytest.mark.parametrize("figure", ["mismatches", "undetermined"])
    def test_a_nan_in_place_of_a_count_is_no_pass(self, figure: str) -> None:
        assert word(EXACT) == "PASS"
        assert word(replace(EXACT, **{figure: NAN})) != "PASS"

    def test_a_nan_for_the_factor_is_no_pass(self) -> None:
        assert judge(replace(evidence(), factor=NAN)).word != "PASS"

    @pytest.mark.parametrize(
        ("bar", "figure"),
        [
            ("min_cosine", "cosine"),
            ("min_sqnr_db", "sqnr_db"),
            ("max_ulp", "max_ulp"),
            ("min_top1", "top1"),
            ("min_top5", "top5"),
        ],
    )
    @pytest.mark.parametrize("value", [NAN, None])
    def test_a_bar_whose_figure_is_nan_or_not_there_fails(self, bar: str, figure: str, value: float | None) -> None:
        assert word(replace(RIGHT, **{figure: value}), bars=every(**{bar: 0.5})) == "FAIL"

    def test_a_bar_for_an_output_that_is_not_there_judges_nothing(self) -> None:
        assert word(RIGHT, bars=Bars(outputs={"yy": OutputBars(1e-3)})) == "INCONCLUSIVE"

    @pytest.mark.parametrize("seen", [Evidence((), 8, FACTOR), Evidence((RIGHT,), 0, FACTOR), Evidence((), 0, FACTOR)])
    def test_no_outputs_and_no_samples_are_no_pass(self, seen: Evidence) -> None:
        assert judge(seen).word == "INCONCLUSIVE"
        assert judge(replace(seen, problems=("it raised",))).word == "FAIL"

    def test_outputs_without_elements_are_no_pass(self) -> None:
        """A detector that finds nothing in any sample: there was nothing to compare."""
        assert word(replace(RIGHT, elements=0)) == "INCONCLUSIVE"
        assert "no element" in reasons(replace(EXACT, elements=0))

    def test_one_sample_is_no_pass(self) -> None:
        """An artifact that holds the right answer to it, and nothing else, would be right."""
        verdict = judge(replace(evidence(), samples=1))
        assert verdict.word == "INCONCLUSIVE" and "one sample alone" in verdict.reasons[0]

    def test_a_control_that_was_not_found_is_inconclusive_and_named(self) -> None:
        verdict = judge(evidence(controls={"y shifted": True, "a stale sample in y": False}))
        assert verdict.word == "INCONCLUSIVE"
        assert "a stale sample in y" in verdict.reasons[0] and "shifted" not in verdict.reasons[0]

    def test_two_runs_that_differ_fail_and_by_noise_do_not(self) -> None:
        assert word(replace(RIGHT, repeat=RESOLUTION)) == "PASS"
        assert word(replace(RIGHT, repeat=1.1 * RESOLUTION)) == "FAIL"
        assert word(replace(EXACT, repeat=1.0)) == "FAIL"


class TestMonotone:
    @given(st.floats(0, 1), st.floats(1, 1e6))
    def test_in_the_error(self, error: float, more: float) -> None:
        if word(replace(RIGHT, error=error)) == "FAIL":
            assert word(replace(RIGHT, error=error * more)) == "FAIL"

    @given(_evidence, st.floats(0, 1e3), st.floats(0, 1e3))
    def test_a_wider_factor_never_turns_pass_into_fail(self, seen: Evidence, one: float, other: float) -> None:
        narrow, wide = sorted([one, other])
        if judge(seen, Bars(narrow)).word == "PASS":
            assert judge(seen, Bars(wide)).word != "FAIL"

    @given(_evidence, st.sampled_from(list(vars(OutputBars()))), st.floats(0, 10), st.floats(0, 10))
    def test_a_wider_bar_never_turns_pass_into_fail(self, seen: Evidence, key: str, one: float, other: float) -> None:
        strict, loose = sorted([one, other], reverse=key.startswith("min"))
        if judge(seen, every(**{key: strict})).word == "PASS":
            assert judge(seen, every(**{key: loose})).word == "PASS"

    @given(_evidence, _bars, st.text(min_size=1, max_size=5))
    def test_one_more_problem_or_doubt_never_makes_a_pass(self, seen: Evidence, bars: Bars | None, more: str) -> None:
        assert judge(replace(seen, problems=(*seen.problems, more)), bars).word == "FAIL"
        assert judge(replace(seen, doubts=(*seen.doubts, more)), bars).word != "PASS"

    @given(_evidence, _output)
    def test_one_more_output_never_mends(self, seen: Evidence, more: OutputEvidence) -> None:
        before, after = judge(seen).word, judge(replace(seen, outputs=(*seen.outputs, more))).word
        if before != "PASS" and seen.outputs:
            assert after != "PASS"


class TestSaved:
    @given(_evidence, _bars)
    def test_evidence_read_back_from_its_json_gets_the_same_verdict(self, seen: Evidence, bars: Bars | None) -> None:
        text = json.dumps(seen.to_dict(), allow_nan=False)
        back = Evidence.from_dict(json.loads(text))
        assert judge(back, bars) == judge(seen, bars)
        assert json.dumps(back.to_dict()) == text

    def test_evidence_of_an_older_release_is_judged_without_what_it_did_not_measure(self) -> None:
        told = evidence().to_dict()
        for output in told["outputs"]:
            for key in ("top1", "top5", "accuracy", "repeat", "nans", "sqnr_db"):
                del output[key]
        del told["doubts"]
        assert judge(Evidence.from_dict(told)).word == "PASS"
        assert judge(Evidence.from_dict(told), every(min_top1=0.5)).word == "FAIL"

    @pytest.mark.parametrize("lost", ["error", "floor", "name", "kind", "problems", "worst", "elements", "scale"])
    def test_evidence_that_lacks_what_decides_is_no_evidence(self, lost: str) -> None:
        told = evidence(RIGHT).to_dict()
        del told["outputs"][0][lost]
        with pytest.raises((KeyError, TypeError)):
            Evidence.from_dict(told)

    @pytest.mark.parametrize("lost", ["outputs", "samples", "factor", "problems", "controls"])
    def test_a_set_that_lacks_what_decides_is_no_evidence(self, lost: str) -> None:
        told = evidence().to_dict()
        del told[lost]
        with pytest.raises(KeyError):
            Evidence.from_dict(told)


class TestReasons:
    def test_a_failure_tells_the_bar_that_would_have_been_needed(self) -> None:
        wrong = replace(RIGHT, error=3e-3, worst=Worst(2, (0, 7), 1.25, 1.5))
        told = reasons(wrong)
        assert "[0, 7] of sample 2: 1.5 for 1.25" in told
        needed = float(re.findall(r"factor of (\S+) would", told)[0])
        assert word(wrong, bars=Bars(needed * 1.01)) != "FAIL" and word(wrong, bars=Bars(needed * 0.99)) == "FAIL"
        told = reasons(wrong, bars=every(max_error=1e-3))
        needed = float(re.findall(r"bar of (\S+) would", told)[0])
        assert word(wrong, bars=every(max_error=needed)) == "PASS"

    def test_the_share_of_exact_elements_that_may_differ(self) -> None:
        wrong = replace(EXACT, error=1.0, mismatches=2)
        assert word(wrong) == "FAIL"
        assert "a bar of 0.2 would have been needed" in reasons(wrong, bars=every(max_error=0.1))
        assert word(wrong, bars=every(max_error=0.2)) == "PASS"

    def test_each_check_has_its_figures(self) -> None:
        seen = evidence(replace(RIGHT, accuracy=Accuracy(9, 10, 10)), EXACT, controls={"y shifted": True})
        told = {(check.name, check.subject): check.figures for check in checks(seen)}
        assert set(told) == {("answers", ""), ("parity", "y"), ("parity", "n"), ("determinism", ""), ("controls", "")}
        assert told["parity", "y"]["bar"] == pytest.approx(FACTOR * RESOLUTION)
        assert told["parity", "y"]["accuracy_interval"] == list(wilson(9, 10))
        json.dumps([check.to_dict() for check in checks(seen)], allow_nan=False)

    def test_a_drop_of_accuracy_is_judged_by_its_own_bar(self) -> None:
        scored = replace(RIGHT, accuracy=Accuracy(90, 95, 100))
        assert word(scored) == "PASS"
        assert word(scored, bars=every(max_drop=0.06)) == "PASS"
        assert word(scored, bars=every(max_drop=0.04)) == "FAIL"
        assert word(RIGHT, bars=every(max_drop=0.5)) == "FAIL"


@given(st.integers(1, 3000), st.data())
def test_the_interval_of_an_accuracy_is_wilson_s(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    wanted = stats.binomtest(right, count).proportion_ci(0.95, "wilson")
    assert wilson(right, count) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


# What is measured of arrays.


def floats(seed: int = 0, samples: int = 6) -> Answers:
    random = np.random.default_rng(seed)
    y64 = tuple({"y": random.standard_normal((2, 5)), "n": random.integers(0, 9, 3)} for _ in range(samples))
    return Answers(tuple({"y": a["y"].astype(np.float32), "n": a["n"]} for a in y64), y64)


def right(answers: Answers) -> list[Outputs]:
    return [{name: array.copy() for name, array in sample.items()} for sample in answers.y32]


def measured(answers: Answers, candidate: list[Outputs], **more: Any) -> Evidence:
    return measure(answers, candidate, FACTOR, noise_floors(answers.best, [answers.y32]), **more)


def spoil(kind: str, arrays: list[Outputs], where: int) -> None:
    sample, at = arrays[where % len(arrays)], where % 10
    if kind == "lost":
        del sample["y"]
    elif kind == "renamed":
        sample["Y"] = sample.pop("y")
    elif kind == "more":
        sample["more"] = np.zeros(3)
    elif kind == "nan":
        sample["y"].flat[at] = np.nan
    elif kind == "infinite":
        sample["y"].flat[at] = np.inf
    elif kind == "shape":
        sample["y"] = sample["y"].reshape(5, 2)
    elif kind == "broadcastable":
        sample["y"] = sample["y"][:, :1]
    elif kind == "scalar":
        sample["y"] = np.float32(0).reshape(())
    elif kind == "dtype":
        sample["y"] = sample["y"].astype(np.float64)
    elif kind == "half":
        sample["y"] = sample["y"].astype(np.float16)
    elif kind == "bytes":
        sample["n"] = sample["n"].astype(np.uint8)
    elif kind == "off by one":
        sample["n"][at % 3] += 1
    elif kind == "empty":
        sample["y"] = sample["y"][:0]
    elif kind == "sample lost":
        arrays.pop()
    elif kind == "sample more":
        arrays.append({name: array.copy() for name, array in arrays[0].items()})
    elif kind == "none":
        sample.clear()
    elif kind == "stale":
        for before, after in zip(right(floats()), arrays[1:], strict=False):
            after.update(before)


KINDS = (
    *("lost", "renamed", "more", "nan", "infinite", "shape", "broadcastable", "scalar", "dtype", "half", "bytes"),
    *("off by one", "empty", "sample lost", "sample more", "none", "stale"),
)


@given(st.sampled_from(KINDS), st.integers(0, 59))
def test_no_fault_of_form_passes_wherever_it_lies(kind: str, where: int) -> None:
    wrong = right(floats())
    spoil(kind, wrong, where)
    assert judge(measured(floats(), wrong)).word == "FAIL"
    assert judge(measured(floats(), wrong), every(max_error=1e-2)).word == "FAIL"


def test_one_sample_against_five_and_five_against_one_fail() -> None:
    assert judge(measured(floats(samples=5), right(floats(samples=1)))).word == "FAIL"
    assert judge(measured(floats(samples=1), right(floats(samples=5)))).word == "FAIL"


def test_an_answer_that_is_not_repeated_fails() -> None:
    again = right(floats())
    again[3]["y"][0, 0] += np.float32(1e-5)
    assert judge(measured(floats(), right(floats()), again=right(floats()))).word == "PASS"
    verdict = judge(measured(floats(), right(floats()), again=again))
    assert verdict.word == "FAIL" and "two runs on the same sample differ" in verdict.reasons[0]
    for kind in ("lost", "dtype", "shape", "nan", "off by one"):
        again = right(floats())
        spoil(kind, again, 3)
        assert judge(measured(floats(), right(floats()), again=again)).word == "FAIL", kind


def test_complex_outputs_are_compared_whole() -> None:
    """float64 of a complex number drops its imaginary part, and with it every fault that lies there."""
    random = np.random.default_rng(0)
    y = tuple(
        {"y": (random.standard_normal(4) + 1j * random.standard_normal(4)).astype(np.complex64)} for _ in range(3)
    )
    answers = Answers(y, None)
    wrong = [{"y": sample["y"].conj()} for sample in y]
    assert judge(measure(answers, wrong, FACTOR, {})).word != "PASS"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 1000))
def test_ulps_are_counted_exactly(start: float, steps: int) -> None:
    value = np.float32(start)
    moved = value
    for _ in range(steps):
        moved = np.nextafter(moved, np.float32(np.inf))
    assume(np.isfinite(moved))
    answers = Answers(({"y": np.array([value])},), ({"y": np.array([value], np.float64)},))
    found = measure(answers, [{"y": np.array([moved])}], FACTOR, {}).outputs[0].max_ulp
    assert found == steps


def test_ulps_across_zero_and_to_infinity() -> None:
    def ulps(one: float, two: float) -> float | None:
        answers = Answers(({"y": np.float32([one])},), ({"y": np.float64([one])},))
        return measure(answers, [{"y": np.float32([two])}], FACTOR, {}).outputs[0].max_ulp

    tiny = float(np.finfo(np.float32).smallest_subnormal)
    assert ulps(0.0, -0.0) == 0
    assert ulps(-tiny, tiny) == 2
    assert ulps(float(np.finfo(np.float32).max), math.inf) == math.inf
    assert ulps(1.0, NAN) == math.inf


class TestClasses:
    def test_agreement_counts_rows(self) -> None:
        sure = np.eye(8)[:4]
        got = np.eye(8)[[0, 1, 2, 7]] + np.linspace(0, 0.5, 8)  # row 3 prefers the last; 3 is fifth of eight
        assert agreement([sure], [got]) == {"top1": 0.75, "top5": 1.0}
        assert agreement([sure[:2], sure[2:]], [got[:2], got[2:]])["top1"] == 0.75

    def test_only_rows_of_scores_have_classes(self) -> None:
        for array in (np.zeros(5), np.zeros((3, 1)), np.zeros((0, 5)), np.zeros((2, 3, 4))):
            assert agreement([array], [array]) == {}
        assert agreement([np.eye(4)], [np.eye(4)])["top5"] is None

    def test_a_nan_in_the_candidate_is_no_agreement(self) -> None:
        got = np.eye(4)
        got[1, 3] = np.nan
        assert agreement([np.eye(4)], [got])["top1"] == 0.75

    def test_accuracy_is_of_both_sides(self) -> None:
        sure, got = np.eye(4)[[0, 1, 2, 3]], np.eye(4)[[0, 1, 1, 1]]
        assert accuracy(np.array([0, 1, 2, 0]), [sure], [got], "y") == Accuracy(2, 3, 4)

    def test_classes_themselves_can_be_right_too(self) -> None:
        assert accuracy(np.array([5, 6]), [np.array([5, 6])], [np.array([5, 7])], "y") == Accuracy(1, 2, 2)

    def test_draws_of_other_sizes_at_the_end_have_no_labels(self) -> None:
        """A file of labels belongs to the user's samples; dlconv adds up to two where a batch is free."""
        user, more = [np.eye(4)[[i]] for i in (0, 1, 2)], [np.eye(4)[[3]], np.eye(4)[[0, 1, 2]]]
        for drawn in ([], more[:1], more):
            assert accuracy(np.array([0, 1, 3]), [*user, *drawn], [*user, *drawn], "y") == Accuracy(2, 2, 3)
        assert accuracy(np.array([0, 1, 2, 3, 0, 1, 2]), [*user, *more], [*user, *more], "y").count == 7
        for labels in ([0], [0, 1], [0, 1, 2, 3, 0], [0] * 8):
            with pytest.raises(SamplesError):
                accuracy(np.array(labels), [*user, *more], [*user, *more], "y")

    def test_labels_of_another_number_are_refused(self) -> None:
        with pytest.raises(SamplesError, match="3 labels for 4 answers"):
            accuracy(np.array([0, 1, 2]), [np.eye(4)], [np.eye(4)], "y")

    @given(st.integers(0, 2**32 - 1), st.integers(2, 12))
    def test_a_model_agrees_with_itself(self, seed: int, classes: int) -> None:
        scores = np.random.default_rng(seed).standard_normal((6, classes)).round(1)
        found = agreement([scores], [scores])
        assert found["top1"] == 1.0 and found["top5"] in (1.0, None)


class TestControls:
    def shown(self, candidate: list[Outputs], answers: Answers, bars: Bars | None = None) -> dict[str, bool]:
        floors = noise_floors(answers.best, [answers.y32])
        seen = measure(answers, candidate, FACTOR, floors)
        return dict(with_controls(seen, answers, candidate, floors, bars=bars).controls)

    def test_a_bar_so_wide_that_it_hides_a_stale_sample_is_told(self) -> None:
        assert all(self.shown(right(floats()), floats()).values())
        wide = self.shown(right(floats()), floats(), every(max_error=10.0))
        assert wide["y shifted"] and not wide["a stale sample in y"]

    def test_swapped_axes_are_asked_of_square_outputs_alone(self) -> None:
        random = np.random.default_rng(0)
        y64 = tuple({"square": random.standard_normal((3, 3)), "flat": random.standard_normal((2, 3))} for _ in "ab")
        answers = Answers(tuple({k: v.astype(np.float32) for k, v in s.items()} for s in y64), y64)
        found = self.shown(right(answers), answers)
        assert found["two axes of square swapped"] and "two axes of flat swapped" not in found

    def test_symmetric_answers_have_no_axes_to_swap(self) -> None:
        y64 = tuple({"y": np.diag(np.arange(3.0) + i)} for i in range(3))
        answers = Answers(tuple({"y": s["y"].astype(np.float32)} for s in y64), y64)
        assert "two axes of y swapped" not in self.shown(right(answers), answers)

    def test_booleans_and_integers_are_asked_too(self) -> None:
        y = tuple({"n": np.arange(4) + i, "b": np.arange(4) > i} for i in range(3))
        found = self.shown(right(Answers(y, None)), Answers(y, None))
        assert found == dict.fromkeys(("n shifted", "b shifted", "a stale sample in n", "a stale sample in b"), True)


def test_answers_whose_shape_depends_on_the_precision_are_inconclusive() -> None:
    """A source that counts: nothing is broadcast to make its own two answers fit each other."""
    y32 = tuple({"y": np.ones((3, 4), np.float32) * i} for i in range(1, 4))
    y64 = tuple({"y": np.ones((1, 4)) * i} for i in range(1, 4))
    answers = Answers(y32, y64)
    floors = noise_floors(y64, [y32])
    assert floors == {"y": math.inf}
    verdict = judge(measure(answers, [dict(sample) for sample in y32], FACTOR, floors))
    assert verdict.word == "INCONCLUSIVE" and "differ in shape" in verdict.reasons[0]
