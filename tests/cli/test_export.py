from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlconv.cli import main as door


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and logs of the test's own."""
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.onnx
def test_export_leaves_bundles_and_a_report(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(digits / "digits.onnx"), "--to", "onnx,onnxruntime", "-o", str(tmp_path / "out")]
    arguments += ["--samples", str(digits / "samples.npz")]
    assert door.run([*arguments, "--json", "-"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["schema"], told["exit_code"]) == ("dlconv.export/1", 0)
    assert [bundle["verdict"]["word"] for bundle in told["outcomes"]] == ["PASS", "PASS"]
    for bundle in told["outcomes"]:
        assert Path(bundle["path"]) == tmp_path / "out" / f"digits-{bundle['target']}-fp32"
        assert json.loads((Path(bundle["path"]) / "dlconv.json").read_text()) == bundle["receipt"]
    assert "onnx_to_onnx[onnxsim] (" in err

    assert door.run(arguments) == 0
    out, err = capsys.readouterr()
    assert "onnx_to_onnx[onnxsim]: from the cache" in err
    assert out.splitlines()[1].startswith("model ")
    assert "PASS" in out and str(tmp_path / "out" / "digits-onnx-fp32") in out


@pytest.mark.onnx
def test_a_wrong_input_name_is_exit_2(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(digits / "digits.onnx"), "--to", "onnx", "-o", str(tmp_path / "out")]
    assert door.run([*words, "--input", "picture:1x1x8x8"]) == 2
    err = capsys.readouterr().err
    assert "picture" in err and "image" in err
    assert "Traceback" not in err
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.onnx
def test_a_folder_that_is_a_file_is_exit_3(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("no folder")
    assert door.run(["export", str(digits / "digits.onnx"), "--to", "onnx", "-o", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.startswith("error: ")
    assert (tmp_path / "out").read_text() == "no folder"


@pytest.mark.onnx
def test_the_plan_tells_the_routes(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run(["plan", str(digits / "digits.onnx"), "--to", "onnx", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    (goal,) = json.loads(out)["targets"]
    assert goal["chosen"] == "onnx_to_onnx[onnxsim]"
    assert "-> onnx_to_onnx[onnxsim]  (taken first)" in err
    assert "onnx_to_onnx[onnxslim]  (number 2, if those before fail)" in err


def test_the_plan_says_what_is_missing(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dlconv.workers import toolchains

    def nowhere(toolchain: toolchains.Toolchain) -> toolchains.Missing:
        return toolchains.Missing(toolchain.name, ("it is not here",), toolchains.mend_of(toolchain))

    monkeypatch.setattr(toolchains, "locate", nowhere)
    assert door.run(["plan", str(digits / "digits.onnx"), "--to", "tflite"]) == 3
    out = capsys.readouterr().out
    assert "missing here:" in out
    assert "next: dlconv toolchain install onnx2tf" in out
    assert door.run(["export", str(digits / "digits.onnx"), "--to", "tflite"]) == 3
    assert "next: dlconv toolchain install onnx2tf" in capsys.readouterr().err
