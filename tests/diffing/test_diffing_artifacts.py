"""Where an artifact parts from its source: bundles, and OpenVINO's IR, which shows its tensors by the ONNX's names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlconv
from dlconv.asked.options import SourceOptions
from dlconv.diffing.diff import DiffOptions, found_in
from dlconv.diffing.difference import Difference
from dlconv.errors import RequestError
from dlconv.events import Silence
from dlconv.workers.crew import Crew


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with Crew(tmp_path_factory.mktemp("logs"), slots=2, memory_limit_bytes=None, timeout_s=240) as made:
        yield made


@pytest.fixture(scope="module")
def bundles(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model as a bundle of OpenVINO and one of ONNX Runtime; beside them the source."""
    place = tmp_path_factory.mktemp("bundles")
    source = Path(shutil.copy(digits / "digits.onnx", place / "digits.onnx"))
    options = dlconv.ExportOptions(("openvino", "onnxruntime"), place, samples=digits / "samples.npz", name="digits")
    assert dlconv.export(source, options).exit_code == 0
    return place


def find(crew: Crew, candidate: Path, against: Path | None = None, **words: Any) -> Difference:
    return found_in(candidate, against, DiffOptions(source=SourceOptions(draws=2), **words), crew, Silence())


def rounded(ir: Path, to: Path, weight: str) -> None:
    """A copy of the IR in which a stored tensor has steps of an eighth."""
    import openvino

    model = openvino.Core().read_model(str(ir))
    (node,) = [each for each in model.get_ops() if each.get_friendly_name() == weight]
    coarse = openvino.opset13.constant(np.round(node.data * 8) / np.float32(8))
    node.output(0).replace(coarse.output(0))
    openvino.save_model(model, str(to), compress_to_fp16=False)


@pytest.mark.onnx
@pytest.mark.openvino
@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_a_right_bundle_goes_together_with_its_source(target: str, bundles: Path, crew: Crew) -> None:
    found = find(crew, bundles / f"digits-{target}-fp32")
    assert found.word == "TOGETHER" and found.reference.startswith(f"digits-{target}-fp32, by onnx_to_onnx")
    assert len(found.partings) >= 5 and found.outputs[0].noise < 40
    if target == "openvino":  # which shows all of them
        assert len(found.partings) == found.operators


@pytest.mark.onnx
@pytest.mark.openvino
@pytest.mark.parametrize("kind", ["Conv", "Gemm"])
def test_an_altered_ir_is_found_by_its_operator_and_cut_there(
    kind: str, bundles: Path, tmp_path: Path, crew: Crew
) -> None:
    import onnx

    nodes = [node for node in onnx.load(bundles / "digits.onnx").graph.node if node.op_type == kind]
    ir = tmp_path / "altered.xml"
    rounded(bundles / "digits-openvino-fp32" / "model.xml", ir, nodes[1].input[1])
    found = find(crew, ir, bundles / "digits.onnx", repro=tmp_path / "part")
    assert found.word == "PARTED" and found.first is not None
    assert found.first.operator.name == found.ranked[0].operator.name == nodes[1].name
    assert found.repro is not None and found.repro.shows and found.repro.operators == 1
    script = [sys.executable, str(tmp_path / "part" / "repro.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "PARTED" in done.stdout, done.stderr


@pytest.mark.onnx
@pytest.mark.openvino
def test_a_bundle_is_compared_with_its_own_source_alone(
    bundles: Path, tmp_path: Path, digits: Path, crew: Crew
) -> None:
    bundle = bundles / "digits-openvino-fp32"
    with pytest.raises(RequestError, match="not the model that"):
        find(crew, bundle, digits / "digits.pt")
    moved = Path(shutil.copytree(bundle, tmp_path / "deep" / "er" / "moved"))
    with pytest.raises(RequestError, match=r"digits\.onnx, which moved was made from, is not here"):
        find(crew, moved)
    (moved / "model.bin").write_bytes(b"other")
    with pytest.raises(RequestError, match="not what was exported"):
        find(crew, moved)


@pytest.fixture(scope="module")
def tflite_bundle(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tflite")
    source = Path(shutil.copy(digits / "digits.onnx", place / "digits.onnx"))
    options = dlconv.ExportOptions(("tflite",), place, samples=digits / "samples.npz", name="digits")
    assert dlconv.export(source, options).exit_code == 0
    return place / "digits-tflite-fp32"


@pytest.mark.onnx
@pytest.mark.tflite
@pytest.mark.onnx2tf
def test_a_tflite_file_shows_its_tensors_and_an_altered_one_is_found(
    tflite_bundle: Path, tmp_path: Path, crew: Crew
) -> None:
    import onnx
    from onnx import numpy_helper

    found = find(crew, tflite_bundle)
    assert found.word == "TOGETHER" and len(found.partings) == found.operators and found.factor == 80
    source = tflite_bundle.parent / "digits.onnx"
    graph = onnx.load(source).graph
    node = [each for each in graph.node if each.op_type == "Conv"][1]
    (weight,) = [numpy_helper.to_array(each) for each in graph.initializer if each.name == node.input[1]]
    stored = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    content = (tflite_bundle / "model.tflite").read_bytes()
    assert content.count(stored.tobytes()) == 1
    altered = tmp_path / "altered.tflite"
    altered.write_bytes(content.replace(stored.tobytes(), (np.round(stored * 8) / np.float32(8)).tobytes()))
    found = find(crew, altered, source, repro=tmp_path / "part")
    assert found.word == "PARTED" and found.first is not None
    assert found.first.operator.name == found.ranked[0].operator.name == node.name
    assert found.repro is not None and found.repro.shows  # by the file itself: what is converted now is right
    assert (tmp_path / "part" / "candidate" / "altered.tflite").is_file()


@pytest.mark.onnx
@pytest.mark.openvino
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_an_int8_bundle_is_compared_by_what_its_readers_take_with_the_float32_model(
    target: str, digits: Path, tmp_path: Path, crew: Crew
) -> None:
    # The quantiser takes a Relu away, whose tensor is below zero until it is quantised.
    source = Path(shutil.copy(digits / "digits.onnx", tmp_path / "digits.onnx"))
    samples = digits / "samples.npz"
    options = dlconv.ExportOptions((target,), tmp_path, samples=samples, name="digits", precision="int8")
    assert dlconv.export(source, options).exit_code == 0
    found = find(crew, tmp_path / f"digits-{target}-int8")
    assert found.word == "TOGETHER" and found.precision == "int8" and found.reference.endswith("onnx_to_onnx[onnxsim]")
    relus = [each for each in found.partings if each.operator.kind == "Relu"]
    assert relus and all(each.tensor.error < 0.05 for each in relus)
