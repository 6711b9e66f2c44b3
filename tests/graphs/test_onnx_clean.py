"""Clean-ups: each does its one thing, and no answer changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlconv.graphs.onnx_clean import clean, pool_globally

pytestmark = pytest.mark.onnx


def _model(nodes: list[Any], weights: dict[str, Any] | None = None, also_inputs: tuple[str, ...] = ()) -> Any:
    from onnx import helper, numpy_helper

    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    inputs = [helper.make_tensor_value_info(name, 1, [2, 4]) for name in ("x", *also_inputs)]
    outputs = [helper.make_tensor_value_info("y", 1, [2, 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=3 if also_inputs else 8)


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs, outputs, **attributes)


def _answer(model: Any) -> np.ndarray[Any, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    (answer,) = session.run(["y"], {"x": x})
    return np.asarray(answer)


def test_a_trailing_empty_input_goes_and_one_in_the_middle_stays() -> None:
    weights = {"scale": np.arange(4, dtype=np.float32), "top": np.float32(0.5)}
    model = _model(
        [_node("LayerNormalization", ["x", "scale", ""], ["n"]), _node("Clip", ["n", "", "top"], ["y"])], weights
    )
    before = _answer(model)
    assert clean(model) == ("1 trailing empty inputs stripped",)
    assert [list(node.input) for node in model.graph.node] == [["x", "scale"], ["n", "", "top"]]
    np.testing.assert_array_equal(_answer(model), before)


def test_inputs_that_an_operator_must_name_stay_even_if_empty() -> None:
    from onnx import helper

    turn, going = helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("c", 9, [])
    out = helper.make_tensor_value_info("d", 9, [])
    body = helper.make_graph([_node("Identity", ["c"], ["d"])], "body", [turn, going], [out])
    model = _model([_node("Loop", ["", ""], [], body=body), _node("Relu", ["x"], ["y"])])
    model.graph.node[0].output.append("unused")
    clean(model)
    loops = [node for node in model.graph.node if node.op_type == "Loop"]
    assert all(list(node.input) == ["", ""] for node in loops)


def test_dead_nodes_go_and_those_that_a_branch_reads_stay() -> None:
    from onnx import helper

    def branch(kind: str) -> Any:
        output = helper.make_tensor_value_info(f"{kind}_out", 1, [2, 4])
        return helper.make_graph([_node(kind, ["seen"], [f"{kind}_out"])], kind, [], [output])

    nodes = [
        _node("Relu", ["x"], ["seen"]),
        _node("Exp", ["x"], ["dead"]),
        _node("Exp", ["dead"], ["dead too"]),
        _node("If", ["yes"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs")),
    ]
    model = _model(nodes, {"yes": np.array(True)})
    before = _answer(model)
    assert "2 nodes without effect removed" in clean(model)
    assert [node.op_type for node in model.graph.node] == ["Relu", "If"]
    np.testing.assert_array_equal(_answer(model), before)


def test_equal_weights_are_merged_and_unequal_ones_are_not() -> None:
    weights = {"a": np.ones(4, np.float32), "b": np.ones(4, np.float32), "c": np.ones(4, np.float32) * 2,
               "d": np.ones((1, 4), np.float32)}  # fmt: skip
    nodes = [_node("Sum", ["x", "a", "b", "c", "d"], ["y"])]
    model = _model(nodes, weights)
    before = _answer(model)
    assert clean(model) == ("1 repeated initializers merged",)
    assert list(model.graph.node[0].input) == ["x", "a", "a", "c", "d"]
    np.testing.assert_array_equal(_answer(model), before)


def test_weights_listed_as_inputs_become_weights() -> None:
    model = _model([_node("Add", ["x", "w"], ["y"])], {"w": np.ones((2, 4), np.float32)}, also_inputs=("w",))
    assert clean(model) == ("1 initializers taken off the list of inputs",)
    assert [value.name for value in model.graph.input] == ["x"]
    assert model.ir_version >= 4


def test_a_clean_model_is_left_alone() -> None:
    model = _model([_node("Relu", ["x"], ["y"])])
    before = model.SerializeToString()
    assert clean(model) == ()
    assert model.SerializeToString() == before


@pytest.mark.parametrize(("pads", "is_global"), [([0, 0, 0, 0], True), ([1, 1, 1, 1], False)])
def test_a_pool_of_more_than_the_whole_image_is_global(pads: list[int], is_global: bool) -> None:
    import onnxruntime
    from onnx import helper

    pool = _node("AveragePool", ["x"], ["y"], kernel_shape=[9, 9], strides=[9, 9], ceil_mode=1, pads=pads)
    image = helper.make_tensor_value_info("x", 1, [1, 2, 3, 5])
    graph = helper.make_graph([pool], "g", [image], [helper.make_tensor_value_info("y", 1, [1, 2, 1, 1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 5)).astype(np.float32)

    def answer() -> np.ndarray[Any, Any]:
        return np.asarray(onnxruntime.InferenceSession(model.SerializeToString()).run(["y"], {"x": x})[0])

    before = answer()
    assert pool_globally(model) == is_global
    assert (model.graph.node[0].op_type == "GlobalAveragePool") == is_global
    np.testing.assert_allclose(answer(), before, rtol=1e-6)
