"""The layout of image inputs is read off the operators, and turned with the answers unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert import onnx_layout
from dlconv.convert.edge import Step
from dlconv.convert.onnx_to_onnx import convert
from dlconv.errors import Unsupported
from dlconv.model import Signature, TensorSpec

pytestmark = pytest.mark.onnx

TO_FIRST = (0, 3, 1, 2)


def model(shape: tuple[int, ...], *nodes: Any, weights: dict[str, Any], name: str = "x", outputs: int = 1) -> Any:
    """A model of one float input; its last nodes' outputs are called y0, y1, ..."""
    from onnx import TensorProto, helper, numpy_helper

    stored = [numpy_helper.from_array(np.asarray(array), key) for key, array in weights.items()]
    given = [helper.make_tensor_value_info(f"y{each}", TensorProto.FLOAT, list("abcd")) for each in range(outputs)]
    taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(list(nodes), "g", taken, given, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs.split(), [output], **attributes)


FILTER = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)


def first(**more: Any) -> Any:
    return model((2, 3, 5, 7), node("Relu", "x", "a"), node("Conv", "a w", "y0"), weights={"w": FILTER}, **more)


def last() -> Any:
    nodes = (node("Mul", "x s", "a"), node("Transpose", "a", "b", perm=TO_FIRST), node("Conv", "b w", "y0"))
    return model((2, 5, 7, 3), *nodes, weights={"w": FILTER, "s": np.float32(0.5)})


def last_of_one_channel() -> Any:
    sizes = np.array([-1, 1, 5, 7], np.int64)
    nodes = (node("Reshape", "x r", "b"), node("Conv", "b w", "y0"))
    return model((2, 5, 7, 1), *nodes, weights={"w": FILTER[:, :1], "r": sizes})


def read_both_ways() -> Any:
    nodes = (
        node("Transpose", "x", "b", perm=TO_FIRST),
        node("Conv", "b w", "y0"),
        node("GlobalAveragePool", "x", "y1"),
    )
    return model((2, 3, 3, 3), *nodes, weights={"w": FILTER}, outputs=2)


def in_another_order() -> Any:
    nodes = (node("Transpose", "x", "b", perm=(0, 3, 2, 1)), node("Conv", "b w", "y0"))
    return model((2, 5, 7, 3), *nodes, weights={"w": FILTER})


def no_image() -> Any:
    nodes = (node("MatMul", "x m", "y0"),)
    return model((2, 3, 5, 7), *nodes, weights={"m": np.ones((7, 2), np.float32)})


def as_weights() -> Any:
    nodes = (node("Conv", "i x", "y0"),)
    return model((4, 3, 3, 3), *nodes, weights={"i": np.ones((1, 3, 8, 8), np.float32)})


@pytest.mark.parametrize(
    ("made", "layout"),
    [
        (first, "nchw"),
        (last, "nhwc"),
        (last_of_one_channel, "nhwc"),
        (read_both_ways, None),
        (in_another_order, None),
        (no_image, None),
        (as_weights, None),
    ],
)
def test_a_layout_is_what_the_operators_read(made: Any, layout: str | None) -> None:
    assert onnx_layout.layouts(made()).get("x") == layout


@pytest.mark.parametrize("made", [first, last, last_of_one_channel])
@pytest.mark.parametrize("wanted", ["nchw", "nhwc"])
@pytest.mark.parametrize("simplifier", ["onnxsim", "none"])
def test_a_turned_model_answers_the_same(made: Any, wanted: str, simplifier: str, tmp_path: Path) -> None:
    import onnx
    import onnxruntime as ort

    given = made()
    onnx.save(given, tmp_path / "given.onnx")
    shape = tuple(dim.dim_value for dim in given.graph.input[0].type.tensor_type.shape.dim)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    signature = Signature((TensorSpec("x", "float32", shape),))
    (tmp_path / "out").mkdir()
    settings = {"simplifier": simplifier, "layout": wanted}
    done = convert(Step(tmp_path / "given.onnx", tmp_path / "out", signature, {"x": x}, settings))
    (spec,) = done.signature.inputs
    assert bool(spec.permutation) == (onnx_layout.layouts(made())["x"] != wanted)
    axes = spec.permutation or (0, 1, 2, 3)
    assert spec.shape == tuple(shape[axis] for axis in axes)
    (wants,) = ort.InferenceSession(str(tmp_path / "given.onnx")).run(None, {"x": x})
    turned = np.transpose(x, axes)
    (has,) = ort.InferenceSession(str(tmp_path / "out" / "model.onnx")).run(None, {"x": turned})
    np.testing.assert_allclose(has, wants, rtol=1e-5, atol=1e-5)


def test_a_model_without_images_is_not_turned_in_silence(tmp_path: Path) -> None:
    import onnx

    onnx.save(no_image(), tmp_path / "given.onnx")
    signature = Signature((TensorSpec("x", "float32", (2, 3, 5, 7)),))
    (tmp_path / "out").mkdir()
    step = Step(tmp_path / "given.onnx", tmp_path / "out", signature, {}, {"layout": "nhwc"})
    with pytest.raises(Unsupported, match="no input has a layout"):
        convert(step)
