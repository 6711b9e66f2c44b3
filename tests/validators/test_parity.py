"""The judge never passes what is not the same model, and never accuses what is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.validators.answers import Answers, noise_floors
from dlconv.validators.controls import with_controls
from dlconv.validators.evidence import Evidence
from dlconv.validators.judging import RESOLUTION, judge
from dlconv.validators.parity import measure
from dlconv.validators.verdict import Verdict

FACTOR = 40.0
Outputs = dict[str, np.ndarray]


def answers(seed: int = 0, samples: int = 6, scale: float = 1.0) -> Answers:
    random = np.random.default_rng(seed)
    y64 = tuple(
        {"y": random.standard_normal((2, 5)) * scale, "label": random.integers(0, 9, 3)} for _ in range(samples)
    )
    y32 = tuple({"y": a["y"].astype(np.float32), "label": a["label"]} for a in y64)
    return Answers(y32, y64)


def evidence_of(reference: Answers, candidate: list[Outputs], **more: object) -> Evidence:
    floors = noise_floors(reference.best, [reference.y32])
    return measure(reference, candidate, FACTOR, floors, **more)  # type: ignore[arg-type]


def right(reference: Answers) -> list[Outputs]:
    return [{name: array.copy() for name, array in sample.items()} for sample in reference.y32]


def word(reference: Answers, candidate: list[Outputs]) -> str:
    return judge(evidence_of(reference, candidate)).word


def test_the_sources_own_float32_passes() -> None:
    assert word(answers(), right(answers())) == "PASS"


@given(st.integers(0, 5), st.integers(0, 9), st.sampled_from([np.nan, np.inf, -np.inf, 1e30]))
def test_one_bad_element_fails(sample: int, element: int, value: float) -> None:
    wrong = right(answers())
    wrong[sample]["y"].flat[element] = value
    assert word(answers(), wrong) == "FAIL"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda a: a.pop("y"), "lacks y"),
        (lambda a: a.update(more=a["y"]), "has more besides"),
        (lambda a: a.update(y=a["y"][:1]), "shape"),
        (lambda a: a.update(y=a["y"][None]), "shape"),
        (lambda a: a.update(y=a["y"].astype(np.float64)), "dtype float64"),
        (lambda a: a.update(label=a["label"].astype(np.int32)), "dtype int32"),
        (lambda a: a.update(label=a["label"] + 256), "differ"),
        (lambda a: a.update(y=a["y"] * np.float32(1.01)), "would have been needed"),
        (lambda a: a.update(y=np.zeros_like(a["y"])), "would have been needed"),
    ],
)
def test_each_fault_of_form_or_value_fails_and_is_told(fault: object, told: str) -> None:
    wrong = right(answers())
    for sample in wrong:
        fault(sample)  # type: ignore[operator]
    verdict = judge(evidence_of(answers(), wrong))
    assert verdict.word == "FAIL"
    assert told in " ".join(verdict.reasons)


def test_a_missing_sample_fails() -> None:
    assert word(answers(), right(answers())[:-1]) == "FAIL"


def test_a_sample_that_raised_fails() -> None:
    evidence = evidence_of(answers(), right(answers()), problems=("sample 3: RuntimeError: no",))
    assert judge(evidence) == Verdict("FAIL", ("sample 3: RuntimeError: no",))


def test_nothing_judged_is_no_pass() -> None:
    assert judge(Evidence((), 0, FACTOR)).word == "INCONCLUSIVE"
    assert judge(measure(Answers((), ()), [], FACTOR, {})).word == "INCONCLUSIVE"


def test_an_output_that_never_varies_is_inconclusive() -> None:
    constant = tuple({"y": np.ones((2, 5))} for _ in range(4))
    reference = Answers(tuple({"y": a["y"].astype(np.float32)} for a in constant), constant)
    verdict = judge(evidence_of(reference, right(reference)))
    assert verdict.word == "INCONCLUSIVE"
    assert "same for every sample" in verdict.reasons[0]


def test_scales_are_never_shared() -> None:
    """Scores lost beside exact boxes of 0 to 640: one large output must not widen another's bar."""
    random = np.random.default_rng(0)
    y64 = tuple({"boxes": random.uniform(0, 640, (20, 4)), "scores": random.uniform(0, 1, 20)} for _ in range(4))
    reference = Answers(tuple({k: v.astype(np.float32) for k, v in a.items()} for a in y64), y64)
    wrong = right(reference)
    for sample in wrong:
        sample["scores"][:] = 0
    assert word(reference, wrong) == "FAIL"


def test_a_model_too_noisy_to_judge_is_inconclusive_and_not_passed() -> None:
    y64 = answers().y64
    assert y64 is not None
    noisy = tuple({**a, "y": (a["y"] * 1.01).astype(np.float32)} for a in y64)
    assert word(Answers(noisy, y64), right(Answers(noisy, y64))) == "INCONCLUSIVE"


def test_an_integer_that_the_source_itself_is_unsure_of_is_inconclusive() -> None:
    reference = answers()
    unsure = right(reference)
    unsure[0]["label"][0] += 1
    doubtful = Answers(tuple(unsure), reference.y64)
    assert judge(measure(doubtful, unsure, FACTOR, {"y": 1e-7})).word == "INCONCLUSIVE"


