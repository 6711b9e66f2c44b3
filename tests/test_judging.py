"""Saved evidence, judged again: nothing is run, and nothing passes that no evidence stands behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlconv.asked.bars import Bars, OutputBars
from dlconv.errors import RequestError
from dlconv.judging import judge_again
from dlconv.validators.evidence import Evidence, OutputEvidence

RIGHT = OutputEvidence("y", "float32", "float", 10, 1.0, 1e-7, 2e-7, cosine=1.0, top1=1.0, repeat=0.0)
Receipt = dict[str, Any]


def receipt(*outputs: OutputEvidence, bars: Receipt | None = None, **more: Any) -> Receipt:
    evidence = Evidence(outputs or (RIGHT,), 8, 40.0, controls={"y shifted": True}, **more)
    source = {"name": "m.onnx"}
    return {"source": source, "target": "onnx", "precision": "fp32", "evidence": evidence.to_dict(), "bars": bars or {}}


def wrong(error: float = 3e-3) -> OutputEvidence:
    return OutputEvidence("y", "float32", "float", 10, 1.0, 1e-7, error, cosine=0.9999, top1=1.0, repeat=0.0)


def check(name: str, word: str) -> Receipt:
    return {"name": name, "subject": "", "verdict": {"word": word, "reasons": ["why"]}, "figures": {}}


def report(*told: tuple[Receipt | None, list[Receipt]]) -> Receipt:
    return {
        "outcomes": [{"name": f"m-{i}", "checks": checks, "receipt": body} for i, (body, checks) in enumerate(told)]
    }


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Receipt], Path]:
    def save(data: Receipt) -> Path:
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / "dlconv.json").write_text(json.dumps(data))
        return tmp_path / "m" / "dlconv.json"

    return save


def words(path: Path, bars: Bars | None = None) -> list[str]:
    return [outcome.word for outcome in judge_again([path], bars).outcomes]


def of_y(**bars: float) -> Bars:
    return Bars(outputs={"y": OutputBars(**bars)})


class TestBars:
    def test_what_judges_again_says_the_same_bars(self, saved: Callable[[Receipt], Path]) -> None:
        path = saved(receipt())
        (outcome,) = judge_again([path], Bars(factor=0.5, outputs={"y": OutputBars(max_error=0.01)})).outcomes
        for word in ("--factor 0.5", "--max-error y=0.01"):
            assert word in outcome.again
        (outcome,) = judge_again([path], None).outcomes
        assert outcome.again == f"dlconv judge {path}"

    def test_tighter_bars_fail_what_passed(self, saved: Callable[[Receipt], Path]) -> None:
        path = saved(receipt())
        assert words(path) == ["PASS"]
        assert words(path, Bars(factor=1.0)) == ["FAIL"]
        assert words(path, of_y(max_error=1e-7)) == ["FAIL"]
        assert words(path, of_y(min_sqnr_db=100)) == ["FAIL"], "there is no such figure"

    def test_only_a_bar_that_is_said_passes_what_failed(self, saved: Callable[[Receipt], Path]) -> None:
        path = saved(receipt(wrong()))
        assert words(path) == ["FAIL"]
        assert words(path, Bars()) == ["FAIL"]
        assert words(path, of_y(min_cosine=0.5)) == ["FAIL"], "asked besides, and not instead"
        assert words(path, Bars(outputs={"z": OutputBars(1.0)})) == ["FAIL"]
        assert words(path, of_y(max_error=1e-2)) == ["PASS"]

    def test_what_was_shown_no_planted_fault_does_not_pass_by_a_looser_bar(
        self, saved: Callable[[Receipt], Path]
    ) -> None:
        failed = receipt(wrong())
        failed["evidence"]["controls"] = {}
        assert words(saved(failed), of_y(max_error=1e-2)) == ["INCONCLUSIVE"]

    def test_the_receipt_s_own_bars_hold_where_none_are_said(self, saved: Callable[[Receipt], Path]) -> None:
        assert words(saved(receipt(bars={"factor": 1.0}))) == ["FAIL"]
        assert words(saved(receipt(wrong(), bars={"outputs": {"y": {"max_error": 0.01}}}))) == ["PASS"]
        assert words(saved(receipt(bars={"factor": 1.0})), Bars()) == ["PASS"]

    def test_bars_that_could_not_judge_are_refused(self, saved: Callable[[Receipt], Path]) -> None:
        for bars in ({"factor": -1}, {"factor": "nan"}, {"outputs": {"y": {"max_error": "inf"}}}, {"rtol": 1}):
            with pytest.raises(RequestError):
                words(saved(receipt(wrong(), bars=bars)))


class TestReports:
    def test_what_no_evidence_stands_behind_stays(self, saved: Callable[[Receipt], Path]) -> None:
        path = saved(report((receipt(), [check("files", "FAIL"), check("parity", "PASS")])))
        assert words(path) == ["FAIL"]
        assert words(path, of_y(max_error=1.0)) == ["FAIL"]
        path = saved(report((receipt(), [check("hardware", "SKIPPED")])))
        assert words(path) == ["SKIPPED"]

    def test_what_was_said_of_the_evidence_is_said_anew(self, saved: Callable[[Receipt], Path]) -> None:
        path = saved(report((receipt(wrong()), [check("files", "PASS"), check("parity", "PASS")])))
        assert words(path) == ["FAIL"]
        path = saved(report((receipt(), [check("parity", "FAIL"), check("controls", "FAIL")])))
        assert words(path) == ["PASS"]

    def test_what_was_not_run_is_no_pass(self, saved: Callable[[Receipt], Path]) -> None:
        path = saved(report((None, []), ({}, [check("run", "FAIL")]), ({"target": "onnx"}, [check("files", "PASS")])))
        assert words(path) == ["INCONCLUSIVE", "FAIL", "INCONCLUSIVE"]
        assert judge_again([path], None).exit_code == 1

    def test_a_report_of_nothing_is_no_pass(self, saved: Callable[[Receipt], Path]) -> None:
        assert judge_again([saved(report())], None).exit_code == 3

    def test_an_unknown_word_is_refused(self, saved: Callable[[Receipt], Path]) -> None:
        with pytest.raises(RequestError, match="no verdict"):
            words(saved(report((receipt(), [check("files", "FAILED")]))))

    def test_each_outcome_is_judged(self, saved: Callable[[Receipt], Path]) -> None:
        found = judge_again([saved(report((receipt(), []), (receipt(wrong()), [])))], None)
        assert [outcome.name for outcome in found.outcomes] == ["m-0", "m-1"]
        assert ([outcome.word for outcome in found.outcomes], found.exit_code) == (["PASS", "FAIL"], 1)


class TestDoubts:
    def test_problems_and_doubts_stay_whatever_the_bars(self, saved: Callable[[Receipt], Path]) -> None:
        loose = of_y(max_error=1e3)
        assert words(saved(receipt(problems=("sample 3 raised",))), loose) == ["FAIL"]
        assert words(saved(receipt(doubts=("it keeps state",))), loose) == ["INCONCLUSIVE"]

    def test_a_control_that_was_not_found_stays(self, saved: Callable[[Receipt], Path]) -> None:
        data = receipt()
        data["evidence"]["controls"]["a stale sample in y"] = False
        assert words(saved(data)) == ["INCONCLUSIVE"]
        assert words(saved(data), of_y(max_error=1e3)) == ["INCONCLUSIVE"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data["evidence"].pop("outputs"),
        lambda data: data["evidence"].pop("factor"),
        lambda data: data["evidence"]["outputs"][0].pop("error"),
        lambda data: data["evidence"]["outputs"][0].update(error=None),
        lambda data: data["evidence"]["outputs"][0].update(error="small"),
        lambda data: data["evidence"].update(outputs=None),
        lambda data: data["evidence"].update(samples="many"),
        lambda data: data.update(evidence=[]),
        lambda data: data.update(evidence="none"),
        lambda data: data.pop("source"),
        lambda data: data.update(bars=[]),
    ],
)
def test_damaged_evidence_is_a_wrong_request(
    damage: Callable[[Receipt], object], saved: Callable[[Receipt], Path]
) -> None:
    data = receipt()
    damage(data)
    with pytest.raises(RequestError):
        words(saved(data))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_figures_that_are_no_numbers_are_no_pass(value: str, saved: Callable[[Receipt], Path]) -> None:
    for figure in ("error", "repeat"):
        data = receipt()
        data["evidence"]["outputs"][0][figure] = value
        assert words(saved(data)) == ["FAIL"], figure
    data = receipt()
    data["evidence"]["outputs"][0]["floor"] = value
    assert words(saved(data)) != ["PASS"]


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '{"outcomes": 3}', '{"outcomes": [{}]}', "\x00"])
def test_what_is_no_evidence_is_a_wrong_request(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RequestError):
        judge_again([tmp_path / "x.json"], None)
    with pytest.raises(RequestError, match="there is no"):
        judge_again([tmp_path / "nowhere.json"], None)


def test_a_bundle_is_judged_by_its_receipt(saved: Callable[[Receipt], Path]) -> None:
    folder = saved(receipt()).parent
    assert words(folder) == ["PASS"]
    (outcome,) = judge_again([folder], None).outcomes
    assert (outcome.name, outcome.model, outcome.target, outcome.again) == (
        "m", "m.onnx", "onnx", f"dlconv judge {folder}"
    )  # fmt: skip


@pytest.mark.parametrize("bars", [None, Bars(factor=80.0)])
def test_a_latency_that_failed_stays_failed_where_no_other_bar_is_said(
    saved: Callable[[Receipt], Path], bars: Bars | None
) -> None:
    """Its bar may be of the command line, its evidence may be missing: nothing judges it anew."""
    path = saved(report((receipt(), [check("parity", "PASS"), check("latency", "FAIL")])))
    assert words(path, bars) == ["FAIL"]


def test_a_bar_for_a_latency_that_was_not_measured_is_no_pass(saved: Callable[[Receipt], Path]) -> None:
    assert words(saved(receipt(bars={"latency": {"max_ratio": 1.05}}))) == ["INCONCLUSIVE"]
