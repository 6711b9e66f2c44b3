"""No planted fault in the files of a bundle passes: neither by their digests, nor where the receipt was made to fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from artifact_table import ARTIFACT_FAULTS, ArtifactFault
from fault_judge import judged_bundle

from dlconv.model import digest_of
from dlconv.records.bundle import open_bundle
from dlconv.verification import VerifyOptions, verify

if TYPE_CHECKING:
    from dlconv.workers.crew import Crew

NEEDS = {
    "tflite": (pytest.mark.onnx, pytest.mark.onnx2tf, pytest.mark.tflite),
    "openvino": (pytest.mark.onnx, pytest.mark.openvino),
    "onnxruntime": (pytest.mark.onnx,),
}
TARGETS = [pytest.param(target, marks=marks) for target, marks in NEEDS.items()]
Bundles = Callable[[str], Path]


@pytest.mark.parametrize("target", TARGETS)
def test_without_a_fault(target: str, digits_bundle: Bundles, crew: Crew) -> None:
    judged = judged_bundle(open_bundle(digits_bundle(target)), crew)
    assert judged.verdict.word == "PASS", judged


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name, marks=NEEDS[fault.target]) for fault in ARTIFACT_FAULTS],
)
def test_a_fault_is_found(fault: ArtifactFault, digits_bundle: Bundles, crew: Crew, tmp_path: Path) -> None:
    bundle = open_bundle(shutil.copytree(digits_bundle(fault.target), tmp_path / "bundle"))
    assert bundle.changes() == ()
    fault.spoil(bundle.entry)
    assert bundle.changes(), "the digests tell it"
    judged = judged_bundle(bundle, crew)
    assert judged.verdict.word == "FAIL", judged
    assert judged.why


@pytest.mark.parametrize("target", TARGETS)
def test_a_fault_is_found_where_the_receipt_was_made_to_fit(
    target: str, digits_bundle: Bundles, tmp_path: Path
) -> None:
    """Someone who changes a file and its digest has a receipt that says PASS, and no verdict that does."""
    place = shutil.copytree(digits_bundle(target), tmp_path / "bundle")
    bundle = open_bundle(place)
    next(fault for fault in ARTIFACT_FAULTS if fault.target == target).spoil(bundle.entry)
    for file in bundle.receipt["artifact"]["files"]:
        file["digest"] = digest_of(place / file["path"])
    (place / "dlconv.json").write_text(json.dumps(bundle.receipt))
    report = verify([place], VerifyOptions())
    words = {check.name: check.verdict.word for check in report.outcomes[0].checks}
    assert (words["files"], words["parity"], report.exit_code) == ("PASS", "FAIL", 1)
