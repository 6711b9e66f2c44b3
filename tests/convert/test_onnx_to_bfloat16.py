"""ONNX in bfloat16: which nodes are lowered, where casts stand, and that the graph computes what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert import onnx_to_bfloat16
from dlconv.convert.edge import Step
from dlconv.errors import RequestError, Unsupported
from dlconv.graphs import onnx_graph

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.onnx
RNG = np.random.default_rng(0)
W = RNG.standard_normal((8, 8)).astype(np.float32)
X = RNG.standard_normal((4, 8)).astype(np.float32)


def saved(path: Path, nodes: list[Any], out: dict[str, list[int]], weights: dict[str, Any], opset: int = 17) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "planted",
        [info("x", 1, [4, 8])],
        [info(name, 1, shape) for name, shape in out.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def node(kind: str, ins: list[str], outs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, ins, outs, name=outs[0], **attributes)


def lowered(path: Path, out: Path, *, full_check: bool = True, **settings: Any) -> Any:
    import onnx

    out.mkdir(exist_ok=True)
    signature = onnx_graph.signature_of(onnx.load(path))
    made = onnx_to_bfloat16.convert(Step(path, out, signature, {"x": X}, settings))
    assert made.signature == signature
    model = onnx.load(out / made.entry)
    onnx.checker.check_model(model, full_check=full_check)
    return model


def kinds(model: Any) -> dict[str, int]:
    """The element type of every tensor of the graph."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def answers(model: Any) -> list[Any]:
    """Of the graph in bfloat16, run node by node by ONNX's own reference."""
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(model).run(None, {"x": X}))


CHAIN = [("MatMul", ["x", "w"], ["a"]), ("Relu", ["a"], ["b"]), ("MatMul", ["b", "w"], ["y"])]


def test_a_chain_is_cast_at_its_ends_alone(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", [node(*each) for each in CHAIN], {"y": [4, 8]}, {"w": W})
    model = lowered(path, tmp_path / "out")
    assert [each.op_type for each in model.graph.node] == ["Cast", "MatMul", "Relu", "MatMul", "Cast"]
    found = kinds(model)
    assert (found["w"], found["a"], found["b"], found["y"]) == (16, 16, 16, 1)
    wanted = np.maximum(X @ W, 0) @ W
    error = np.abs(answers(model)[0] - wanted).max() / np.abs(wanted).max()
    assert 1e-4 < error < 2e-2  # bfloat16 keeps eight bits


def test_what_is_kept_stays_and_reads_what_it_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", [node(*each) for each in CHAIN], {"y": [4, 8], "b": [4, 8]}, {"w": W})
    model = lowered(path, tmp_path / "out", keep=["y"])
    found = kinds(model)
    assert found["a"] == 16 and found["w"] == 1 and found["w_bf16"] == 16 and found["b"] == 1
    last = next(each for each in model.graph.node if each.name == "y")
    assert list(last.input) == ["b", "w"] and list(last.output) == ["y"]
    given, b = answers(model)
    np.testing.assert_allclose(given, b @ W, rtol=1e-5)
    with pytest.raises(RequestError, match="does not have: stranger"):
        lowered(path, tmp_path / "out", keep=["stranger"])


def test_what_tensorrt_has_no_bfloat16_for_stays(tmp_path: Path) -> None:
    from onnx import helper

    branch = helper.make_graph(
        [node("Identity", ["b"], ["then"])], "then", [], [helper.make_tensor_value_info("then", 1, [4, 8])]
    )
    nodes = [
        node("Relu", ["x"], ["b"]),
        node("ReduceSum", ["b"], ["s"], keepdims=0),
        node("Cast", ["s"], ["c"], to=9),
        node("If", ["c"], ["i"], then_branch=branch, else_branch=branch),
        node("Reshape", ["i", "shape"], ["r"]),
        node("Resize", ["r", "", "scales"], ["z"], mode="nearest"),
        node("CumSum", ["z", "axis"], ["k"]),
        node("Tanh", ["k"], ["y"]),
    ]
    weights = {
        "shape": np.array([1, 1, 4, 8]), "scales": np.array([1, 1, 2, 2], np.float32), "axis": np.array(3),
    }  # fmt: skip
    model = lowered(saved(tmp_path / "m.onnx", nodes, {"y": [1, 1, 8, 16]}, weights), tmp_path / "out")
    found = kinds(model)
    assert {name: found[name] for name in ("b_bf16", "b", "s", "s_bf16", "i", "z_bf16", "scales", "k")} == {
        "b_bf16": 16, "b": 1, "s": 1, "s_bf16": 16, "i": 1, "z_bf16": 16, "scales": 1, "k": 1,
    }  # fmt: skip
    image = np.maximum(X, 0).reshape(4, 8).repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(answers(model)[0][0, 0], np.tanh(np.cumsum(image, 1)), atol=2e-2)


def test_constants_are_rounded_once(tmp_path: Path) -> None:
    from onnx import numpy_helper

    nodes = [node("Constant", [], ["w"], value=numpy_helper.from_array(W, "w")), node("MatMul", ["x", "w"], ["y"])]
    model = lowered(saved(tmp_path / "m.onnx", nodes, {"y": [4, 8]}, {}), tmp_path / "out")
    assert [each.op_type for each in model.graph.node] == ["Cast", "MatMul", "Cast"] and kinds(model)["w"] == 16


def test_nothing_to_lower_and_an_old_opset_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", [node("Cast", ["x"], ["y"], to=1)], {"y": [4, 8]}, {})
    with pytest.raises(Unsupported, match="no node of the model has a bfloat16"):
        lowered(path, tmp_path / "out")
    path = saved(tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], {"y": [4, 8]}, {}, opset=12)
    with pytest.raises(Unsupported, match="no bfloat16 before opset 13"):
        lowered(path, tmp_path / "out")


def test_convolutions_are_lowered_whatever_the_opset(tmp_path: Path) -> None:
    """ONNX's own Conv has bfloat16 as of opset 22; TensorRT's parser takes it before."""
    nodes = [node("Reshape", ["x", "shape"], ["r"]), node("Conv", ["r", "k"], ["y"])]
    weights = {"shape": np.array([1, 1, 4, 8]), "k": np.ones((1, 1, 3, 3), np.float32)}
    path = saved(tmp_path / "m.onnx", nodes, {"y": [1, 1, 2, 6]}, weights)
    model = lowered(path, tmp_path / "out", full_check=False)
    assert {tensor.name: tensor.data_type for tensor in model.graph.initializer}["k"] == 16
    assert [each.op_type for each in model.graph.node] == ["Cast", "Reshape", "Conv", "Cast"]
