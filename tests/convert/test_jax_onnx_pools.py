"""Poolings over every axis become poolings over the image, where that is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlconv.convert.jax_onnx_pools import flatten_pools

pytestmark = pytest.mark.onnx

FLOAT = 1


def pooling(shape: tuple[int, ...], added: tuple[tuple[int, ...], ...] = ((0, 1),), **told: list[int]) -> Any:
    """Axes added in front of x, a MaxPool over all axes of x, the axes taken away again; as jax2onnx writes it."""
    from onnx import helper, numpy_helper

    nodes, source, initializers = [], "x", []
    for number, axes in enumerate(added):
        initializers.append(numpy_helper.from_array(np.array(axes, np.int64), f"axes{number}"))
        nodes.append(helper.make_node("Unsqueeze", [source, f"axes{number}"], [f"wide{number}"]))
        source = f"wide{number}"
    initializers.append(numpy_helper.from_array(np.array([0, 1], np.int64), "taken"))
    nodes.append(helper.make_node("MaxPool", [source], ["pooled"], **told))
    nodes.append(helper.make_node("Squeeze", ["pooled", "taken"], ["y"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "pool", [value("x", FLOAT, shape)], [value("y", FLOAT, [None] * len(shape))], initializers
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def by_hand(x: np.ndarray[Any, Any], kernel: list[int], strides: list[int], pads: list[int]) -> np.ndarray[Any, Any]:
    half = len(pads) // 2
    padded = np.pad(x, list(zip(pads[:half], pads[half:], strict=True)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel)
    steps = windows[tuple(slice(None, None, step) for step in strides)]
    return np.asarray(steps.max(tuple(range(x.ndim, 2 * x.ndim))))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_flattened_pooling_answers_the_same(data: st.DataObject) -> None:
    import onnxruntime

    rank = data.draw(st.integers(1, 2))
    kernel, strides = ([1, 1, *data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))] for _ in range(2))
    ends = [data.draw(st.integers(0, size - 1)) for size in kernel[2:] * 2]
    pads = [0, 0, *ends[:rank], 0, 0, *ends[rank:]]
    added = data.draw(st.sampled_from([((0, 1),), ((0,), (0,)), ((0,), (1,))]))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal((2, 3, 5, 6)[: 2 + rank])
    x = x.astype(np.float32)
    model = pooling(x.shape, added, kernel_shape=kernel, strides=strides, pads=pads)
    assert flatten_pools(model.graph) == 1
    assert [node.op_type for node in model.graph.node] == ["MaxPool"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], by_hand(x, kernel, strides, pads))


@pytest.mark.parametrize("told", [
    {"kernel_shape": [2, 1, 2, 2]}, {"kernel_shape": [1, 3, 2, 2]},
    {"kernel_shape": [1, 1, 2, 2], "strides": [2, 1, 1, 1]},
    {"kernel_shape": [1, 1, 2, 2], "pads": [1, 0, 0, 0, 0, 0, 0, 0]},
    {"kernel_shape": [1, 1, 2, 2], "pads": [0, 0, 0, 0, 0, 1, 0, 0]},
    {"kernel_shape": [1, 1, 2, 2], "dilations": [2, 1, 1, 1]},
])  # fmt: skip
def test_a_window_over_the_batch_or_the_channels_stays(told: dict[str, list[int]]) -> None:
    model = pooling((4, 3, 5, 6), **told)
    before = model.SerializeToString()
    assert flatten_pools(model.graph) == 0
    assert model.SerializeToString() == before


def test_what_is_read_elsewhere_stays() -> None:
    from onnx import helper

    model = pooling((2, 3, 4, 4), kernel_shape=[1, 1, 2, 2])
    model.graph.output.append(helper.make_tensor_value_info("pooled", FLOAT, [None] * 6))
    assert flatten_pools(model.graph) == 0
    model = pooling((2, 3, 4, 4), kernel_shape=[1, 1, 2, 2])
    model.graph.node.append(helper.make_node("Neg", ["pooled"], ["z"]))
    assert flatten_pools(model.graph) == 0
    model = pooling((2, 3, 4, 4), kernel_shape=[1, 1, 2, 2])
    model.graph.node.append(helper.make_node("Neg", ["wide0"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, [None] * 6))
    assert flatten_pools(model.graph) == 1
    assert [node.op_type for node in model.graph.node] == ["Unsqueeze", "MaxPool", "Neg"]
