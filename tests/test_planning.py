"""What a plan lacks: hardware that keeps one target from being made keeps no other from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dlconv import pipeline, planning
from dlconv.asked.options import ExportOptions, parse_required
from dlconv.errors import RequestError, ToolchainMissing
from dlconv.formats import Format
from dlconv.runtimes.nvidia_driver import Driver, Gpu
from dlconv.workers import gates, toolchains


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO needs a device that is not here."""
    gap = gates.Gap("a device", "none is here", "plug one in")
    monkeypatch.setattr(gates, "GATES", {"planted": lambda: (gap,)})
    openvino = replace(toolchains.get("openvino"), gate="planted")
    others = tuple(each for each in toolchains.TOOLCHAINS if each.name != "openvino")
    monkeypatch.setattr(toolchains, "TOOLCHAINS", (*others, openvino))


def plan(*targets: str) -> planning.Plan:
    return planning.make(Format.ONNX, ExportOptions(targets, Path("out")))


@pytest.mark.onnx
def test_alone_it_is_refused_and_beside_others_it_is_left_out(gated: None) -> None:
    with pytest.raises(ToolchainMissing) as refused:
        plan("openvino").split()
    assert refused.value.problems == ("a device (converting by onnx_to_openvino): none is here",)
    assert refused.value.mend == "plug one in"
    rest, without = plan("onnx", "openvino").split()
    assert [goal.target for goal in rest.targets] == ["onnx"]
    assert list(without) == ["openvino"] and without["openvino"].mend == "plug one in"


@pytest.mark.onnx
def test_what_a_package_brings_is_no_hardware(gated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(toolchains.get("tflite"), requirements=("no-such-one>=1",), or_else="", lock="onnx.txt")
    others = tuple(each for each in toolchains.TOOLCHAINS if each.name != "tflite")
    monkeypatch.setattr(toolchains, "TOOLCHAINS", (*others, absent))
    monkeypatch.setenv("DLCONV_HOME", "nowhere")
    with pytest.raises(ToolchainMissing) as refused:
        plan("onnx", "openvino", "tflite").split()
    assert len(refused.value.problems) >= 2  # all that is missing, at once


@pytest.mark.onnx
def test_an_export_tells_what_it_left_out_and_passes(gated: None, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = pipeline.export(digits / "digits.onnx", ExportOptions(("openvino", "onnx"), out))
    assert [(outcome.target, outcome.word) for outcome in report.outcomes] == [
        ("openvino", "SKIPPED"),
        ("onnx", "PASS"),
    ]
    assert report.exit_code == 0 and sorted(path.name for path in out.iterdir()) == ["digits-onnx-fp32"]
    assert "plug one in" in " ".join(report.outcomes[0].reasons)
    with pytest.raises(ToolchainMissing):
        pipeline.export(digits / "digits.onnx", ExportOptions(("openvino",), tmp_path / "none"))
    assert not (tmp_path / "none").exists()


@pytest.mark.onnx
def test_what_is_required_is_not_left_out(gated: None, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolchainMissing, match="openvino") as refused:
        plan("onnx", "openvino").split(frozenset({"openvino"}))
    assert refused.value.exit_code == 3 and refused.value.mend == "plug one in"
    rest, _ = plan("onnx", "openvino").split(frozenset({"onnx"}))
    assert [goal.target for goal in rest.targets] == ["onnx"]
    with pytest.raises(ToolchainMissing):
        options = ExportOptions(("onnx", "openvino"), tmp_path, require=frozenset({"openvino"}))
        pipeline.export(digits / "digits.onnx", options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_required_is_asked_for() -> None:
    with pytest.raises(RequestError) as met:
        ExportOptions(("onnx",), Path("out"), require=frozenset({"tensorrt", "cuda", "onnx"}))
    assert [problem.split()[0] for problem in met.value.problems] == ["cuda", "tensorrt"]
    ExportOptions(("onnxruntime",), Path("out"), provider="cuda", require=frozenset({"onnxruntime", "cuda"}))
    assert parse_required("tensorrt, cuda") == {"tensorrt", "cuda"} and parse_required("") == frozenset()
    with pytest.raises(RequestError, match="'cudnn' is no target and no provider"):
        parse_required("onnx,cudnn")


@pytest.mark.parametrize(("capability", "is_told"), [("7.5", True), ("8.0", False), ("10.0", False)])
def test_bfloat16_of_tensorrt_is_the_gpus_and_not_the_cpus(
    capability: str, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver("12.4", "550.1", (Gpu("Planted A", capability, 1 << 34),))
    monkeypatch.setattr(gates, "nvidia", lambda: driver)
    monkeypatch.setattr(planning, "computes_bfloat16", lambda: False)
    made = planning.make(Format.ONNX, ExportOptions(("tensorrt",), Path("out"), precision="bf16"))
    told = [lack.problem for lack in made.targets[0].lacks if lack.toolchain == "bfloat16"]
    assert told == (["Planted A (compute capability 7.5, 16 GiB) has no bfloat16"] if is_told else [])
