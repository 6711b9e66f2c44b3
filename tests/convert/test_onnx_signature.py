"""What an ONNX file says of its inputs, and `--input` laid over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert.onnx_signature import apply_inputs, read
from dlconv.errors import SignatureError
from dlconv.model import Signature, TensorSpec


def _saved(folder: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], **weights: Any) -> str:
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return str(folder / "model.onnx")


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs, outputs, **attributes)


@pytest.mark.onnx
def test_the_range_of_indices_is_that_of_the_smallest_table(tmp_path: Path) -> None:
    nodes = [
        _node("Cast", ["ids"], ["wide"], to=7),
        _node("Gather", ["big", "wide"], ["a"]),
        _node("Gather", ["small", "wide"], ["b"], axis=1),
        _node("Transpose", ["b"], ["t"], perm=[1, 2, 0]),
        _node("Add", ["a", "t"], ["y"]),
    ]
    tables = {"big": np.zeros((50, 4), np.float32), "small": np.zeros((4, 30), np.float32)}
    path = _saved(tmp_path, nodes, {"ids": (6, ["N", 5])}, {"y": (1, ["N", 5, 4])}, **tables)
    assert read(path)["bounds"] == {"ids": [0, 29]}


@pytest.mark.onnx
@pytest.mark.parametrize("way", ["itself", "picked"])
def test_a_number_that_is_compared_has_the_value_it_is_compared_with(tmp_path: Path, way: str) -> None:
    picked = [_node("Reshape", ["rate", "one"], ["list"]), _node("Gather", ["list", "first"], ["picked"])]
    compared = "rate" if way == "itself" else "picked"
    nodes = [*picked, _node("Equal", [compared, "known"], ["is"]), _node("Where", ["is", "x", "zero"], ["y"])]
    given = {"known": np.int64(16000), "zero": np.float32(0), "one": np.array([1]), "first": np.int64(0)}
    path = _saved(tmp_path, nodes, {"x": (1, [3]), "rate": (7, [])}, {"y": (1, [3])}, **given)
    assert read(path)["bounds"] == {"rate": [16000, 16000]}


@pytest.mark.onnx
def test_open_output_dimensions_are_found_where_inputs_tell_them(tmp_path: Path) -> None:
    nodes = [_node("Transpose", ["x"], ["y"], perm=[1, 0, 2])]
    path = _saved(tmp_path, nodes, {"x": (1, [None, "T", 3])}, {"y": (1, [None, None, None])})
    signature = Signature.from_dict(read(path)["signature"])
    assert signature.inputs[0].shape == ("dim_0", "T", 3)
    assert signature.outputs[0].shape == ("T", "dim_0", 3)


@pytest.mark.onnx
def test_scalars_and_kinds_are_read(tmp_path: Path) -> None:
    nodes = [_node("Where", ["on", "x", "s"], ["y"])]
    path = _saved(tmp_path, nodes, {"on": (9, [2]), "x": (11, [2]), "s": (11, [])}, {"y": (11, [2])})
    found = read(path)
    signature = Signature.from_dict(found["signature"])
    assert [str(spec) for spec in signature.inputs] == ["on:2:bool", "x:2:float64", "s::float64"]
    assert found["opset"] == 17


_IMAGE = Signature(
    inputs=(TensorSpec("x", "float32", ("batch", 3, "side")), TensorSpec("mask", "bool", ("batch", "length"))),
    outputs=(TensorSpec("y", "float32", ("batch", "other")),),
)


def test_a_fixed_size_is_fixed_everywhere() -> None:
    got = apply_inputs(_IMAGE, (TensorSpec("x", "", (4, 3, "side")),))
    assert [spec.shape for spec in got.inputs] == [(4, 3, "side"), (4, "length")]
    assert got.outputs[0].shape == (4, "other")
    assert got.inputs[0].dtype == "float32"


def test_a_dimension_can_be_renamed() -> None:
    got = apply_inputs(_IMAGE, (TensorSpec("x", "float32", ("N", 3, 8)),))
    assert [spec.shape for spec in got.inputs] == [("N", 3, 8), ("N", "length")]


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        (TensorSpec("z", "", (1,)), "no input 'z'"),
        (TensorSpec("x", "float16", ("batch", 3, 8)), "x is float32 in the model, not float16"),
        (TensorSpec("x", "", (1, 3)), "x has 3 dimensions in the model, not 2"),
        (TensorSpec("x", "", (1, 4, 8)), "axis 1 of x is 3 in the model, not 4"),
        (TensorSpec("x", "", (1, "C", 8)), "axis 1 of x is 3 in the model, not C"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_the_model_has(wish: TensorSpec, problem: str) -> None:
    with pytest.raises(SignatureError) as caught:
        apply_inputs(_IMAGE, (wish,))
    assert problem in caught.value.met
    assert "x:batchx3xside:float32" in caught.value.wanted


def test_one_name_cannot_have_two_sizes_and_all_problems_are_told() -> None:
    wishes = (TensorSpec("x", "", (1, 3, 8)), TensorSpec("mask", "", (2, 7)), TensorSpec("z", "", (1,)))
    with pytest.raises(SignatureError) as caught:
        apply_inputs(_IMAGE, wishes)
    assert len(caught.value.problems) == 2
    assert "asked to be both 1 and 2" in caught.value.problems[0]
