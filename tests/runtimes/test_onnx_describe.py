"""What `dlconv inspect` learns of an ONNX file."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from dlconv.errors import FormatError
from dlconv.runtimes.onnx_describe import describe

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))


def test_operators_weights_and_tensors_are_told(tmp_path: Path) -> None:
    weights = [_stored("w", np.ones((4, 6), np.float32)), _stored("h", np.ones(5, np.float16)),
               _stored("i", np.arange(3))]  # fmt: skip
    nodes = [_node("MatMul", ["x", "w"], ["a"]), _node("Relu", ["a"], ["b"]), _node("Relu", ["b"], ["y"])]
    found = describe(str(_save(tmp_path, nodes, [_value("x", ["N", 4])], [_value("y", ["N", 6])], weights)))
    assert found["opset"] == {"": 17}
    assert found["ir_version"] == 8
    assert found["operators"] == {"Relu": 2, "MatMul": 1}
    assert found["parameters"] == {
        "count": 24 + 5 + 3,
        "size_bytes": 24 * 4 + 5 * 2 + 3 * 8,
        "by_dtype": {"float32": 24, "float16": 5, "int64": 3},
    }
    assert found["inputs"][0]["shape"] == ["N", 4]
    assert found["outputs"][0]["name"] == "y"
    assert found["notes"] == []


def test_operators_within_branches_count(tmp_path: Path) -> None:
    found = describe(str(_HOSTILE["nested_ifs"](tmp_path, depth=3)))
    assert found["operators"] == {"If": 3, "Neg": 3, "Relu": 1}


def test_external_data_is_named(tmp_path: Path) -> None:
    import onnx

    weights = [_stored("w", np.ones((4, 100), np.float32))]
    path = _save(tmp_path, [_node("MatMul", ["x", "w"], ["y"])], [_value("x")], [_value("y", [1, 100])], weights)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert describe(str(path))["external_data"] == {"w.bin": 1600}


def test_an_invalid_model_is_described_and_its_trouble_told(tmp_path: Path) -> None:
    found = describe(str(_HOSTILE["unknown_operator"](tmp_path)))
    assert found["operators"] == {"Frobnicate": 1}
    assert "not a valid ONNX model" in found["notes"][0]


def test_what_is_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        describe(str(_HOSTILE["noise"](tmp_path)))
