"""The plugin is held to the contracts that dlconv's own converters and runtimes are held to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from dlconv_onnx_reference import CONVERTER, RUNTIME
from dlconv_onnx_reference.ulps import few_ulps

from dlconv.asked.bars import Bars
from dlconv.model import Signature, TensorSpec
from dlconv.testing import check_converter, check_runtime, check_validator, evidence_of

SIGNATURE = Signature((TensorSpec("x", "float32", ("N", 4)),), (TensorSpec("y", "float32", ("N", 4)),))
SAMPLES = [{"x": np.random.default_rng(seed).normal(size=(2, 4)).astype(np.float32)} for seed in range(3)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    helper = onnx.helper
    nodes = [helper.make_node("Tanh", ["x"], ["t"]), helper.make_node("Mul", ["t", "x"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 4]) for name in "xy")
    path = tmp_path / "model.onnx"
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opset, ir_version=9), path)
    return path


def test_the_runtime(model: Path) -> None:
    check_runtime(RUNTIME, model, SIGNATURE, SAMPLES)


def test_the_converter(model: Path) -> None:
    check_converter(CONVERTER, model, SIGNATURE, SAMPLES, RUNTIME)


def test_the_validator() -> None:
    check_validator(few_ulps, evidence_of(1e-7, max_ulp=10.0), evidence_of(1e-2, max_ulp=1e5), Bars())
