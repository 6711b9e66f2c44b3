"""`dlconv diff` of int8: the layer that loses most is named first, shown by files of its own, and kept by an export."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import dlconv
from dlconv.asked.bars import Bars, OutputBars
from dlconv.asked.keeplist import read_keep_list
from dlconv.asked.options import SourceOptions
from dlconv.diffing.diff import DiffOptions, found_in
from dlconv.diffing.parting import Operator, Parting, TensorError, to_keep
from dlconv.errors import ConversionError
from dlconv.events import Silence
from dlconv.workers.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.diffing.difference import Difference

pytestmark = pytest.mark.onnx
_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
SENSITIVE = 4


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with Crew(tmp_path_factory.mktemp("logs"), slots=2, memory_limit_bytes=None, timeout_s=240) as made:
        yield made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine products of orthogonal matrices, a Relu after each but the last. One has weights a thousand times the others
    for a channel that is always 0: in 8 bits they drown the others."""
    folder, random = tmp_path_factory.mktemp("sensitive"), np.random.default_rng(0)
    weights = [np.linalg.qr(random.standard_normal((16, 16)))[0] * 1.4 for _ in range(9)]
    weights[SENSITIVE - 1][:, 3] = 0
    weights[SENSITIVE][3] *= 2.0**10
    nodes, last = [], "x"
    for number in range(9):
        nodes.append(_node("MatMul", [last, f"w{number}"], [f"h{number}" if number < 8 else "y"], name=f"m{number}"))
        nodes += [_node("Relu", [f"h{number}"], [f"r{number}"], name=f"relu{number}")] if number < 8 else []
        last = f"r{number}"
    stored = [_stored(f"w{number}", weight.astype(np.float32)) for number, weight in enumerate(weights)]
    path: Path = _save(folder, nodes, [_value("x", [4, 16])], [_value("y", [4, 16])], stored)
    np.savez(folder / "samples.npz", x=random.standard_normal((160, 16)).astype(np.float32))
    return path


def exported(model: Path, target: str, place: Path, **words: Any) -> int:
    options = dlconv.ExportOptions(
        (target,), place, samples=model.with_name("samples.npz"), name="model", precision="int8", **words
    )
    return dlconv.export(model, options).exit_code


def find(crew: Crew, candidate: Path, against: Path | None = None, **words: Any) -> Difference:
    return found_in(candidate, against, DiffOptions(source=SourceOptions(draws=4), **words), crew, Silence())


def shows(folder: Path) -> str:
    """What the script says, which has to show that they part, with the packages that run the candidate alone."""
    apart = [sys.executable, "-I", str(folder / "repro.py")]
    done = subprocess.run(apart, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 1 and "PARTED" in done.stdout, done.stdout + done.stderr
    alone, whole = map(
        float, re.findall(r"error      (\S+) of its scale; in the whole model it was (\S+)", done.stdout)[0]
    )
    assert 0.3 * whole < alone < 3 * whole, done.stdout
    return done.stdout


@pytest.mark.openvino
@pytest.mark.tflite
@pytest.mark.onnx2tf
@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "tflite"])
@pytest.mark.slow
def test_the_sensitive_layer_is_named_first_shown_and_kept(
    target: str, model: Path, tmp_path: Path, crew: Crew
) -> None:
    exported(model, target, tmp_path, bars=Bars(outputs={"*": OutputBars(max_error=1.0)}))  # whatever it is worth
    found = find(crew, tmp_path / f"model-{target}-int8", model, factor=30.0, repro=tmp_path / "part")
    assert found.word == "PARTED" and found.precision == "int8" and found.first is not None
    assert f"m{SENSITIVE}" in [each.name for each in found.ranked[0].operators]
    assert f"m{SENSITIVE}" in [each.name for each in found.first.operators]
    assert found.repro is not None and found.repro.shows
    assert f"m{SENSITIVE}" in shows(tmp_path / "part") or f"relu{SENSITIVE}" in shows(tmp_path / "part")
    kept = found.to_keep
    assert {f"m{SENSITIVE}"} <= set(kept) <= {f"m{SENSITIVE}", f"relu{SENSITIVE}"}
    with pytest.raises(ConversionError, match="int8 loses the model's answers"):
        exported(model, target, tmp_path / "kept")
    assert exported(model, target, tmp_path / "kept", keep=kept) == 0


def test_the_emulated_one_too_and_the_command_writes_the_keep_list(model: Path, tmp_path: Path) -> None:
    samples, keep = model.with_name("samples.npz"), tmp_path / "model.keep"
    words = ["diff", model, "--precision", "int8", "--samples", samples, "--factor", "30", "-o", tmp_path / "part"]
    words += ["--keep-list", keep, "--json", "-"]
    ran = subprocess.run([sys.executable, "-m", "dlconv", *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    told = json.loads(ran.stdout)
    assert told["first"]["operator"] == told["ranked"][0]["operator"] == f"m{SENSITIVE}"
    assert list(read_keep_list(tmp_path / "model.keep")) == told["keep"] == [f"m{SENSITIVE}"]
    assert "candidate.onnx" in {file.name for file in (tmp_path / "part").iterdir()}
    assert f"MatMul m{SENSITIVE} (1 in all)" in shows(tmp_path / "part")
    import onnx

    kinds = [node.op_type for node in onnx.load(tmp_path / "part" / "candidate.onnx").graph.node]
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == 1 and kinds.count("MatMul") == 1


def test_what_reads_a_number_that_is_too_large_is_kept_with_what_makes_it() -> None:
    large, small = Operator("large", "MatMul", ("x",), ("h",)), Operator("", "MatMul", ("h",), ("y",))
    error = TensorError("h", np.inf, 1e-3, 1e6, "float32")
    after = TensorError("y", np.inf, 1e-3, 1.0, "float32")
    partings = (Parting(0, (large,), error, ("x",), 0.0), Parting(1, (small,), after, ("h",), np.inf))
    assert to_keep(partings, 40.0) == ("large", "MatMul:y")
