from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dlconv.records.outcome import Report
from dlconv.records.recorded import read
from dlconv.reports.model_card import document

MADE: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("made.py")))
RECORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("records.py")))

if TYPE_CHECKING:
    from collections.abc import Mapping

REPORTS: Mapping[str, tuple[Report, int]] = MADE["REPORTS"]


def header(card: str) -> dict[str, Any]:
    empty, told, _ = card.split("---\n", 2)
    assert empty == ""
    found: dict[str, Any] = yaml.safe_load(told)
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_the_header_is_yaml_and_names_what_passed_alone(name: str) -> None:
    report, _ = REPORTS[name]
    told = header(document(report))
    passed = {outcome.target for outcome in report.outcomes if outcome.word == "PASS"}
    assert set(told) <= {"library_name", "tags"}
    assert set(told["tags"]) == {"dlconv", *passed} | ({"fp32"} if passed else set())


def test_the_card_tells_what_was_recorded(tmp_path: Path) -> None:
    paths = [
        RECORDS["write"](tmp_path, "net-openvino-fp32", RECORDS["receipt"]()),
        RECORDS["write"](tmp_path, "net-tflite-fp32", RECORDS["receipt"]("tflite", wrong_by=2e-3)),
    ]
    card = document(read(paths).report)
    assert header(card) == {"library_name": "openvino", "tags": ["dlconv", "openvino", "fp32"]}
    assert "1 of 2 artifacts passed" in card
    assert "torch in float64, 16 samples (user)" in card
    assert "net-tflite-fp32 is FAIL: logits" in card and "made for 8x8 images alone" in card
    assert "dlconv export net.pt --to openvino" in card and "dlconv verify" in card
    inputs = card.partition("## Inputs and outputs")[2].partition("##")[0]
    assert "openvino fp32" in inputs and "tflite" not in inputs, "what failed is not offered"


def test_a_library_is_named_where_there_is_one(tmp_path: Path) -> None:
    paths = [RECORDS["write"](tmp_path, name, RECORDS["receipt"](name)) for name in ("onnx", "onnxruntime")]
    assert header(document(read(paths).report))["library_name"] == "onnx"
    paths.append(RECORDS["write"](tmp_path, "tflite", RECORDS["receipt"]("tflite")))
    assert "library_name" not in header(document(read(paths).report))
