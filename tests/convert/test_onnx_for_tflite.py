"""Rewritings before TFLite: each graph answers as it did before, by ONNX Runtime on both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors

pytestmark = pytest.mark.onnx

FLOAT, BOOL = 1, 9
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def model(
    nodes: list[Any], inputs: dict[str, list[int]], outputs: list[str], weights: dict[str, Any], opset: int = 17
) -> Any:
    from onnx import helper, numpy_helper

    kinds = {name: BOOL if name == "flag" else FLOAT for name in inputs}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def answers(made: Any, fed: Tensors) -> Tensors:
    from dlconv.convert.onnx_trial import Trial

    found = Trial(made.SerializeToString()).answers(fed)
    assert found is not None
    return found


def prepared(source: Any, inputs: dict[str, list[int]]) -> Any:
    from dlconv.convert import onnx_for_tflite

    return onnx_for_tflite.prepare(source, {name: tuple(shape) for name, shape in inputs.items()}).model


def drawn(inputs: dict[str, list[int]]) -> Tensors:
    random = np.random.default_rng(5)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in inputs.items()}


def assert_answers_stay(source: Any, inputs: dict[str, list[int]], without: str) -> None:
    made, fed = prepared(source, inputs), drawn(inputs)
    assert without not in {item.op_type for item in made.graph.node}
    wanted, got = answers(source, fed), answers(made, fed)
    assert list(got) == list(wanted)
    for name, reference in wanted.items():
        np.testing.assert_allclose(got[name], reference, rtol=0, atol=2e-6, strict=True)


def recurrent(kind: str, way: str, *, starts: bool, steps: int, outputs: list[str], **attributes: Any) -> Any:
    sides, gates, random = (2 if way == "bidirectional" else 1), GATES[kind], np.random.default_rng(1)
    shapes = {"w": (sides, gates * 4, 3), "r": (sides, gates * 4, 4), "b": (sides, gates * 8)}
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    inputs: dict[str, list[int]] = {"x": [steps, 2, 3]}
    read = ["x", "w", "r", "b"]
    if starts:
        given = ["h0", "c0"] if kind == "LSTM" else ["h0"]
        inputs |= {name: [sides, 2, 4] for name in given}
        read += ["", *given]
    from onnx import helper

    named = [name if name in outputs else "" for name in ("y", "h", "c")[: 3 if kind == "LSTM" else 2]]
    work = helper.make_node(kind, read, named, hidden_size=4, direction=way, **attributes)
    return model([work], inputs, outputs, weights), inputs


@pytest.mark.parametrize("way", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_with_starts_are_written_out(kind: str, way: str) -> None:
    outputs = ["y", "h", "c"] if kind == "LSTM" else ["y", "h"]
    source, inputs = recurrent(kind, way, starts=True, steps=5, outputs=outputs)
    assert_answers_stay(source, inputs, without=kind)


@pytest.mark.parametrize("way", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_of_free_length_are_loops(kind: str, way: str) -> None:
    from dlconv.convert import onnx_for_tflite
    from dlconv.convert.onnx_followers import Followers

    outputs = ["y", "h", "c"] if kind == "LSTM" else ["y", "h"]
    source, inputs = recurrent(kind, way, starts=way == "reverse", steps=5, outputs=outputs)
    follow = Followers(axes={"x": {0, 1}})
    made = onnx_for_tflite.prepare(source, {name: tuple(shape) for name, shape in inputs.items()}, follow).model
    assert sum(item.op_type == "Loop" for item in made.graph.node) == (2 if way == "bidirectional" else 1)
    fed = drawn(inputs)
    wanted, got = answers(source, fed), answers(made, fed)
    assert list(got) == list(wanted) == outputs
    for name, reference in wanted.items():
        np.testing.assert_allclose(got[name], reference, rtol=0, atol=2e-6, strict=True)


def test_a_gru_may_reset_after_its_product() -> None:
    source, inputs = recurrent("GRU", "forward", starts=True, steps=3, outputs=["h"], linear_before_reset=1)
    assert_answers_stay(source, inputs, without="GRU")


def test_a_last_cell_state_is_written_out() -> None:
    source, inputs = recurrent("LSTM", "bidirectional", starts=False, steps=4, outputs=["c"])
    assert_answers_stay(source, inputs, without="LSTM")


@pytest.mark.parametrize("way", ["forward", "reverse", "bidirectional"])
def test_a_last_hidden_state_is_taken_from_all_of_them(way: str) -> None:
    source, inputs = recurrent("LSTM", way, starts=False, steps=5, outputs=["h"])
    made, fed = prepared(source, inputs), drawn(inputs)
    [layer] = [item for item in made.graph.node if item.op_type == "LSTM"]
    assert list(layer.output) == [layer.output[0]] and layer.output[0]
    np.testing.assert_array_equal(answers(made, fed)["h"], answers(source, fed)["h"])


def test_rare_recurrent_layers_stay() -> None:
    source, inputs = recurrent("LSTM", "forward", starts=True, steps=3, outputs=["c"], clip=0.5)
    assert [item.op_type for item in prepared(source, inputs).graph.node] == ["LSTM"]


@pytest.mark.parametrize("opset", [12, 18])
@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...pd,...qd->...pq", [[2, 3, 4], [2, 5, 4]]),
        ("...pd,qd->...pq", [[2, 6, 3, 4], [5, 4]]),
        ("bij,bjk", [[2, 3, 4], [2, 4, 5]]),
        ("ijk,kl->il", [[2, 3, 4], [4, 5]]),
        ("ij,kl->il", [[2, 3], [4, 5]]),
        ("ij->ji", [[2, 3]]),
        ("ijk->j", [[2, 3, 4]]),
        ("...ij->...", [[6, 2, 3]]),
    ],
)
def test_einsum_is_spelled_out(equation: str, shapes: list[list[int]], opset: int) -> None:
    inputs = dict(zip("ab", shapes, strict=False))
    source = model([node("Einsum", " ".join(inputs), "y", equation=equation)], inputs, ["y"], {}, opset)
    assert_answers_stay(source, inputs, without="Einsum")


@pytest.mark.parametrize(
    ("equation", "shapes"), [("ii->i", [[3, 3]]), ("...i,...i->...", [[2, 4], [1, 4]]), ("i,j,k->ijk", [[2], [3], [4]])]
)
def test_rare_einsums_stay(equation: str, shapes: list[list[int]]) -> None:
    inputs = dict(zip("abc", shapes, strict=False))
    source = model([node("Einsum", " ".join(inputs), "y", equation=equation)], inputs, ["y"], {})
    assert [item.op_type for item in prepared(source, inputs).graph.node] == ["Einsum"]


def conditional(other: str) -> Any:
    from onnx import helper

    def branch(kind: str) -> Any:
        inner = [node(kind, "x", "h"), node("Neg", "h", "r")]  # both branches use the same names
        return helper.make_graph(inner, kind, [], [helper.make_tensor_value_info("r", FLOAT, None)])

    choose = node("If", "flag", "y", then_branch=branch("Log"), else_branch=branch(other))
    return model([choose], {"x": [2, 3], "flag": []}, ["y"], {})


@pytest.mark.parametrize("flag", [True, False])
def test_both_branches_are_computed_and_one_is_taken(flag: bool) -> None:
    source = conditional("Exp")
    made = prepared(source, {"x": [2, 3], "flag": []})
    assert "If" not in {item.op_type for item in made.graph.node}
    # The logarithm of -1 is no number: it must not leak out of the branch that is not taken.
    fed = {"x": np.full((2, 3), -1, np.float32), "flag": np.array(flag)}
    np.testing.assert_array_equal(answers(made, fed)["y"], answers(source, fed)["y"])


def test_branches_of_other_shapes_are_refused() -> None:
    from dlconv.errors import Unsupported

    with pytest.raises(Unsupported, match="branches of a condition give shapes"):
        prepared(conditional("ReduceMax"), {"x": [2, 3], "flag": []})


def test_a_reversal_of_truth_values_is_done_on_numbers() -> None:
    inputs = {"x": [4, 3]}
    nodes = [
        node("Greater", "x zero", "above"),
        node("ReverseSequence", "above lengths", "turned", batch_axis=1, time_axis=0),
        node("Cast", "turned", "y", to=FLOAT),
    ]
    source = model(nodes, inputs, ["y"], {"zero": np.float32(0), "lengths": np.array([4, 2, 3])})
    made, fed = prepared(source, inputs), drawn(inputs)
    np.testing.assert_array_equal(answers(made, fed)["y"], answers(source, fed)["y"])
    turned = next(each for each in made.graph.node if each.op_type == "ReverseSequence")
    makers = {name: each for each in made.graph.node for name in each.output}
    assert makers[turned.input[0]].op_type == "Cast" and {item.name: item.i for item in turned.attribute} == {
        "batch_axis": 1,
        "time_axis": 0,
    }


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3, 3], "pads": [1, 1, 1, 1, 1, 1]},
        {"kernel_shape": [1, 3, 2], "strides": [1, 2, 3], "pads": [0, 1, 0, 0, 0, 1]},
        {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2], "dilations": [2, 1, 3], "ceil_mode": 1},
    ],
)
def test_a_largest_value_over_three_axes_is_taken_in_two_steps(attributes: dict[str, Any]) -> None:
    inputs = {"x": [2, 3, 5, 7, 8]}
    source = model([node("MaxPool", "x", "y", **attributes), node("Neg", "y", "z")], inputs, ["z"], {})
    assert_answers_stay(source, inputs, "none")
    pools = [item for item in prepared(source, inputs).graph.node if item.op_type == "MaxPool"]
    assert [len(each.ints) for item in pools for each in item.attribute if each.name == "kernel_shape"] == [2, 2]


def test_a_sequence_of_constants_is_no_constant() -> None:
    inputs = {"x": [2, 3]}
    nodes = [node("SequenceConstruct", "a b", "s"), node("SequenceAt", "s place", "t"), node("Add", "x t", "y")]
    weights = {"a": np.float32(1), "b": np.float32(2), "place": np.array(1)}
    assert_answers_stay(model(nodes, inputs, ["y"], weights), inputs, "SequenceAt")


def test_a_node_without_inputs_stays() -> None:
    inputs = {"x": [2, 3]}
    nodes = [node("SequenceEmpty", "", "s"), node("SequenceInsert", "s x", "t"), node("SequenceAt", "t place", "y")]
    source = model(nodes, inputs, ["y"], {"place": np.array(0)})
    assert_answers_stay(source, inputs, "none")


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("first", [[], [7.0, 8.0]])
def test_of_lists_of_different_lengths_one_is_taken(flag: bool, first: list[float]) -> None:
    from onnx import helper, numpy_helper

    def branch(*items: Any) -> Any:
        return helper.make_graph(items, "branch", [], [helper.make_tensor_value_info("r", FLOAT, None)])

    known = node("Constant", "", "r", value=numpy_helper.from_array(np.array(first, np.float32)))
    found = [node("NonZero", "kept", "p"), node("Squeeze", "p first", "q"), node("Gather", "x q", "r")]
    choose = node("If", "flag", "h", then_branch=branch(known), else_branch=branch(*found))
    kept = node("Greater", "x zero", "kept")
    count = [node("Neg", "h", "y"), node("Shape", "h", "length"), node("Cast", "length", "count", to=FLOAT)]
    weights = {"zero": np.zeros(1, np.float32), "first": np.array([0])}
    source = model([kept, choose, *count], {"x": [6], "flag": []}, ["y", "count"], weights)
    made = prepared(source, {"x": [6], "flag": []})
    assert "If" not in {item.op_type for item in made.graph.node}
    fed = {"x": np.array([1, -1, 2, -2, 3, 4], np.float32), "flag": np.array(flag)}
    np.testing.assert_array_equal(-answers(made, fed)["y"], first if flag else [1, 2, 3, 4])
    np.testing.assert_array_equal(answers(made, fed)["count"], [len(first) if flag else 4])


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("ratio", "rows", "columns"), [(1, 1, 1), (2, 3, 2), (3, 2, 4)])
def test_roi_align_is_spelled_out(aligned: bool, ratio: int, rows: int, columns: int) -> None:
    inputs = {"x": [2, 3, 9, 11], "corners": [6, 4]}
    attributes: dict[str, Any] = {
        "output_height": rows,
        "output_width": columns,
        "sampling_ratio": ratio,
        "spatial_scale": 0.5,
        "coordinate_transformation_mode": "half_pixel" if aligned else "output_half_pixel",
    }
    # Regions inside, across each border, wholly outside, without extent, and turned around: times 12 about (8, 8).
    nodes = [node("Mul", "corners twelve", "wide"), node("Add", "wide eight", "rois")]
    nodes += [node("RoiAlign", "x rois batch", "y", **attributes)]
    weights = {"twelve": np.float32(12), "eight": np.float32(8), "batch": np.array([0, 1, 1, 0, 1, 0])}
    assert_answers_stay(model(nodes, inputs, ["y"], weights), inputs, "RoiAlign")


@pytest.mark.parametrize("attributes", [{"sampling_ratio": 0}, {"sampling_ratio": 2, "mode": "max"}])
def test_rare_roi_aligns_stay(attributes: dict[str, Any]) -> None:
    inputs = {"x": [1, 2, 8, 8], "rois": [3, 4]}
    align = node("RoiAlign", "x rois batch", "y", output_height=2, output_width=2, **attributes)
    source = model([align], inputs, ["y"], {"batch": np.zeros(3, np.int64)})
    assert [item.op_type for item in prepared(source, inputs).graph.node] == ["RoiAlign"]