def test_equal_infinities_are_equal_and_others_are_not() -> None:
    y64 = tuple({"y": np.array([np.inf, -np.inf, 2.0, i + 1.0])} for i in range(3))
    reference = Answers(tuple({"y": a["y"].astype(np.float32)} for a in y64), y64)
    assert word(reference, right(reference)) == "PASS"
    turned = right(reference)
    turned[0]["y"][0] = -np.inf
    assert word(reference, turned) == "FAIL"


@given(st.floats(1e-8, 1.0), st.floats(1.0, 1e6))
def test_a_larger_error_never_turns_fail_into_pass(error: float, factor: float) -> None:
    def verdict(size: float) -> str:
        moved = right(answers())
        moved[0]["y"] = (moved[0]["y"].astype(np.float64) + size).astype(np.float32)
        return word(answers(), moved)

    if verdict(error) == "FAIL":
        assert verdict(error * factor) == "FAIL"


@given(st.permutations(range(6)))
def test_the_order_of_samples_does_not_matter(order: list[int]) -> None:
    reference = answers()
    moved = right(reference)
    moved[2]["y"][0, 0] += np.float32(1e-5)
    turned = [moved[index] for index in order]
    one, other = evidence_of(reference, moved), evidence_of(reference.at(order), turned)
    assert judge(one).word == judge(other).word
    assert one.outputs[0].error == pytest.approx(other.outputs[0].error)


@given(st.integers(-20, 20), st.floats(0, 1e-4))
def test_the_scale_of_an_output_does_not_matter(power: int, error: float) -> None:
    def at(scale: float) -> Evidence:
        reference = answers(scale=scale)
        moved = right(reference)
        moved[0]["y"] += np.float32(error * scale)
        return evidence_of(reference, moved)

    small, large = at(1.0), at(2.0**power)
    assert small.outputs[0].error == pytest.approx(large.outputs[0].error, rel=1e-6, abs=1e-12)
    assert judge(small).word == judge(large).word


def test_the_worst_element_is_named() -> None:
    moved = right(answers())
    moved[4]["y"][1, 3] += np.float32(0.5)
    worst = evidence_of(answers(), moved).outputs[0].worst
    assert worst is not None
    assert (worst.sample, worst.index) == (4, (1, 3))
    assert worst.candidate - worst.reference == pytest.approx(0.5, rel=1e-5)


def test_a_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(Verdict("FAIL"))


def test_an_exact_float32_does_not_ask_for_an_exact_candidate() -> None:
    y64 = tuple({"y": np.arange(5.0) + i} for i in range(3))
    reference = Answers(tuple({"y": a["y"].astype(np.float32)} for a in y64), y64)
    assert noise_floors(y64, [reference.y32]) == {"y": 0.0}
    close = right(reference)
    close[0]["y"] *= np.float32(1 + RESOLUTION)
    assert word(reference, close) == "PASS"


class TestControls:
    def shown(self, reference: Answers, candidate: list[Outputs]) -> Evidence:
        floors = noise_floors(reference.best, [reference.y32])
        return with_controls(evidence_of(reference, candidate), reference, candidate, floors)

    def test_all_are_found_on_ordinary_outputs(self) -> None:
        seen = self.shown(answers(), right(answers()))
        assert {"a NaN in y", "y shifted", "a stale sample in y", "y rounded to bfloat16", "label shifted"} <= set(
            seen.controls
        )
        assert all(seen.controls.values()), seen.controls
        assert judge(seen).word == "PASS"

    def test_samples_that_hide_a_stale_answer_are_inconclusive(self) -> None:
        y64 = [{"y": np.full((2, 5), 3.0)} for _ in range(4)]
        y64[0]["y"][0, 0] += 1e-7  # it varies, by less than the bar
        reference = Answers(tuple({"y": a["y"].astype(np.float32)} for a in y64), tuple(y64))
        verdict = judge(self.shown(reference, right(reference)))
        assert verdict.word == "INCONCLUSIVE"
        assert "a stale sample in y" in verdict.reasons[0]

    def test_a_stale_answer_is_one_of_the_same_shape(self) -> None:
        rng = np.random.default_rng(5)
        for lengths, is_planted in (((2, 3, 2, 3), True), ((2, 3, 4, 5), False)):
            y64 = tuple({"y": rng.standard_normal(length)} for length in lengths)
            reference = Answers(tuple({"y": a["y"].astype(np.float32)} for a in y64), y64)
            seen = self.shown(reference, right(reference))
            assert ("a stale sample in y" in seen.controls) == is_planted
            assert judge(seen).word == "PASS", judge(seen)

    def test_outputs_that_could_be_swapped_unseen_are_inconclusive(self) -> None:
        y64 = tuple({"a": np.arange(4.0) + i, "b": np.arange(4.0) + i} for i in range(3))
        reference = Answers(tuple({k: v.astype(np.float32) for k, v in s.items()} for s in y64), y64)
        verdict = judge(self.shown(reference, right(reference)))
        assert verdict.word == "INCONCLUSIVE"
        assert "a and b swapped" in verdict.reasons[0]

    def test_a_failing_candidate_is_not_asked(self) -> None:
        wrong = right(answers())
        wrong[0]["y"] += np.float32(1)
        assert self.shown(answers(), wrong).controls == {}
