"""float16 and bfloat16 made float32: every place of a graph that can hold them, with the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert.onnx_widened import write
from dlconv.graphs.onnx_graph import graphs_of, nodes_of, signature_of, tensors_of
from dlconv.model import Signature

pytestmark = pytest.mark.onnx


def made(kind: int) -> Any:
    """A graph with a type in each place: weights, a Constant, casts, a branch of its own, a function, a sequence."""
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "w")

    def half(array: Any, name: str) -> Any:
        return helper.make_tensor(name, kind, array.shape, array.astype(np.float32).ravel())

    branches = [
        helper.make_graph(
            [
                helper.make_node("Constant", [], ["c"], value=half(np.full((1,), number), "")),
                helper.make_node("Mul", ["h", "c"], ["b"]),
            ],
            "branch", [], [helper.make_tensor_value_info("b", kind, ["n", 4])],
        )
        for number in (2.0, 3.0)
    ]  # fmt: skip
    twice = helper.make_function(
        "own", "Twice", ["a"], ["b"],
        [
            helper.make_node("Cast", ["a"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["f", "f"], ["g"]),
            helper.make_node("Cast", ["g"], ["b"], to=kind),
        ],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["s32"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["zero"], value_float=0.0),
        helper.make_node("Greater", ["s32", "zero"], ["is"]),
        helper.make_node("If", ["is"], ["i"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Twice", ["i"], ["t"], domain="own"),
        helper.make_node("SequenceConstruct", ["t", "h"], ["q"]),
        helper.make_node("ConcatFromSequence", ["q"], ["y"], axis=0),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, ["n", 3])],
        [helper.make_tensor_value_info("y", kind, ["m", 4])],
        [half(numpy_helper.to_array(weights), "w")],
        value_info=[helper.make_tensor_sequence_value_info("q", kind, None)],
    )  # fmt: skip
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        functions=[twice],
        ir_version=8,
    )


def widened(model: Any, folder: Path) -> tuple[Any, Signature, str]:
    import onnx

    onnx.save(model, str(folder / "m.onnx"))
    path, signature, note = write(folder / "m.onnx", folder / "wide", signature_of(model))
    return onnx.load(str(path)), signature, note


@pytest.mark.parametrize(("kind", "name"), [(10, "float16"), (16, "bfloat16")])
def test_nothing_of_it_is_left_and_the_answers_are_those_of_exact_arithmetic(
    kind: int, name: str, tmp_path: Path
) -> None:
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    source = made(kind)
    model, signature, note = widened(source, tmp_path)
    onnx.checker.check_model(model, full_check=True)
    assert name in note
    assert not {10, 16} & {tensor.data_type for tensor in tensors_of(model)}
    types = [value.type for graph in graphs_of(model) for value in (*graph.input, *graph.output, *graph.value_info)]
    assert not [each for each in types if "elem_type: 1" not in str(each)]
    casts = [a.i for holder in (model.graph, *model.functions) for n in nodes_of(holder) for a in n.attribute
             if a.name == "to"]  # fmt: skip
    assert casts == [1, 1, 1]
    assert [spec.dtype for spec in (*signature.inputs, *signature.outputs)] == ["float32", "float32"]
    assert {spec.boundary for spec in (*signature.inputs, *signature.outputs)} == {"float16" if kind == 10 else ""}
    weights = numpy_helper.to_array(source.graph.initializer[0]).astype(np.float64)
    x = np.array([[1, 2, -3], [0.5, -1, 4]], np.float32)
    (got,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    h = x.astype(np.float64) @ weights
    np.testing.assert_allclose(got, np.concatenate([4 * h, h]), rtol=1e-6)


def test_a_model_in_float32_stays_as_it_is(tmp_path: Path) -> None:
    source = made(1)
    model, signature, _ = widened(source, tmp_path)
    assert model.graph == source.graph and signature == signature_of(source)


def test_a_mask_of_float16s_largest_number_stays_finite_and_itself(tmp_path: Path) -> None:
    from onnx import numpy_helper

    source = made(10)
    source.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 4), -65504, np.float16), "w"))
    model, _, _ = widened(source, tmp_path)
    assert np.all(numpy_helper.to_array(model.graph.initializer[0]) == np.float32(-65504))
