from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dlconv


def test_the_names_are_pinned() -> None:
    classes = ["DiffOptions", "DlconvError", "ExportOptions", "TensorSpec", "TuneOptions", "VerifyOptions", "Wish"]
    functions = ["compare", "diff", "export", "inspect", "plan", "tune", "verify"]
    assert dlconv.__all__ == [*classes, "__version__", *functions]
    with pytest.raises(AttributeError, match="no attribute 'convert_all'"):
        _ = dlconv.convert_all  # type: ignore[attr-defined]


def test_no_module_hides_a_name() -> None:
    # A module named as a function would take its place as soon as anything imports it.
    root = Path(dlconv.__file__).parent
    modules = {path.stem for path in root.glob("*.py")} | {path.name for path in root.iterdir() if path.is_dir()}
    assert modules & set(dlconv.__all__) == set()


def test_import_is_light() -> None:
    program = (
        "import sys; before = set(sys.modules); import dlconv; "
        "print(sorted(name for name in set(sys.modules) - before if 'dlconv' in name or name in ('numpy', 'click')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['dlconv']"


@pytest.mark.onnx
def test_an_export_by_the_api(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))
    options = dlconv.ExportOptions(("onnx",), tmp_path / "out", name="mine")
    assert [goal.target for goal in dlconv.plan(digits / "digits.onnx", options).targets] == ["onnx"]
    (bundle,) = dlconv.export(digits / "digits.onnx", options).outcomes
    assert bundle.verdict is not None and bundle.verdict.word == "PASS"
    assert bundle.path == tmp_path / "out" / "mine-onnx-fp32"
    assert dlconv.inspect(bundle.path / "model.onnx").trouble is None
    assert dlconv.verify([bundle.path], dlconv.VerifyOptions()).exit_code == 0
    assert dlconv.compare(bundle.path, digits / "digits.onnx", dlconv.VerifyOptions()).exit_code == 0
