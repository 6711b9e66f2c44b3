"""The command `dlconv diff`: what it says, what it leaves, and how it exits."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from dlconv.cli import main as door

pytestmark = pytest.mark.onnx

_MODELS = runpy.run_path(str(Path(__file__).parents[1] / "diffing" / "diff_models.py"))
encoder, altered = _MODELS["encoder"], _MODELS["altered"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))


def test_two_models_that_part_are_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = encoder(tmp_path, 2)
    candidate = altered(network, 2)
    words = ["diff", str(candidate.path), "--against", str(network.path), "--draws", "1", "-o", str(tmp_path / "part")]
    assert door.run([*words, "--json", "-"]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["schema"], told["word"], told["exit_code"]) == ("dlconv.diff/1", "PARTED", 1)
    assert told["first"]["operator"] == told["ranked"][0]["operator"] == candidate.planted
    assert told["repro"]["shows"] and (tmp_path / "part" / "repro.py").is_file()
    assert f"part first at MatMul {candidate.planted}" in err and "repro.py" in err and "growth" in err


def test_an_overflow_is_told_with_its_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = encoder(tmp_path, 4, overflow=True)
    assert door.run(["diff", str(network.path), "--precision", "fp16", "--draws", "1", "--top", "3"]) == 1
    out = capsys.readouterr().out
    assert f"MatMul {network.planted}: overflow, where the right values reach" in out and "inf was given" in out
    assert "operators with less growth" in out


def test_together_is_exit_0(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(digits / "digits.onnx")
    assert (
        door.run(["diff", model, "--precision", "fp16", "--samples", str(digits / "samples.npz"), "--draws", "2"]) == 0
    )
    assert "TOGETHER" in capsys.readouterr().out


def test_wrong_requests_are_exit_2(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(digits / "digits.onnx")
    assert door.run(["diff", model]) == 2
    assert "--precision" in capsys.readouterr().err
    assert door.run(["diff", model, "--against", model, "--precision", "fp16"]) == 2
    assert door.run(["diff", str(tmp_path / "none.onnx"), "--precision", "fp16"]) == 2
    assert door.run(["diff", model, "--precision", "fp16", "--draws", "0"]) == 2


def test_a_model_that_does_not_run_is_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
    node, value, stored, save = (hostile[name] for name in ("_node", "_value", "_stored", "_save"))
    # The target shape has more elements than the tensor: known only when it runs.
    path = save(
        tmp_path, [node("Add", ["x", "x"], ["a"]), node("Reshape", ["a", "b"], ["y"])],
        [value("x"), value("b", [2], 7)], [value("y", ["N", "M"])], [stored("unused", [1])],
    )  # fmt: skip
    assert door.run(["diff", str(path), "--precision", "fp16"]) == 3
    assert "nothing could be compared" in capsys.readouterr().err
