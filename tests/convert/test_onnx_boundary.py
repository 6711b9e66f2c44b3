"""Inputs and outputs of ONNX graphs in float16 and uint8: what is read twice, what has no scale, what integers mean."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert import onnx_to_float16, onnx_to_int8
from dlconv.convert.edge import Made, Step
from dlconv.errors import Unsupported
from dlconv.graphs.onnx_graph import read_model, signature_of
from dlconv.samples import save_npz, to_arrays
from dlconv.validators.pairing import to_artifact, to_source

pytestmark = [pytest.mark.onnx]
_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
_RANDOM = np.random.default_rng(0)
WEIGHT = _RANDOM.standard_normal((8, 8)).astype(np.float32)
GIVEN = _RANDOM.uniform(-1, 1, (16, 4, 8)).astype(np.float32)


def model(folder: Path) -> Path:
    """y = x @ w, and z = exp(y) + exp(x): the input has two readers, the first output is read too, z has no scale."""
    nodes = [
        _node("MatMul", ["x", "w"], ["y"], name="product"),
        _node("Exp", ["y"], ["e"], name="of_output"),
        _node("Exp", ["x"], ["f"], name="of_input"),
        _node("Sum", ["e", "f"], ["z"], name="sum"),
    ]
    outputs = [_value("y", [4, 8]), _value("z", [4, 8])]
    return Path(_save(folder, nodes, [_value("x", [4, 8])], outputs, [_stored("w", WEIGHT)]))


def made(folder: Path, edge: Any, inputs: str, outputs: str, path: Path | None = None, **settings: Any) -> Made:
    source = path or model(folder)
    save_npz(folder / "calibration.npz", to_arrays([{"x": row} for row in GIVEN]))
    out = folder / "out"
    out.mkdir()
    step = Step(source, out, signature_of(read_model(source)), {"x": GIVEN[0]},
                {**settings, "boundary": {"inputs": inputs, "outputs": outputs}},
                calibration=folder / "calibration.npz")  # fmt: skip
    done: Made = edge.convert(step)
    return done


def answered(folder: Path, done: Made, sample: dict[str, Any]) -> dict[str, Any]:
    """In the source's terms, by the signature alone."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(folder / "out" / done.entry), providers=["CPUExecutionProvider"])
    given = to_artifact(sample, done.signature)
    assert {port.name: port.type for port in session.get_inputs()}.keys() == given.keys()
    names = [port.name for port in session.get_outputs()]
    got: Any = session.run(None, given)
    return to_source(dict(zip(names, got, strict=True)), done.signature)


@pytest.mark.parametrize(
    ("inputs", "outputs"), [("float16", "float16"), ("float32", "float16"), ("float16", "float32")]
)
def test_float16(tmp_path: Path, inputs: str, outputs: str) -> None:
    done = made(tmp_path, onnx_to_float16, inputs, outputs)
    assert [spec.dtype for spec in (*done.signature.inputs, *done.signature.outputs)] == [inputs, outputs, outputs]
    got = answered(tmp_path, done, {"x": GIVEN[0]})
    wanted = GIVEN[0] @ WEIGHT
    assert {array.dtype.name for array in got.values()} == {"float32"}
    np.testing.assert_allclose(got["y"], wanted, atol=2e-2)
    np.testing.assert_allclose(got["z"], np.exp(wanted) + np.exp(GIVEN[0]), rtol=2e-2, atol=1e-2)


def test_what_stays_in_float32_reads_a_wide_input(tmp_path: Path) -> None:
    done = made(tmp_path, onnx_to_float16, "float16", "float16", keep=["product", "of_input"])
    got = answered(tmp_path, done, {"x": GIVEN[0]})
    np.testing.assert_allclose(got["y"], GIVEN[0] @ WEIGHT, atol=5e-3)


def test_integers_go_in(tmp_path: Path) -> None:
    done = made(tmp_path, onnx_to_int8, "uint8", "float32", method="minmax")
    (spec,) = done.signature.inputs
    assert (spec.dtype, spec.boundary) == ("uint8", "float32") and spec.scale == pytest.approx(2 / 255, rel=0.05)
    kinds = [node.op_type for node in read_model(tmp_path / "out" / done.entry).graph.node]
    got = answered(tmp_path, done, {"x": GIVEN[0]})
    np.testing.assert_allclose(got["y"], GIVEN[0] @ WEIGHT, atol=0.1)
    np.testing.assert_allclose(got["z"] - np.exp(got["y"]), np.exp(GIVEN[0]), atol=0.1)
    assert "DequantizeLinear" in kinds  # what reads the input in float32 gets it so


def test_integers_come_out_where_there_is_a_scale(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="made in float32, by Sum"):
        made(tmp_path, onnx_to_int8, "float32", "uint8", method="minmax")
    plain = tmp_path / "plain"
    plain.mkdir()
    path = Path(_save(plain, [_node("MatMul", ["x", "w"], ["y"], name="product")], [_value("x", [4, 8])],
                      [_value("y", [4, 8])], [_stored("w", WEIGHT)]))  # fmt: skip
    done = made(plain, onnx_to_int8, "uint8", "uint8", path, method="minmax")
    (spec,) = done.signature.outputs
    assert spec.dtype == "uint8" and spec.zero_point > 0
    np.testing.assert_allclose(answered(plain, done, {"x": GIVEN[0]})["y"], GIVEN[0] @ WEIGHT, atol=0.1)
    kinds = [node.op_type for node in read_model(plain / "out" / done.entry).graph.node]
    assert kinds.count("QuantizeLinear") == 1  # of the output; the input comes as it is


def test_an_input_that_is_not_quantised(tmp_path: Path) -> None:
    nodes = [_node("Exp", ["x"], ["e"], name="exp"), _node("MatMul", ["e", "w"], ["y"], name="product")]
    path = Path(_save(tmp_path, nodes, [_value("x", [4, 8])], [_value("y", [4, 8])], [_stored("w", WEIGHT)]))
    with pytest.raises(Unsupported, match="the input x is not quantised"):
        made(tmp_path, onnx_to_int8, "uint8", "float32", path, method="minmax")
