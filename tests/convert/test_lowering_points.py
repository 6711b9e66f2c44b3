"""At which sizes a model is lowered: those that the source takes, each name's apart from the others'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlconv.convert.lowering_points import points
from dlconv.convert.onnx_trial import Trial
from dlconv.errors import StepError

pytestmark = pytest.mark.onnx


def source(nodes: list[tuple[str, str, str]], inputs: dict[str, tuple[str, ...]], **weights: Any) -> Trial:
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(kind, given.split(), made.split()) for kind, given, made in nodes],
        "test",
        [helper.make_tensor_value_info(name, 7 if name == "ids" else 1, list(dims)) for name, dims in inputs.items()],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Trial(model.SerializeToString())


LIMITED = [
    ("Shape", "ids", "shape"),
    ("Slice", "shape one two", "length"),
    ("Gather", "table ids", "words"),
    ("Slice", "places zero length zero", "positions"),
    ("Add", "words positions", "y"),
]


def test_a_table_of_positions_bounds_the_sizes() -> None:
    given = {name: np.array([number]) for number, name in enumerate(("zero", "one", "two"))}
    given |= {"table": np.ones((4, 3), np.float32), "places": np.ones((64, 3), np.float32)}
    trial = source(LIMITED, {"ids": ("N", "S")}, **given)
    found = points(trial, {"ids": ("N", "S")}, {"ids": np.zeros((2, 64), np.int64)})
    assert found.sizes == ({"N": 2, "S": 22}, {"N": 8, "S": 22}, {"N": 2, "S": 63}, {"N": 5, "S": 33})
    assert [feed["ids"].shape for feed in found.feeds] == [(2, 22), (8, 22), (2, 63), (5, 33)]
    assert [answer["y"].shape[:2] for _, answer in found.proofs] == [(5, 33), (2, 27), (2, 41), (2, 51), (2, 58)]
    assert found.least == {"N": 1, "S": 1}


def test_a_size_of_one_is_none_of_them() -> None:
    trial = source([("Neg", "x", "y")], {"x": ("N", "S")})
    found = points(trial, {"x": ("N", 3)}, {"x": np.ones((1, 3), np.float32)})
    assert found.sizes == ({"N": 2}, {"N": 5}, {"N": 3})


def test_sizes_between_and_a_far_one_are_proofs() -> None:
    trial = source([("Neg", "x", "y")], {"x": ("N", "S")})
    found = points(trial, {"x": ("N", "S")}, {"x": np.ones((2, 128), np.float32)})
    assert [feed["x"].shape for feed, _ in found.proofs] == [
        (5, 215),
        (2, 89),
        (2, 120),
        (2, 155),
        (2, 201),
        (2, 235),
        (2, 1024),
    ]
    assert found.sizes == ({"N": 2, "S": 65}, {"N": 8, "S": 65}, {"N": 2, "S": 257}, {"N": 5, "S": 215})


def test_a_source_that_does_not_take_one() -> None:
    trial = source([("Conv", "x w", "y")], {"x": ("N", "C", "S")}, w=np.ones((1, 2, 3), np.float32))
    found = points(trial, {"x": ("N", 2, "S")}, {"x": np.ones((1, 2, 16), np.float32)})
    assert found.least == {"N": 1, "S": 9}


def test_a_source_of_one_size() -> None:
    trial = source([("Reshape", "x to", "y")], {"x": ("N",)}, to=np.array([2, 3]))
    with pytest.raises(StepError, match="takes no other size that was tried of N"):
        points(trial, {"x": ("N",)}, {"x": np.ones(6, np.float32)})


def test_a_source_of_two_sizes() -> None:
    trial = source([("Expand", "x to", "y")], {"x": ("N", "M")}, to=np.array([2, 5]))
    with pytest.raises(StepError, match="fewer than 3 sizes above one of N"):
        points(trial, {"x": ("N", 5)}, {"x": np.ones((4, 5), np.float32)})


def test_two_names_of_one_size() -> None:
    trial = source([("Add", "a b", "y")], {"a": ("N",), "b": ("M",)})
    with pytest.raises(StepError, match="takes no other size that was tried of N"):
        points(trial, {"a": ("N",), "b": ("M",)}, {"a": np.ones(4, np.float32), "b": np.ones(4, np.float32)})
