"""`dlconv verify` and `dlconv judge`: what a pipeline sees, which is the exit code and the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.cli import main as door
from dlconv.workers import gates, toolchains

pytestmark = pytest.mark.onnx
Bundles = Callable[[str], Path]


@pytest.fixture
def bundle(digits_bundle: Bundles, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_bundle("onnxruntime"), tmp_path / "digits-onnxruntime-fp32"))


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """The exit code of a command line, and its JSON."""

    def run(*words: object) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = door.run([*map(str, words), "--json", "-"])
        return code, json.loads(capsys.readouterr().out)

    return run


def spoil(bundle: Path) -> None:
    file = bundle / "model.onnx"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0x10
    file.write_bytes(whole)


def test_a_right_bundle_is_0_and_a_changed_one_1(bundle: Path, told: Callable[..., Any]) -> None:
    code, report = told("verify", bundle)
    assert (code, report["exit_code"], report["counts"]) == (0, 0, {"PASS": 1})
    assert report["outcomes"][0]["receipt"]["evidence"]["samples"] == 14
    spoil(bundle)
    code, report = told("verify", bundle)
    assert (code, report["exit_code"], report["counts"]) == (1, 1, {"FAIL": 1})
    assert "digest" in report["outcomes"][0]["checks"][0]["verdict"]["reasons"][0]


def test_a_judge_of_the_report_keeps_what_the_files_said(
    bundle: Path, tmp_path: Path, told: Callable[..., Any]
) -> None:
    assert door.run(["verify", str(bundle), "--json", str(tmp_path / "right.json")]) == 0
    assert told("judge", tmp_path / "right.json")[0] == 0
    assert told("judge", tmp_path / "right.json", "--factor", "0")[0] == 1
    assert told("judge", bundle, "--max-error", "1e-9")[0] == 1
    assert told("judge", bundle, "--max-error", "1e-3")[0] == 0
    assert told("judge", bundle, "--max-error", "nan")[0] == 2
    spoil(bundle)
    assert door.run(["verify", str(bundle), "--json", str(tmp_path / "wrong.json")]) == 1
    assert told("judge", tmp_path / "wrong.json", "--max-error", "1")[0] == 1
    assert told("judge", tmp_path / "right.json", tmp_path / "wrong.json")[0] == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--against", "{digits}/digits.onnx"),
        ("{bundle}", "{bundle}", "--against", "{digits}/digits.onnx"),
        ("{bundle}", "--map", "image=image"),
        ("{bundle}", "--samples", "{digits}/samples.npz"),
        ("{bundle}", "--project", "dlconv.toml"),
        ("{bundle}", "--max-error", "nan"),
        ("{bundle}", "--max-error", "-1"),
        ("{bundle}", "--factor", "inf"),
        ("{bundle}", "--allow-skip", "abacus"),
        ("{digits}",),
        ("{digits}/digits.onnx",),
        ("{digits}/digits.onnx", "--against", "{digits}/nowhere.onnx"),
        ("{digits}/digits.onnx", "--against", "{digits}/digits.onnx", "--map", "image=picture"),
        ("{digits}/digits.onnx", "--against", "{digits}/digits.onnx", "--samples", "{digits}/labels.npz"),
    ],
)
def test_a_wrong_request_is_2(words: tuple[str, ...], bundle: Path, digits: Path) -> None:
    assert door.run(["verify", *(word.format(bundle=bundle, digits=digits) for word in words)]) == 2


def test_a_damaged_receipt_is_2_and_told(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "dlconv.json").write_text("{")
    assert door.run(["verify", str(bundle)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_nothing_to_verify_is_no_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert door.run(["verify"]) == 2


def test_a_runtime_that_is_missing_is_3_unless_it_may_lack_beside_a_pass(
    bundle: Path, told: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second bundle is of a target whose toolchain is not here."""
    lacking = Path(shutil.copytree(bundle, tmp_path / "digits-tflite-fp32"))
    receipt = json.loads((lacking / "dlconv.json").read_text())
    (lacking / "dlconv.json").write_text(json.dumps(receipt | {"target": "tflite"}))
    tflite = replace(toolchains.get("tflite"), requirements=("ai-edge-litert>=99",), lock="none.txt", or_else="")
    (tmp_path / "none.txt").write_text("ai-edge-litert==99\n")
    locks = toolchains.LOCKS
    for file in locks.iterdir():
        shutil.copy(file, tmp_path / file.name)
    monkeypatch.setattr(toolchains, "LOCKS", tmp_path)
    others = tuple(tflite if known.name == "tflite" else known for known in toolchains.TOOLCHAINS)
    monkeypatch.setattr(toolchains, "TOOLCHAINS", others)

    code, report = told("verify", bundle, lacking)
    assert (code, report["counts"]) == (3, {"PASS": 1, "SKIPPED": 1})
    assert any("dlconv toolchain install tflite" in reason for reason in report["outcomes"][1]["verdict"]["reasons"])
    assert told("verify", bundle, lacking, "--allow-skip", "openvino")[0] == 3
    assert told("verify", bundle, lacking, "--allow-skip", "tflite")[0] == 0
    assert told("verify", lacking, "--allow-skip", "tflite")[0] == 3
    spoil(bundle)
    assert told("verify", bundle, lacking, "--allow-skip", "tflite,onnxruntime")[0] == 1


@pytest.mark.onnx
def test_what_is_required_may_not_be_lacking_whatever_is_allowed(
    bundle: Path, told: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second bundle is for a provider whose hardware is not here."""
    monkeypatch.setattr(gates, "GATES", {"nvidia": lambda: (gates.Gap("NVIDIA GPU", "none is here", "buy one"),)})
    lacking = Path(shutil.copytree(bundle, tmp_path / "digits-onnxruntime-cuda-fp32"))
    receipt = json.loads((lacking / "dlconv.json").read_text())
    (lacking / "dlconv.json").write_text(json.dumps(receipt | {"target": "onnxruntime", "provider": "cuda"}))
    allowed = ("verify", bundle, lacking, "--allow-skip", "onnxruntime")
    code, report = told(*allowed)
    assert (code, [outcome["word"] for outcome in report["outcomes"]]) == (0, ["PASS", "SKIPPED"])
    assert any("none is here" in reason for reason in report["outcomes"][1]["verdict"]["reasons"])
    code, report = told(*allowed, "--require", "cuda")
    assert (code, report["allowed"]) == (3, [])
    assert door.run([*map(str, allowed), "--require", "openvino"]) == 2  # nothing of it is there to be judged
    assert door.run([*map(str, allowed), "--require", "onnxruntime"]) == 2  # it is allowed and required


def test_two_models_by_samples_and_labels_of_the_user(digits: Path, tmp_path: Path, told: Callable[..., Any]) -> None:
    with np.load(digits / "samples.npz") as images, np.load(digits / "labels.npz") as classes:
        np.savez(tmp_path / "samples.npz", image=images["image"][:20])
        np.savez(tmp_path / "labels.npz", probabilities=classes["label"][:20])
    model = digits / "digits.onnx"
    words = ("verify", model, "--against", model, "--samples", tmp_path / "samples.npz")
    code, report = told(*words)
    assert code == 0
    (outcome,) = report["outcomes"]
    assert outcome["receipt"]["reference"]["samples"]["origin"] == "user"
    assert str(tmp_path / "samples.npz") in outcome["again"]
    code, _ = told(*words, "--max-drop", "0.5")
    assert code == 1, "a bar for accuracy, and no labels: nothing is left out that was asked for"
