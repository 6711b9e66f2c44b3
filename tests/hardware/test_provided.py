"""What a provider lacks here is told before any work; bundles are run by the provider that they were made for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dlconv import candidate
from dlconv.asked import providers
from dlconv.asked.options import ExportOptions
from dlconv.errors import HardwareMissing, PackagesMissing, RequestError
from dlconv.hardware import provided
from dlconv.workers import gates, toolchains

ABSENT = tuple(name for name in providers.NAMES if name not in ("cpu", "openvino", "xnnpack"))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux machine with the plain package of ONNX Runtime, and without hardware."""
    located = toolchains.Located(Path(sys.executable), "this interpreter", {"onnxruntime": "1.31.1"})
    monkeypatch.setattr(toolchains, "locate", lambda toolchain: located)
    monkeypatch.setattr(provided, "installed_here", lambda names: {})
    monkeypatch.setattr(sys, "platform", "linux")
    missing = (gates.Gap("GPU", "none is here", "buy one"),)
    monkeypatch.setattr(gates, "gaps", lambda gate: missing if gate else ())


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", ABSENT)
def test_what_a_provider_lacks_is_told_with_the_package(name: str) -> None:
    found = providers.find(name)
    gaps = provided.lacks(name)
    mends = " ".join(gap.mend for gap in gaps)
    assert found.packages[0] in mends, mends
    assert bool(found.gate) == ("buy one" in mends)
    with pytest.raises(HardwareMissing if found.gate else PackagesMissing) as met:
        provided.check(name)
    assert len(met.value.problems) == len(gaps) and met.value.mend


@pytest.mark.usefixtures("bare")
def test_what_lacks_nothing_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provided.lacks("cpu") == () == provided.lacks("xnnpack")  # whether it is built in is known once it is asked
    monkeypatch.setattr(provided, "installed_here", lambda names: {"onnxruntime-gpu": "1.31.1"})
    monkeypatch.setattr(gates, "gaps", lambda gate: ())
    provided.check("cuda")


def test_a_provider_takes_the_model_as_it_is() -> None:
    runtime = provided.runtime_for("onnxruntime", "openvino")
    assert runtime.toolchain == "onnxruntime-openvino"
    assert (runtime.settings["provider"], runtime.settings["optimisation"]) == ("openvino", "all")
    assert provided.runtime_for("onnx", "openvino") == candidate.RUNTIMES["onnx"]
    assert provided.runtime_for("onnxruntime", "cpu") == candidate.RUNTIMES["onnxruntime"]
    with pytest.raises(RequestError, match="providers are ONNX Runtime's"):
        provided.by_provider(candidate.RUNTIMES["tflite"], "cpu")


def test_a_bundle_is_run_by_what_it_was_made_for_or_as_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provided, "check", lambda name: None)
    plain = candidate.RUNTIMES["onnxruntime"]
    assert provided.of_bundle(plain, "onnxruntime", "", "") == plain
    assert provided.of_bundle(plain, "onnxruntime", "openvino", "").settings["provider"] == "openvino"
    assert provided.of_bundle(plain, "onnxruntime", "openvino", "cuda").settings["provider"] == "cuda"
    by_cpu = provided.of_bundle(plain, "onnxruntime", "openvino", "cpu")
    assert "provider" not in by_cpu.settings and by_cpu.settings["optimisation"] == "all"
    assert provided.of_bundle(candidate.RUNTIMES["onnx"], "onnx", "", "cuda").settings["provider"] == "cuda"
    with pytest.raises(RequestError, match="is optimised for the CPU"):
        provided.of_bundle(plain, "onnxruntime", "", "cuda")


def test_options_with_a_provider_are_checked(tmp_path: Path) -> None:
    for targets, provider in ((("onnx",), "cuda"), (("onnxruntime",), "gpu")):
        with pytest.raises(RequestError, match="cannot be served") as met:
            ExportOptions(targets, tmp_path, provider=provider)
        assert "provider" in met.value.problems[0]
    plain = ExportOptions(("onnxruntime",), tmp_path)
    assert plain.request_digest() != ExportOptions(("onnxruntime",), tmp_path, provider="cuda").request_digest()
