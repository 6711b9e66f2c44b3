"""Values that loops carry unchanged are taken from outside: the answers stay, and OpenVINO reads the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.graphs import onnx_clean

pytestmark = pytest.mark.onnx

X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


def _value(name: str, shape: list[Any], kind: int = 1) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, kind, shape)


def _loop(outputs: list[str], result: str = "y", passed: str = "w_in") -> Any:
    """Four steps of x @ w, added up beside; w is carried and given back as `passed`; each step's x is gathered."""
    from onnx import helper, numpy_helper

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("MatMul", ["x_in", "w_in"], ["x_out"]),
            helper.make_node("Identity", ["w_in"], ["w_same"]),
            helper.make_node("Identity", ["x_out"], ["row"]),
        ],
        "body",
        [_value("step", [], 7), _value("on", [], 9), _value("x_in", [2, 3]), _value("w_in", [3, 3])],
        [_value("still", [], 9), _value("x_out", [2, 3]), _value(passed, [3, 3]), _value("row", [2, 3])],
    )
    w = np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Loop", ["four", "yes", "x", "w"], ["last", "w_end", "rows"], body=body),
        helper.make_node("ReduceSum", ["rows"], ["all"], keepdims=0),
        helper.make_node("MatMul", ["last", "w_end"], ["more"]),
        helper.make_node("Add", ["more", "all"], [result]),
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in
              {"four": np.array(4), "yes": np.array(True), "w": w}.items()]  # fmt: skip
    given = [_value(name, [3, 3] if name == "w_end" else [2, 3]) for name in outputs]
    graph = helper.make_graph(nodes, "g", [_value("x", [2, 3])], given, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _answers(model: Any) -> list[Any]:
    import onnx
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": X}))


def _carried(model: Any) -> int:
    return len(next(node for node in model.graph.node if node.op_type == "Loop").input) - 2


def test_what_is_carried_unchanged_is_taken_from_outside() -> None:
    model = _loop(["y"])
    wanted = _answers(model)
    assert "1 values that loops carry unchanged taken from outside" in onnx_clean.clean(model)
    assert _carried(model) == 1
    np.testing.assert_array_equal(_answers(model), wanted)


@pytest.mark.parametrize("model", [_loop, lambda outputs: _loop(outputs, passed="w_same")], ids=["kept", "computed"])
def test_what_is_an_output_or_computed_stays(model: Any) -> None:
    made = model(["y", "w_end"])
    wanted = _answers(made)
    onnx_clean.clean(made)
    assert _carried(made) == 2
    for one, other in zip(_answers(made), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_name_outside_that_means_something_else_inside_stays() -> None:
    model = _loop(["y"])
    loop = model.graph.node[0]
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            tensor.name = "x_out"  # as a tensor of the body is called
    loop.input[3] = "x_out"
    onnx_clean.clean(model)
    assert _carried(model) == 2


@pytest.mark.openvino
def test_openvino_reads_the_loop(tmp_path: Path) -> None:
    import onnx

    from dlconv.convert import onnx_to_openvino
    from dlconv.convert.edge import Step
    from dlconv.convert.onnx_signature import read
    from dlconv.model import Signature
    from dlconv.runtimes import openvino

    model = _loop(["y"])
    wanted = _answers(model)
    onnx_clean.clean(model)
    onnx.save(model, str(tmp_path / "model.onnx"))
    signature = Signature.from_dict(read(str(tmp_path / "model.onnx"))["signature"])
    (tmp_path / "out").mkdir()
    made = onnx_to_openvino.convert(Step(tmp_path / "model.onnx", tmp_path / "out", signature, {"x": X}))
    got = openvino.open(tmp_path / "out" / made.entry, made.signature, {}).run({"x": X})
    np.testing.assert_allclose(got["y"], wanted[0], rtol=1e-5)
