"""int8 for TFLite: what ai-edge-quantizer cannot take as onnx2tf writes it, and what lies between nodes that stay."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.runtimes import tflite_flatbuffer
from tests.end_to_end.test_export import receipt_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.tflite_flatbuffer import FlatGraph

pytestmark = [pytest.mark.onnx, pytest.mark.onnx2tf, pytest.mark.tflite]
_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))


def convolutions(folder: Path, between: list[Any], last: str, size: int) -> Path:
    """Two convolutions: "first" of 3 channels to 8, and "second" of `last` to 4, of `size` rows and columns."""
    random = np.random.default_rng(0)
    stored = [_stored(name, random.standard_normal(shape).astype(np.float32) / 5)
              for name, shape in (("v", (8, 3, 3, 3)), ("w", (4, 8, 3, 3)))]  # fmt: skip
    nodes = [
        _node("Conv", ["x", "v"], ["a"], name="first", pads=[1, 1, 1, 1]),
        *between,
        _node("Conv", [last, "w"], ["y"], name="second", pads=[1, 1, 1, 1]),
    ]
    made: Path = _save(folder, nodes, [_value("x", [1, 3, 16, 16])], [_value("y", [1, 4, size, size])], stored)
    np.savez(folder / "samples.npz", x=random.standard_normal((40, 3, 16, 16)).astype(np.float32))
    return made


def graph_of(bundle: Path) -> FlatGraph:
    return tflite_flatbuffer.load(bundle / "model.tflite").graphs[0]


def dtypes(graph: FlatGraph, operator: str) -> list[str]:
    """Of the first input of each operator of that name."""
    return [graph.tensors[each.inputs[0]].dtype for each in graph.operators if each.name == operator]


@pytest.mark.parametrize("is_positive", [True, False])
def test_a_padded_max_pool_is_computed_in_int8(is_positive: bool, dlconv: Callable[..., Any], tmp_path: Path) -> None:
    """onnx2tf pads it with the lowest of float32, in a constant of the shape [1], at which the quantiser fails."""
    pool = [_node("MaxPool", ["b" if is_positive else "a"], ["c"], name="pool", kernel_shape=[3, 3], strides=[2, 2],
                  pads=[1, 1, 1, 1])]  # fmt: skip
    between = [_node("Relu", ["a"], ["b"], name="relu"), *pool] if is_positive else pool
    path = convolutions(tmp_path, between, "c", 8)
    ran = dlconv("export", path, "--to", "tflite", "--int8", "--samples", tmp_path / "samples.npz", "-o", tmp_path)
    assert ran.code == 0, ran.err
    receipt, graph = receipt_of(tmp_path / "model-tflite-int8"), graph_of(tmp_path / "model-tflite-int8")
    assert receipt["evidence"]["account"]["operators"] == {"int8": 2}
    assert dtypes(graph, "PADV2") == dtypes(graph, "MAX_POOL_2D") == ["int8"]
    assert dtypes(graph, "RELU") == [], "it is the convolution's last step"
    (pad,) = [each for each in graph.operators if each.name == "PADV2"]
    padded, given = graph.tensors[pad.outputs[0]], graph.tensors[pad.inputs[0]]
    assert (padded.scale, padded.zero_point) == (given.scale, given.zero_point)  # the lowest number widened no range


def test_what_lies_between_nodes_that_stay_is_not_rounded(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    """The file turns and pads what the first convolution gives the second: in float32 where both stay."""
    pad = [_node("Relu", ["a"], ["b"], name="relu"), _node("Pad", ["b", "by"], ["c"], name="pad")]
    path = convolutions(tmp_path, pad, "c", 18)
    stored = _stored("by", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    import onnx

    model = onnx.load(path)
    model.graph.initializer.append(stored)
    model.graph.node.append(_node("MatMul", ["y", "u"], ["z"], name="third"))
    model.graph.initializer.append(_stored("u", np.random.default_rng(1).standard_normal((18, 18)).astype(np.float32)))
    model.graph.output[0].CopyFrom(_value("z", [1, 4, 18, 18]))
    onnx.save(model, path)
    (tmp_path / "keep.txt").write_text("first\nrelu\nsecond\n")
    ran = dlconv("export", path, "--to", "tflite", "--int8", "--samples", tmp_path / "samples.npz", "-o", tmp_path,
                 "--keep-list", tmp_path / "keep.txt")  # fmt: skip
    assert ran.code == 0, ran.err
    graph = graph_of(tmp_path / "model-tflite-int8")
    made = {number: each for each in graph.operators for number in each.outputs}
    second = [each for each in graph.operators if each.name == "CONV_2D"][1]
    place, kinds = second.inputs[0], []
    while made[place].name != "CONV_2D":
        kinds.append((made[place].name, graph.tensors[place].dtype))
        place = made[place].inputs[0]
    assert "PAD" in dict(kinds) and {dtype for _, dtype in kinds} == {"float32"}, kinds
    assert "QUANTIZE" not in dict(kinds) and dtypes(graph, "CONV_2D") == ["float32", "float32"]
    first = graph.tensors[graph.operators[0].inputs[0]], graph.operators[0].name
    assert first[1] == "TRANSPOSE" and first[0].dtype == "float32"  # nor what the model is given
