"""What was asked for is what is there: the account of an artifact, judged."""

from __future__ import annotations

from typing import Any

import pytest

from dlconv.validators.attesting import LEAST_SHARE, attested, share_of
from dlconv.validators.evidence import Evidence, OutputEvidence
from dlconv.validators.judging import checks

HALF = {"operators": {"float16": 3, "float32": 1}, "weights": {"float16": 100}, "ran": {"float32": 4}}
FULL = {"operators": {"float32": 4}, "weights": {"float32": 100}, "ran": {"float32": 4}}
INT8 = {"operators": {"int8": 4}, "weights": {"int8": 100}, "ran": {"int8": 3, "float32": 1}}
STORED = {"operators": {"float32": 4}, "weights": {"int8": 90, "float32": 10}, "ran": {"float32": 4}}


@pytest.mark.parametrize(
    ("precision", "account", "word"),
    [
        ("fp16", HALF, "PASS"),
        ("fp16", FULL, "FAIL"),
        ("fp16", {**FULL, "weights": {"float16": 100}}, "PASS"),  # TFLite: its delegates compute in what is stored
        ("fp16-weights", HALF, "PASS"),
        ("fp16-weights", FULL, "FAIL"),
        ("bf16", {"operators": {"float32": 4}, "ran": {"bfloat16": 4}}, "PASS"),
        ("bf16", FULL, "FAIL"),
        ("int8", INT8, "PASS"),
        ("int8", {**INT8, "ran": {"float32": 4}}, "FAIL"),  # Q/DQ in the file, and float32 kernels
        ("int8", {"operators": {"int8": 4}}, "PASS"),  # a runtime that does not tell what ran
        ("int8", STORED, "FAIL"),
        ("int16x8", {"operators": {"int16": 4}, "weights": {"int8": 100}}, "PASS"),
        ("int16x8", INT8, "FAIL"),
        ("int8-weights", STORED, "PASS"),
        ("int8-weights", FULL, "FAIL"),
        ("int8", None, "INCONCLUSIVE"),
        ("int8-weights", {"operators": {"float32": 1}}, "INCONCLUSIVE"),
    ],
)
def test_what_is_asked_is_what_is_there(precision: str, account: dict[str, Any] | None, word: str) -> None:
    assert attested(precision, account, "tflite").verdict.word == word


@pytest.mark.parametrize("runtime", ["openvino", "tensorrt", ""])
def test_float16_that_is_stored_alone_is_no_fp16_but_where_files_have_no_other(runtime: str) -> None:
    stored = {**FULL, "weights": {"float16": 100}}
    told = attested("fp16", stored, runtime)
    assert told.verdict.word == "FAIL" and "0% of the operators" in told.verdict.reasons[0]
    assert attested("fp16", HALF, runtime).verdict.word == "PASS"
    output = OutputEvidence("y", "float32", "float", 10, 1.0, 1e-3, 1e-3)
    for name, word in (
        (runtime, "FAIL"),
        ("tflite", "PASS"),
        ("onnxruntime", "PASS"),
    ):  # in the receipt, and judged anew
        known = Evidence((output,), 2, 3.0, precision="fp16", account=stored, runtime=name)
        again = Evidence.from_dict(known.to_dict())
        assert {check.name: check.verdict.word for check in checks(again)}["precision"] == word


def test_a_share_just_below_the_least_fails() -> None:
    counts = {"float16": round(100 * LEAST_SHARE) - 1, "float32": 101 - round(100 * LEAST_SHARE)}
    assert attested("fp16", {"operators": counts}).verdict.word == "FAIL"
    assert share_of({}, "float16") is None


def test_it_is_asked_below_fp32_alone_and_decides_the_verdict() -> None:
    output = OutputEvidence("y", "float32", "float", 10, 1.0, 1e-3, 1e-3)
    below = Evidence((output,), 2, 3.0, precision="fp16", account=FULL)
    assert {check.name: check.verdict.word for check in checks(below)}["precision"] == "FAIL"
    assert "precision" not in {check.name for check in checks(Evidence((output,), 2, 40.0))}
    assert Evidence.from_dict(below.to_dict()) == below
