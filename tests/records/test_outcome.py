"""The exit code is 0 only where something passed and nothing else happened."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.errors import (
    ConversionError,
    DlconvError,
    MachineError,
    RequestError,
    SamplesError,
    SourceError,
    StepError,
    ToolchainMissing,
    WorkerCrashed,
)
from dlconv.records.outcome import Outcome, Report, skipped
from dlconv.validators.verdict import Check, Verdict, joined

ERRORS = (RequestError, SamplesError, MachineError, ToolchainMissing, ConversionError, SourceError, StepError,
          WorkerCrashed, DlconvError)  # fmt: skip
WORDS = ("PASS", "FAIL", "INCONCLUSIVE", "SKIPPED")
TARGETS = ("onnx", "tflite")


def said(word: str, target: str = "onnx") -> Outcome:
    error = MachineError("no runtime") if word == "SKIPPED" else None
    verdict = Verdict(word, () if word == "PASS" else ("why",))  # type: ignore[arg-type]
    return Outcome(f"m-{target}", "m", target, "fp32", verdict=verdict, error=error)


def broke(kind: type[DlconvError], target: str = "onnx") -> Outcome:
    return Outcome(f"m-{target}", "m", target, "fp32", error=kind("met"))


_outcome = st.one_of(
    st.builds(said, st.sampled_from(WORDS), st.sampled_from(TARGETS)),
    st.builds(broke, st.sampled_from(ERRORS), st.sampled_from(TARGETS)),
)
_report = st.builds(Report, st.lists(_outcome, max_size=5).map(tuple), st.frozensets(st.sampled_from(TARGETS)))


@given(_report)
def test_zero_means_that_one_passed_and_all_others_passed_or_may_lack(report: Report) -> None:
    rest = [outcome for outcome in report.outcomes if outcome.word != "PASS"]
    fine = len(rest) < len(report.outcomes) and all(
        outcome.word == "SKIPPED" and outcome.target in report.allowed for outcome in rest
    )
    assert (report.exit_code == 0) == fine


@given(_report, _outcome)
def test_what_did_not_pass_is_never_mended_by_one_more(report: Report, more: Outcome) -> None:
    if report.exit_code and report.outcomes and not all(map(report.may_lack, report.outcomes)):
        assert Report((*report.outcomes, more), report.allowed).exit_code != 0


@given(_report)
def test_the_order_of_outcomes_does_not_matter(report: Report) -> None:
    assert Report(report.outcomes[::-1], report.allowed).exit_code == report.exit_code


@given(_report)
def test_the_code_is_one_of_the_six(report: Report) -> None:
    assert report.exit_code in (0, 1, 2, 3, 4, 70)
    assert report.to_dict()["exit_code"] == report.exit_code
    assert sum(report.counts.values()) == len(report.outcomes)


@pytest.mark.parametrize("words", list(itertools.combinations_with_replacement(WORDS, 2)))
def test_the_worse_of_two_words_decides(words: tuple[str, str]) -> None:
    code = Report(tuple(map(said, words))).exit_code
    assert code == (1 if "FAIL" in words else 0 if words == ("PASS", "PASS") else 3)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(RequestError, 2), (SamplesError, 2), (MachineError, 3), (StepError, 4), (SourceError, 4), (DlconvError, 70)],
)
def test_an_error_beside_a_pass_is_its_own_code(kind: type[DlconvError], code: int) -> None:
    assert Report((said("PASS"), broke(kind))).exit_code == code


def test_a_failure_is_told_before_a_wrong_request_and_after_a_fault_of_our_own() -> None:
    assert Report((said("FAIL"), broke(RequestError))).exit_code == 1
    assert Report((said("FAIL"), broke(ConversionError))).exit_code == 4
    assert Report((said("FAIL"), broke(DlconvError), broke(ConversionError))).exit_code == 70


def test_nothing_is_no_pass() -> None:
    assert Report(()).exit_code == 3
    assert Report((said("SKIPPED", "tflite"),), frozenset({"tflite"})).exit_code == 3


def test_only_what_was_skipped_may_lack() -> None:
    allowed = frozenset(TARGETS)
    for word in ("FAIL", "INCONCLUSIVE"):
        assert Report((said("PASS"), said(word, "tflite")), allowed).exit_code != 0
    assert Report((said("PASS"), broke(MachineError, "tflite")), allowed).exit_code == 3
    assert Report((said("PASS"), said("SKIPPED", "tflite")), frozenset({"onnx"})).exit_code == 3
    assert Report((said("PASS"), said("SKIPPED", "tflite")), frozenset({"tflite"})).exit_code == 0


def test_skipped_says_what_mends_it() -> None:
    verdict = skipped(MachineError("no CUDA device", mend="use a machine with one"))
    assert verdict == Verdict("SKIPPED", ("no CUDA device", "next: use a machine with one"))


def checks(words: tuple[str, ...]) -> tuple[Check, ...]:
    return tuple(Check("parity", Verdict(word, (f"{word} {i}",))) for i, word in enumerate(words))  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(WORDS), max_size=6).map(tuple))
def test_joined_is_the_worst_word_with_its_own_reasons(words: tuple[str, ...]) -> None:
    verdict = joined(checks(words))
    if not words:
        assert verdict.word == "INCONCLUSIVE"
        return
    assert verdict.word == min(words, key=("FAIL", "INCONCLUSIVE", "SKIPPED", "PASS").index)
    wanted = tuple(f"{word} {i}" for i, word in enumerate(words) if word == verdict.word)
    assert verdict.reasons == (() if verdict.word == "PASS" else wanted)


@pytest.mark.parametrize("word", ["", "pass", "PASSED", "ok", None, True])
def test_an_unknown_word_in_a_saved_verdict_is_refused(word: object) -> None:
    """It is neither FAIL nor INCONCLUSIVE: whoever joined it with a PASS would pass it."""
    with pytest.raises(ValueError, match="no verdict"):
        Verdict.from_dict({"word": word, "reasons": []})
