"""A right conversion is never accused: converted once, and judged on the samples of twenty seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_judge import Original, over_seeds
from fault_models import BLIND, MODELS

from dlconv.asked.options import ExportOptions, SourceOptions
from dlconv.hardware.here import cpu_features
from dlconv.making.cache import Cache
from dlconv.pipeline import export
from dlconv.records.bundle import open_bundle

if TYPE_CHECKING:
    from dlconv.records.bundle import Bundle
    from dlconv.workers.crew import Crew

SEEING = [name for name in MODELS if name not in BLIND]
pytestmark = [pytest.mark.onnx, pytest.mark.slow]


def bundles(path: Path, targets: tuple[str, ...], folder: Path) -> list[Bundle]:
    made = export(path, ExportOptions(targets, folder)).outcomes
    assert {outcome.target: outcome.word for outcome in made} == dict.fromkeys(targets, "PASS"), made
    return [open_bundle(outcome.path) for outcome in made if outcome.path is not None]


def accused(path: Path, made: list[Bundle], crew: Crew, cache: Cache) -> dict[str, str]:
    """What did not pass, by target and seed, with the first reason."""
    return {
        f"{target}, seed {seed}": f"{said.verdict.word}: {said.why}"
        for target, seed, said in over_seeds(path, made, crew, cache)
        if said.verdict.word != "PASS"
    }


@pytest.mark.openvino
@pytest.mark.onnx2tf
@pytest.mark.tflite
@pytest.mark.parametrize(
    "file",
    [
        "digits.onnx",
        pytest.param("digits.pt", marks=pytest.mark.torch),
        pytest.param("digits.pt2", marks=pytest.mark.torch),
    ],
)
def test_the_sample_model_in_three_targets(file: str, digits: Path, tmp_path: Path, crew: Crew) -> None:
    made = bundles(digits / file, ("onnxruntime", "openvino", "tflite"), tmp_path / "out")
    assert accused(digits / file, made, crew, Cache(tmp_path / "cache")) == {}


@pytest.mark.openvino
@pytest.mark.parametrize("name", SEEING)
def test_the_models_that_faults_are_planted_in(name: str, tmp_path: Path, crew: Crew) -> None:
    path = MODELS[name]().write(tmp_path / f"{name}.onnx")
    # OpenVINO's CPU plugin computes int64 in int32, and this model passes its end: see test_planted.
    targets = ("onnx",) if name == "integers" else ("onnx", "openvino")
    if name == "quantised" and not {"avx_vnni", "avx512_vnni", "asimddp"} & set(cpu_features()):
        pytest.skip("this CPU has no VNNI: 8-bit products are summed in 16 bits, and saturate: the alarm is right")
    made = bundles(path, targets, tmp_path / "out")
    assert accused(path, made, crew, Cache(tmp_path / "cache")) == {}


def test_weights_of_twenty_seeds(tmp_path: Path, crew: Crew) -> None:
    """Other weights, other noise: the bar moves with it."""
    found: dict[int, str] = {}
    for seed in range(20):
        path = MODELS["cnn"](seed).write(tmp_path / f"{seed}.onnx")  # type: ignore[call-arg]
        said = Original(path, crew, Cache(tmp_path / "cache"), SourceOptions(seed=seed)).judge(path)
        if said.verdict.word != "PASS":
            found[seed] = f"{said.verdict.word}: {said.why}"
    assert found == {}
