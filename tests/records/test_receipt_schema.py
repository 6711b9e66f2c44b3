"""The receipt that an export leaves is what `receipt.schema.json` says, and the schema is not an empty promise."""

from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import dlconv

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = json.loads(resources.files("dlconv").joinpath("receipt.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

Receipt = dict[str, Any]


@pytest.fixture(scope="module")
def receipts(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Receipt]:
    """The receipt of each source's export of the sample model, as it lies on the disk."""
    out = tmp_path_factory.mktemp("out")
    found = {}
    for name, targets in (("digits.pt", ("onnx", "openvino")), ("digits.onnx", ("onnxruntime",))):
        options = dlconv.ExportOptions(targets, out / name, samples=digits / "samples.npz")
        for result in dlconv.export(digits / name, options).outcomes:
            assert result.path is not None, result.error
            found[f"{name} to {result.target}"] = json.loads((result.path / "dlconv.json").read_text(encoding="utf-8"))
    return found


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.torch
@pytest.mark.onnx
@pytest.mark.openvino
def test_receipts_follow_the_schema(receipts: dict[str, Receipt]) -> None:
    assert len(receipts) == 3
    for name, receipt in receipts.items():
        problems = [f"{name}: {error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(receipt)]
        assert not problems, "\n".join(problems)


def drop(*path: str | int) -> Callable[[Any], None]:
    def change(receipt: Any) -> None:
        for key in path[:-1]:
            receipt = receipt[key]
        del receipt[path[-1]]

    return change


def put(value: object, *path: str | int) -> Callable[[Any], None]:
    def change(receipt: Any) -> None:
        for key in path[:-1]:
            receipt = receipt[key]
        receipt[path[-1]] = value

    return change


FAULTS = {
    "another schema": put(2, "schema"),
    "no evidence": drop("evidence"),
    "an unknown key": put("x", "surprise"),
    "an unknown verdict": put("GOOD", "verdict", "word"),
    "a pass with reasons to doubt": put(["it is off by one"], "verdict", "reasons"),
    "a failure without a reason": put({"word": "FAIL", "reasons": []}, "verdict"),
    "no route taken": put("failed", "routes", 0, "outcome"),
    "no files": put([], "artifact", "files"),
    "a digest cut short": put("sha256:00", "artifact", "files", 0, "digest"),
    "an error that is text": put("small", "evidence", "outputs", 0, "error"),
    "no samples": put(0, "reference", "samples", "count"),
    "a local time": put("yesterday", "created"),
    "a control that is no answer": put({"nan": "found"}, "evidence", "controls"),
}


@pytest.mark.torch
@pytest.mark.onnx
@pytest.mark.openvino
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_receipt_is_refused(receipts: dict[str, Receipt], fault: str) -> None:
    receipt = copy.deepcopy(receipts["digits.pt to openvino"])
    FAULTS[fault](receipt)
    assert not VALIDATOR.is_valid(receipt)
