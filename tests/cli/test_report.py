from __future__ import annotations

import builtins
import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from dlconv.cli import main as door

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "reports" / "records.py"))
receipt, write = RECORDS["receipt"], RECORDS["write"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_and_a_card_are_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "out", "net", receipt())
    assert door.run(["report", "out/net/dlconv.json"]) == 0
    assert "written: report.html" in capsys.readouterr().out
    assert "By <code>dlconv report out/net/dlconv.json</code>" in Path("report.html").read_text(encoding="utf-8")
    assert door.run(["report", "out/net/dlconv.json", "--model-card", "README.md"]) == 0
    assert Path("README.md").read_text(encoding="utf-8").startswith("---\n")


def test_the_exit_code_is_of_the_page_or_of_the_records(here: Path) -> None:
    path = str(write(here, "net", receipt(wrong_by=2e-3)))
    assert door.run(["report", path, "-o", "a.html", "-q"]) == 0
    assert door.run(["report", path, "-o", "a.html", "-q", "--strict"]) == 1
    assert "Not passed" in Path("a.html").read_text(encoding="utf-8")
    assert door.run(["report", "absent.json"]) == 2


def test_it_answers_as_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write(here, "net", receipt()))
    assert door.run(["report", path, "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "dlconv.report/1" and told["outcomes"][0]["word"] == "PASS"


def test_a_baseline_is_compared(here: Path) -> None:
    write(here / "old", "net", receipt(version="2025.4.0"))
    write(here / "new", "net", receipt())
    words = ["report", "new/net/dlconv.json", "--baseline", "old/net/dlconv.json", "-o", "a.html"]
    assert door.run(words) == 0
    assert "2025.4.0" in Path("a.html").read_text(encoding="utf-8")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter without the extra `report`."""
    real: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *further: Any) -> Any:
        if name.partition(".")[0] in ("jinja2", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *further)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(
    "words",
    [
        ["export", "absent.pt", "--to", "onnx", "--html", "a.html"],
        ["verify", "absent", "--html", "a.html"],
        ["bench", "absent.onnx", "--html", "a.html"],
        ["inspect", "absent.onnx", "--html", "a.html"],
        ["plan", "absent.onnx", "--to", "openvino", "--svg", "a.svg"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.usefixtures("bare")
def test_a_page_that_cannot_be_made_is_told_before_any_work(
    here: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert door.run(words) == 3, "or else that the model is absent would have been told first"
    assert "pip install 'dlconv[report]'" in capsys.readouterr().err
    assert not list(here.glob("a.*"))


def test_an_error_has_its_page_too(here: Path) -> None:
    assert door.run(["verify", "absent", "--html", "a.html"]) == 2
    text = Path("a.html").read_text(encoding="utf-8")
    assert "Not passed" in text and "error: request" in text


@pytest.mark.onnx
def test_a_verified_bundle_has_its_page(here: Path, digits_bundle: Callable[[str], Path]) -> None:
    place = digits_bundle("onnx")
    assert door.run(["verify", str(place), "--html", "a.html", "--model-card", "card.md", "-q"]) == 0
    text = Path("a.html").read_text(encoding="utf-8")
    assert "Passed" in text and "a NaN in probabilities" in text and "digits-onnx-fp32" in text


@pytest.mark.onnx
def test_an_export_records_its_command(here: Path, digits: Path) -> None:
    import shutil

    shutil.copy(digits / "digits.onnx", here)
    words = [
        "export",
        "digits.onnx",
        "--to",
        "onnx",
        "--samples",
        str(digits / "samples.npz"),
        "-q",
        "--html",
        "a.html",
    ]
    assert door.run(words) == 0
    told = json.loads(Path("digits-onnx-fp32/dlconv.json").read_text(encoding="utf-8"))
    assert told["command"] == "dlconv export digits.onnx --to onnx --samples samples.npz -q --html a.html"
    assert told["command"] in Path("a.html").read_text(encoding="utf-8")


@pytest.mark.onnx
def test_a_plan_is_drawn(here: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(digits / "digits.onnx")
    words = ["plan", model, "--to", "onnxruntime", "--svg", "a.svg", "--dot", "a.dot", "--mermaid", "-"]
    assert door.run(words) == 0
    assert capsys.readouterr().out.startswith("%%{init:")
    assert Path("a.dot").read_text(encoding="utf-8").startswith("digraph")
    assert ElementTree.parse("a.svg").getroot().tag.endswith("svg")


@pytest.mark.onnx
def test_a_model_is_shown(here: Path, digits: Path) -> None:
    assert door.run(["inspect", str(digits / "digits.onnx"), "--html", "a.html", "-q"]) == 0
    text = Path("a.html").read_text(encoding="utf-8")
    assert "21,546" in text and "probabilities" in text and "Gemm" in text and "netron.app" in text
