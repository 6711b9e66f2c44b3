"""ONNX Runtime's adapter: exact outputs by name, and an account of what really ran."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from dlconv.errors import SamplesError
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import onnxruntime

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))


def test_the_probe_runs_a_model() -> None:
    found = onnxruntime.probe()
    assert found["version"]
    assert "CPUExecutionProvider" in found["devices"]


def _half_and_single(folder: Path) -> tuple[Path, Signature]:
    nodes = [_node("Cast", ["x"], ["h"], to=10), _node("Cast", ["h"], ["y"], to=1), _node("Shape", ["x"], ["s"])]
    path = _save(folder, nodes, [_value("x", ["N", 2])], [_value("y", ["N", 2]), _value("s", [2], 7)])
    outputs = (TensorSpec("s", "int64", (2,)), TensorSpec("y", "float32", ("N", 2)))
    return path, Signature((TensorSpec("x", "float32", ("N", 2)),), outputs)


def test_outputs_come_by_the_signatures_order_as_they_are(tmp_path: Path) -> None:
    path, signature = _half_and_single(tmp_path)
    got = onnxruntime.open(path, signature, {}).run({"x": np.full((3, 2), 0.1, np.float32)})
    assert list(got) == ["s", "y"]
    assert got["s"].dtype == np.int64
    assert got["s"].tolist() == [3, 2]
    assert got["y"].dtype == np.float32


def test_placement_tells_the_coarsest_precision_that_ran(tmp_path: Path) -> None:
    path, signature = _half_and_single(tmp_path)
    session = onnxruntime.open(path, signature, {"optimisation": "none", "threads": 1})
    assert session.placement()["precision"] == "unknown"
    session.run({"x": np.ones((3, 2), np.float32)})
    placement = session.placement()
    assert placement["precision"] == "float16"
    assert placement["precisions"] == {"float16": 1, "float32": 1}
    assert placement["providers"] == {"CPUExecutionProvider": 3}
    assert placement["operators"] == {"Cast": 2, "Shape": 1}
    assert placement["threads"] == 1


def test_a_session_can_be_run_again_after_its_trace_is_taken(tmp_path: Path) -> None:
    path = _save(tmp_path, [_node("Neg", ["x"], ["y"])], [_value("x", [2])], [_value("y", [2])])
    signature = Signature((TensorSpec("x", "float32", (2,)),), (TensorSpec("y", "float32", (2,)),))
    session = onnxruntime.open(path, signature, {})
    for number in (1.0, 2.0, 3.0):
        assert session.run({"x": np.full(2, number, np.float32)})["y"].tolist() == [-number, -number]
    assert session.placement()["precision"] == "float32"


def test_a_scalar_stays_a_scalar_and_a_bool_a_bool(tmp_path: Path) -> None:
    nodes = [_node("ReduceSum", ["x"], ["y"], keepdims=0), _node("Greater", ["y", "zero"], ["more"])]
    outputs = [_value("y", []), _value("more", [], 9)]
    path = _save(tmp_path, nodes, [_value("x", [2])], outputs, [_stored("zero", np.float32(0))])
    signature = Signature((TensorSpec("x", "float32", (2,)),),
                          (TensorSpec("y", "float32", ()), TensorSpec("more", "bool", ())))  # fmt: skip
    got = onnxruntime.open(path, signature, {}).run({"x": np.ones(2, np.float32)})
    assert (got["y"].shape, got["y"].dtype, float(got["y"])) == ((), np.float32, 2.0)
    assert (got["more"].shape, got["more"].dtype, bool(got["more"])) == ((), np.bool_, True)


def test_strings_are_answered_as_a_number_each(tmp_path: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    words = numpy_helper.from_array(np.array(["setosa", "versicolor", "virginica"], dtype=object), "words")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["words", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 7, ["N"])],
        [helper.make_tensor_value_info("y", 8, ["N"])],
        [words],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    signature = Signature((TensorSpec("x", "int64", ("N",)),), (TensorSpec("y", "string", ("N",)),))
    session = onnxruntime.open(tmp_path / "m.onnx", signature, {})
    got = session.run({"x": np.array([2, 0, 1, 0])})["y"]
    assert got.dtype == np.int64 and len(set(got.tolist())) == 3 and got[1] == got[3]
    assert (session.run({"x": np.array([0, 1])})["y"] == got[[1, 2]]).all()


def test_other_inputs_than_the_models_are_refused(tmp_path: Path) -> None:
    path, signature = _half_and_single(tmp_path)
    session = onnxruntime.open(path, signature, {})
    for inputs in ({}, {"z": np.ones((1, 2), np.float32)}, {"x": np.ones((1, 2), np.float32), "z": np.ones(1)}):
        with pytest.raises(SamplesError) as caught:
            session.run(inputs)
        assert "['x']" in caught.value.wanted
