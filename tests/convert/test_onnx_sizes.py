"""Sizes of free dimensions at which an ONNX model is judged: such as pictures have, at which every window fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert import onnx_sizes
from dlconv.convert.onnx_signature import read

pytestmark = pytest.mark.onnx


def _saved(folder: Path, nodes: list[tuple[str, list[str], list[str], dict[str, Any]]], x: list[Any], y: list[Any],
           **weights: Any) -> str:  # fmt: skip
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(kind, taken, given, **told) for kind, taken, given, told in nodes],
        "g",
        [helper.make_tensor_value_info("x", 1, x)],
        [helper.make_tensor_value_info("y", 1, y)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    return str(folder / "model.onnx")


def _settled(path: str) -> dict[str, int]:
    sizes: dict[str, int] = onnx_sizes.settle(path, read(path)["signature"], {})["sizes"]
    return sizes


def _explored(path: str, sizes: dict[str, int], ranges: dict[str, list[int]] | None = None) -> dict[str, Any]:
    return onnx_sizes.explore(path, read(path)["signature"], {}, sizes, ranges or {})


PYRAMID: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
    ("MaxPool", ["x"], ["a"], {"kernel_shape": [16, 16], "strides": [16, 16], "ceil_mode": 1}),
    ("Resize", ["a", "", "scales"], ["b"], {"mode": "nearest"}),
    ("Add", ["x", "b"], ["y"], {}),
]
"""Of those networks that halve a picture and double it again: their sides are multiples of 16."""
SCALES = np.array([1, 1, 16, 16], np.float32)


def test_pictures_are_of_a_size_that_pictures_have_and_no_squares(tmp_path: Path) -> None:
    path = _saved(tmp_path, [("Relu", ["x"], ["y"], {})], ["N", 3, "H", "W"], ["N", 3, "H", "W"])
    assert _settled(path) == {"N": 2, "H": 64, "W": 128}
    path = _saved(tmp_path, [("Relu", ["x"], ["y"], {})], ["N", "T", 80], ["N", "T", 80])
    assert _settled(path) == {"N": 2, "T": 16}


def test_tables_have_more_rows(tmp_path: Path) -> None:
    assert _settled(_saved(tmp_path, [("Relu", ["x"], ["y"], {})], ["N", 30], ["N", 30])) == {"N": 16}
    assert _settled(_saved(tmp_path, [("Relu", ["x"], ["y"], {})], ["N", 16000], ["N", 16000])) == {"N": 2}
    pair = np.array([2, 30])
    path = _saved(tmp_path, [("Reshape", ["x", "pair"], ["y"], {})], ["N", 30], ["N", 30], pair=pair)
    assert _settled(path) == {"N": 2}


def test_names_that_are_none_stand_for_sizes_of_their_own(tmp_path: Path) -> None:
    path = _saved(tmp_path, [("Relu", ["x"], ["y"], {})], ["?", 3, "?", "?"], ["?", 3, "?", "?"])
    assert len({size for size in read(path)["signature"]["inputs"][0]["shape"] if size != 3}) == 3
    assert sorted(_settled(path).values()) == [2, 64, 128]


def test_a_size_at_which_a_window_is_wider_than_its_data_is_not_taken(tmp_path: Path) -> None:
    # ONNX Runtime answers with one element where the specification has none.
    pool = ("AveragePool", ["x"], ["y"], {"kernel_shape": [40, 40], "strides": [41, 41]})
    path = _saved(tmp_path, [pool], ["N", "T", "U", "V"], ["N", "T", "p", "q"])
    assert _settled(path) == {"N": 2, "T": 64, "U": 64, "V": 64}
    seen = _explored(path, {"N": 2, "T": 64, "U": 64, "V": 64})
    assert seen["others"] == [{"N": 1, "T": 64, "U": 64, "V": 64}, {"N": 3, "T": 96, "U": 96, "V": 96}]


def test_a_convolution_without_a_written_kernel_counts_too(tmp_path: Path) -> None:
    weight = np.ones((4, 3, 30, 3), np.float32)
    conv = ("Conv", ["x", "w"], ["y"], {"pads": [0, 1, 0, 1], "strides": [31, 1]})
    path = _saved(tmp_path, [conv], ["N", 3, "H", "W"], ["N", 4, "h", "w"], w=weight)
    assert _explored(path, {"N": 2, "H": 32, "W": 32})["others"][0] == {"N": 1, "H": 32, "W": 32}


def test_other_sizes_are_such_as_the_model_takes(tmp_path: Path) -> None:
    path = _saved(tmp_path, PYRAMID, ["N", 3, "H", "W"], ["N", 3, "H", "W"], scales=SCALES)
    seen = _explored(path, {"N": 2, "H": 64, "W": 128})
    assert seen["others"] == [{"N": 1, "H": 32, "W": 64}, {"N": 3, "H": 96, "W": 192}]
    assert not seen["notes"]
    # One and a half times as much is no multiple of 16, twice as much is.
    assert _explored(path, {"N": 2, "H": 16, "W": 16})["others"][1] == {"N": 4, "H": 32, "W": 32}


def test_the_ends_of_a_range_are_tried_and_no_other_sizes(tmp_path: Path) -> None:
    path = _saved(tmp_path, PYRAMID, ["N", 3, "H", "W"], ["N", 3, "H", "W"], scales=SCALES)
    ranges = {"N": [1, 8], "H": [16, 48], "W": [16, 50]}
    seen = _explored(path, {"N": 2, "H": 32, "W": 32}, ranges)
    assert seen["others"] == [{"N": 1, "H": 16, "W": 16}, {"N": 2, "H": 32, "W": 32}], "as many as ever"
    assert len(seen["notes"]) == 1 and "no larger size is judged" in seen["notes"][0] and "W=50" in seen["notes"][0]


def test_an_output_of_more_dimensions_than_the_file_says_is_told(tmp_path: Path) -> None:
    # The shape is computed in a branch, of which inference knows too little.
    from onnx import helper

    shape = [helper.make_tensor_value_info("whole", 7, None)]
    longer = helper.make_node("Concat", ["one", "own"], ["whole"], axis=0)
    branch = helper.make_graph([longer], "longer", [], shape)
    other = helper.make_graph([helper.make_node("Identity", ["own"], ["whole"])], "same", [], shape)
    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
        ("Shape", ["x"], ["own"], {}),
        ("ReduceMin", ["own"], ["least"], {"keepdims": 0}),
        ("Cast", ["least"], ["is"], {"to": 9}),
        ("If", ["is"], ["whole"], {"then_branch": branch, "else_branch": other}),
        ("Reshape", ["x", "whole"], ["y"], {}),
    ]
    path = _saved(tmp_path, nodes, [1, "T"], [1, "T"], one=np.array([1]))
    assert _explored(path, {"T": 16})["outputs"] == {"y": ["y_0", "y_1", "y_2"]}


def test_an_output_of_another_size_than_the_file_says_is_told(tmp_path: Path) -> None:
    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
        ("Greater", ["x", "zero"], ["above"], {}),
        ("NonZero", ["above"], ["places"], {}),
        ("Gather", ["places", "first"], ["rows"], {}),
        ("Gather", ["x", "rows"], ["y"], {}),
    ]
    one = {"zero": np.array(-100, np.float32), "first": np.array(0)}
    path = _saved(tmp_path, nodes, ["N", 3], [1, 3], **one)
    assert _explored(path, {"N": 2})["outputs"] == {"y": ["y_0", 3]}
