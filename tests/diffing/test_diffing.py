"""Where two models part: planted faults are named first, in bounded memory, with a part that shows them by itself."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.asked.options import SourceOptions
from dlconv.diffing.diff import DiffOptions, found_in
from dlconv.diffing.difference import Difference
from dlconv.errors import RequestError
from dlconv.events import Silence
from dlconv.workers.crew import Crew

pytestmark = pytest.mark.onnx

_MODELS = runpy.run_path(str(Path(__file__).parent / "diff_models.py"))
encoder, altered, quantised = (_MODELS[name] for name in ("encoder", "altered", "quantised"))
SEEDS = range(20)


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with Crew(tmp_path_factory.mktemp("logs"), slots=2, memory_limit_bytes=None, timeout_s=120) as made:
        yield made


def find(crew: Crew, candidate: Path, against: Path | None = None, **words: Any) -> Difference:
    source = SourceOptions(draws=1, use_cache=False)
    return found_in(candidate, against, DiffOptions(source=source, **words), crew, Silence())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_overflow_is_named_first(seed: int, tmp_path: Path, crew: Crew) -> None:
    network = encoder(tmp_path, seed, overflow=True)
    found = find(crew, network.path, precision="float16")
    assert found.word == "PARTED" and found.first is not None
    assert found.first.operator.name == found.ranked[0].operator.name == network.planted
    assert found.ranked[0].tensor.error == np.inf and found.ranked[0].tensor.largest > 65504


@pytest.mark.parametrize("seed", SEEDS)
def test_an_altered_layer_is_named_first(seed: int, tmp_path: Path, crew: Crew) -> None:
    network = encoder(tmp_path, seed)
    candidate = altered(network, seed)
    found = find(crew, candidate.path, network.path)
    assert found.word == "PARTED" and found.first is not None and found.precision == "float32"
    assert found.first.operator.name == found.ranked[0].operator.name == candidate.planted


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sensitive_layer_of_many_quantised_ones_is_named_first(seed: int, tmp_path: Path, crew: Crew) -> None:
    reference, candidate = quantised(encoder(tmp_path, seed), seed)
    found = find(crew, candidate.path, reference.path, factor=20.0)
    assert found.precision == "int8"
    assert found.ranked[0].operator.name == candidate.planted
    assert found.ranked[0].growth > found.ranked[1].growth


def test_what_overflows_in_float16_does_not_in_bfloat16(tmp_path: Path, crew: Crew) -> None:
    assert find(crew, encoder(tmp_path, 0, overflow=True).path, precision="bfloat16").word == "TOGETHER"


def test_a_model_goes_together_with_itself(tmp_path: Path, crew: Crew) -> None:
    network = encoder(tmp_path, 0)
    shutil.copy(network.path, tmp_path / "copy.onnx")
    found = find(crew, tmp_path / "copy.onnx", network.path)
    assert found.word == "TOGETHER" and found.first is None and found.arithmetic == "float64"
    assert len(found.partings) == found.operators and found.outputs[0].name == "y"
    assert all(each.tensor.noise < 2 for each in found.partings)


@pytest.mark.parametrize("window", [1, 4, 1000])
def test_no_more_is_held_than_a_window_and_what_crosses_it(window: int, tmp_path: Path, crew: Crew) -> None:
    network = encoder(tmp_path, 3)
    found = find(crew, altered(network, 3).path, network.path, window=window)
    # Two tensors cross any border (the residual and the current one), and the input is one more.
    assert found.held <= min(window, found.operators) + 3
    whole = find(crew, altered(network, 3).path, network.path)
    assert [each.tensor.error for each in found.partings] == [each.tensor.error for each in whole.partings]


@pytest.mark.parametrize("fault", ["overflow", "altered"])
def test_the_part_shows_the_error_by_itself(fault: str, tmp_path: Path, crew: Crew) -> None:
    network = encoder(tmp_path, 5, overflow=fault == "overflow")
    words: dict[str, Any] = {"repro": tmp_path / "part"}
    if fault == "overflow":
        found = find(crew, network.path, precision="float16", **words)
    else:
        found = find(crew, altered(network, 5).path, network.path, **words)
    assert found.repro is not None and found.repro.shows and found.repro.operators == 1
    moved = shutil.move(tmp_path / "part", tmp_path / "elsewhere")
    done = subprocess.run(
        [sys.executable, "-I", str(Path(moved) / "repro.py")], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1 and "PARTED" in done.stdout, done.stderr
    assert found.ranked[0].operator.name in done.stdout and found.ranked[0].tensor.name in done.stdout
    if fault == "altered":  # with the right weights the part is right
        shutil.copy(Path(moved) / "reference.onnx", Path(moved) / "candidate.onnx")
        assert subprocess.run([sys.executable, "-I", str(Path(moved) / "repro.py")], check=False).returncode == 0


def test_the_script_needs_numpy_and_the_runtimes_alone() -> None:
    import ast

    import dlconv

    script = Path(dlconv.__file__).parent / "diffing" / "repro_script.py"
    names = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name
    }
    assert names - set(sys.stdlib_module_names) == {
        *("numpy", "onnxruntime", "openvino", "ai_edge_litert", "tflite_runtime", "tensorflow")
    }


def test_tensors_that_one_side_lacks_are_told_as_a_stretch(tmp_path: Path, crew: Crew) -> None:
    import onnx

    network = encoder(tmp_path, 1)
    candidate = altered(network, 1)
    model = onnx.load(candidate.path)
    outputs = {value.name for value in model.graph.output}
    for place, node in enumerate(model.graph.node):  # every other tensor has another name there
        for other in model.graph.node if place % 2 else ():
            other.input[:] = [
                f"{name}_" if name in node.output and name not in outputs else name for name in other.input
            ]
        node.output[:] = [f"{name}_" if place % 2 and name not in outputs else name for name in node.output]
    onnx.save_model(model, str(candidate.path))
    found = find(crew, candidate.path, network.path, repro=tmp_path / "part")
    assert found.word == "PARTED" and len(found.partings) < found.operators
    assert candidate.planted in [operator.name for operator in found.ranked[0].operators]
    assert found.repro is not None and found.repro.shows


def test_no_common_tensor_is_no_conclusion(tmp_path: Path, crew: Crew) -> None:
    found = replace(find(crew, encoder(tmp_path, 0).path, precision="float16"), partings=())
    assert found.word == "INCONCLUSIVE"


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    from dlconv.diffing.diff import diff

    with pytest.raises(RequestError, match="compared with"):
        diff(tmp_path / "a.onnx", None, DiffOptions())
    with pytest.raises(RequestError, match="int4"):
        DiffOptions(precision="int4")
    with pytest.raises(RequestError, match="positive"):
        DiffOptions(window=0)


def test_int8_is_emulated_with_the_noise_that_it_has(tmp_path: Path, crew: Crew) -> None:
    network = encoder(tmp_path, 0)
    found = find(crew, network.path, precision="int8", factor=1e-3)
    assert found.word == "PARTED" and found.notes == ()
    matmuls = [each for each in found.partings if each.operator.kind == "MatMul"]
    assert all(0 < each.tensor.error < 0.2 for each in matmuls)
