"""`--provider` as a user types it: what is not here ends before any work; OpenVINO's runs for real."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlconv.asked import providers

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.onnx
@pytest.mark.parametrize(
    ("command", "name"), [("export", "cuda"), ("plan", "cuda"), ("export", "directml"), ("export", "xnnpack")]
)
def test_a_provider_that_is_not_here_is_exit_3_before_any_work(
    command: str, name: str, dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    import onnxruntime as ort

    if providers.find(name).execution in ort.get_available_providers():
        pytest.skip(f"this ONNX Runtime has {name}")
    words = ["--to", "onnx,onnxruntime", "--provider", name]
    ran = dlconv(command, digits / "digits.onnx", *words, *(["-o", tmp_path / "out"] if command == "export" else []))
    assert ran.code == 3
    assert any(package in ran.out + ran.err for package in (*providers.find(name).packages, "--use_xnnpack"))
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.onnx
@pytest.mark.onnxruntime_openvino
def test_a_bundle_for_openvinos_provider(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    ran = dlconv("export", digits / "digits.onnx", "--to", "onnxruntime", "--provider", "openvino", "-o", tmp_path)
    assert ran.code == 0, ran.err
    bundle = tmp_path / "digits-onnxruntime-openvino-fp32"
    receipt = json.loads((bundle / "dlconv.json").read_text())
    assert receipt["provider"] == "openvino"
    assert receipt["evidence"]["placement"]["shares"] == {"OpenVINOExecutionProvider": 1.0}
    taken = next(route for route in receipt["routes"] if route["outcome"] == "taken")
    assert taken["steps"][-1]["settings"]["provider"] == "openvino"

    for more in ((), ("--provider", "cpu")):
        assert dlconv("verify", bundle, *more).code == 0
    ran = dlconv("verify", bundle, "--json", tmp_path / "told.json")
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["outcomes"][0]["receipt"]["evidence"]["placement"]["provider"] == "openvino"
    timed = dlconv("bench", bundle, "--time", "0.1", "--json", tmp_path / "timed.json")
    assert timed.code == 0, timed.err
    (side,) = json.loads((tmp_path / "timed.json").read_text())["evidence"]["sides"]
    assert side["placement"]["provider"] == "openvino"


@pytest.mark.onnx
@pytest.mark.onnxruntime_openvino
def test_a_model_that_the_provider_leaves_to_the_cpu_fails(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    """OpenVINO's provider has no Det: ONNX Runtime would answer by the CPU without a word, and rightly."""
    hostile = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
    value, node, save = (hostile[name] for name in ("_value", "_node", "_save"))
    model = save(tmp_path, [node("Det", ["x"], ["y"])], [value("x", [2, 3, 3])], [value("y", [2])])
    words = ("--to", "onnxruntime", "--provider", "openvino", "--route", "onnx_to_onnx[plain],onnx_to_onnxruntime[all]")
    ran = dlconv("export", model, *words, "-o", tmp_path / "out")
    assert ran.code == 4 and "takes none of the model's nodes: 1 of 1 on CPUExecutionProvider" in ran.out
    assert list((tmp_path / "out").glob("*")) == []
    assert dlconv("export", model, "--to", "onnx", "-o", tmp_path / "out").code == 0
    (bundle,) = (tmp_path / "out").iterdir()
    ran = dlconv("verify", bundle, "--provider", "openvino")
    assert ran.code == 1 and "takes none of the model's nodes" in ran.out
