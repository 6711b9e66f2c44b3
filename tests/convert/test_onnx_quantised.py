"""Which ONNX models quantise what they are given anew in each call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert.onnx_signature import read
from dlconv.model import Signature

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.onnx


def model_of(*nodes: Any) -> Any:
    """x [n, 4] through the nodes to y: scales of 0.5 and 0.25, zero points 3 and 0, weights [4, 4] in 8 bits."""
    from onnx import helper, numpy_helper

    stored = {
        "s": np.float32(0.5), "z": np.uint8(3), "t": np.float32(0.25), "o": np.int8(0),
        "w": np.arange(16, dtype=np.int8).reshape(4, 4), "f": np.ones((4, 4), np.float32),
    }  # fmt: skip
    values = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    ends = [helper.make_tensor_value_info(name, 1, ["n", 4]) for name in "xy"]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def grids(model: Any, place: Path) -> list[tuple[float | None, int]]:
    import onnx

    onnx.save(model, str(place))
    found = Signature.from_dict(read(str(place))["signature"])
    return [(spec.scale, spec.zero_point) for spec in (*found.inputs, *found.outputs)]


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def test_scales_that_stand_in_the_file_make_no_such_model(tmp_path: Path) -> None:
    """Its float32 answers say what its Q/DQ pairs give, and a scale that is wrong by a hundredth has to be found."""
    model = model_of(
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
        node("DequantizeLinear", "w t o", "v"), node("MatMul", "d v", "m"),
        node("QuantizeLinear", "m t o", "r"), node("DequantizeLinear", "r t o", "y"),
    )  # fmt: skip
    assert grids(model, tmp_path / "m.onnx") == [(None, 0), (None, 0)]


def test_steps_that_each_call_finds_are_not_known(tmp_path: Path) -> None:
    dynamic = model_of(
        node("DynamicQuantizeLinear", "x", "q a b"), node("MatMulInteger", "q w b o", "i"),
        node("Cast", "i", "c", to=1), node("Mul", "c a", "y"),
    )  # fmt: skip
    assert grids(dynamic, tmp_path / "d.onnx") == [(0.0, 0), (0.0, 0)]


@pytest.mark.parametrize(
    "weights",
    [
        [("DequantizeLinear", "w t o", "v")],
        [("QuantizeLinear", "f t o", "q"), ("DequantizeLinear", "q t o", "v")],
    ],
)
def test_quantised_weights_alone_round_nothing_that_an_input_reaches(
    tmp_path: Path, weights: list[tuple[str, str, str]]
) -> None:
    model = model_of(*(node(*each) for each in weights), node("MatMul", "x v", "y"))
    assert grids(model, tmp_path / "m.onnx") == [(None, 0), (None, 0)]
