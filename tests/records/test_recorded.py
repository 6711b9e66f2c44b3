from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from dlconv.errors import RequestError
from dlconv.records.recorded import in_folders, read

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "reports" / "records.py"))
MADE: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "reports" / "made.py"))
receipt, write = RECORDS["receipt"], RECORDS["write"]


def test_the_records_of_the_tests_follow_the_schema() -> None:
    schema = json.loads((Path(__file__).parents[2] / "dlconv" / "receipt.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(receipt(), schema)
    jsonschema.validate(receipt(wrong_by=2e-3), schema)


def test_a_receipt_tells_of_its_outcome(tmp_path: Path) -> None:
    path = write(tmp_path, "net-openvino-fp32", receipt())
    (outcome,) = read([path]).report.outcomes
    assert (outcome.name, outcome.model, outcome.target, outcome.word) == (
        "net-openvino-fp32",
        "net.pt",
        "openvino",
        "PASS",
    )
    assert {check.name for check in outcome.checks} == {"answers", "parity", "determinism", "controls"}
    assert outcome.again == f"dlconv verify {path.parent}" and outcome.seconds > 0


def test_a_failed_one_is_failed(tmp_path: Path) -> None:
    recorded = read([write(tmp_path, "net", receipt(wrong_by=2e-3))])
    assert recorded.report.outcomes[0].word == "FAIL" and recorded.exit_code == 1


def forged(told: dict[str, Any]) -> None:
    told["verdict"] = {"word": "PASS", "reasons": []}


def blind(told: dict[str, Any]) -> None:
    forged(told)
    told["evidence"]["controls"]["logits shifted"] = False


@pytest.mark.parametrize(
    ("change", "wrong_by", "word"), [(forged, 2e-3, "FAIL"), (blind, 0.0, "INCONCLUSIVE")], ids=["forged", "blind"]
)
def test_a_verdict_better_than_its_evidence_is_not_believed(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], wrong_by: float, word: str
) -> None:
    told = receipt(wrong_by=wrong_by)
    change(told)
    (outcome,) = read([write(tmp_path, "net", told)]).report.outcomes
    assert outcome.word == word
    assert any("the receipt says PASS" in reason for check in outcome.checks for reason in check.verdict.reasons)


def test_a_verdict_worse_than_its_evidence_stands(tmp_path: Path) -> None:
    told = receipt()
    told["verdict"] = {"word": "INCONCLUSIVE", "reasons": ["it was said so"]}
    (outcome,) = read([write(tmp_path, "net", told)]).report.outcomes
    assert (outcome.word, outcome.reasons) == ("INCONCLUSIVE", ("it was said so",))


@pytest.mark.onnx
def test_a_bundle_whose_file_was_changed_has_failed(digits_bundle: Callable[[str], Path], tmp_path: Path) -> None:
    place = tmp_path / "digits-onnx-fp32"
    shutil.copytree(digits_bundle("onnx"), place)
    assert read([place]).report.outcomes[0].word == "PASS"
    with (place / "model.onnx").open("ab") as file:
        file.write(b"\0")
    recorded = read([place])
    assert recorded.report.outcomes[0].word == "FAIL" and recorded.exit_code == 1
    assert "model.onnx" in recorded.report.outcomes[0].reasons[0]


@pytest.mark.parametrize("name", [name for name in MADE["REPORTS"] if name != "ugly"])
def test_a_report_comes_back_from_json(tmp_path: Path, name: str) -> None:
    from dlconv.reports.as_json import document

    report, code = MADE["REPORTS"][name]
    path = tmp_path / "report.json"
    path.write_text(document("verify", report.to_dict()), encoding="utf-8")
    recorded = read([path])
    assert recorded.report == report or recorded.report.to_dict() == report.to_dict()
    assert recorded.exit_code == code


def test_a_measurement_is_read(tmp_path: Path) -> None:
    recorded = read([RECORDS["bench"](tmp_path)])
    (timing,) = recorded.timings
    assert timing.evidence == RECORDS["latency"]() and timing.name == "bench"
    assert recorded.exit_code == 0 and not recorded.report.outcomes


def test_names_stay_unique(tmp_path: Path) -> None:
    paths = [write(tmp_path / each, "net", receipt()) for each in ("a", "b")]
    assert [outcome.name for outcome in read(paths).report.outcomes] == ["net", "net (2)"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"outcomes": [{}], "allowed": []}', '{"evidence": {"sides": [{}]}}', '{"schema": 1}']
)
def test_what_is_no_record_is_a_wrong_request(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(RequestError):
        read([path])


def test_a_word_that_is_not_the_verdict_is_refused(tmp_path: Path) -> None:
    told = {"outcomes": [MADE["FAILED"].to_dict()], "allowed": []}
    told["outcomes"][0]["word"] = "PASS"
    path = tmp_path / "x.json"
    path.write_text(json.dumps(told))
    with pytest.raises(RequestError, match="is said to be PASS"):
        read([path])


def test_folders_are_looked_into(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path / "out", name, receipt())
    assert in_folders([tmp_path / "out"]) == [tmp_path / "out" / "a", tmp_path / "out" / "b"]
    assert in_folders([tmp_path / "out" / "a"]) == [tmp_path / "out" / "a"]
    (tmp_path / "empty").mkdir()
    for missing in ("empty", "absent"):
        with pytest.raises(RequestError):
            read(in_folders([tmp_path / missing]))
