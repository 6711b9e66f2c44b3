"""Attention with as many heads as tokens, which OpenVINO's CPU plugin alone gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlconv.convert.openvino_attention import guard

ov = pytest.importorskip("openvino")
WIDTH = 4


def attention(tokens: int, heads: int) -> Any:
    """Attention over [1, tokens, heads * WIDTH], whose queries, keys and values are weighed by one matrix."""
    ops = ov.opset13
    x = ops.parameter([1, tokens, heads * WIDTH], np.float32, name="x")
    drawn = np.random.default_rng(0)
    weight = drawn.standard_normal((3 * heads * WIDTH, heads * WIDTH)).astype(np.float32)
    packed = ops.reshape(
        ops.matmul(x, ops.constant(weight), False, True), ops.constant([1, tokens, 3, heads, WIDTH]), False
    )
    parts = ops.split(ops.transpose(packed, ops.constant([2, 0, 3, 1, 4])), ops.constant(0), 3)
    query, key, value = (ops.squeeze(part, ops.constant([0])) for part in parts.outputs())
    mixed = ops.matmul(ops.softmax(ops.matmul(query, key, False, True), -1), value, False, False)
    turned = ops.transpose(mixed, ops.constant([0, 2, 1, 3]))
    turned.output(0).set_names({"turned"})
    return ov.Model([ops.reshape(turned, ops.constant([1, tokens, heads * WIDTH]), False)], [x], "attention")


def by_numpy(tokens: int, heads: int, x: np.ndarray) -> np.ndarray:
    weight = np.random.default_rng(0).standard_normal((3 * heads * WIDTH, heads * WIDTH)).astype(np.float32)
    query, key, value = (x @ weight.T).reshape(tokens, 3, heads, WIDTH).transpose(1, 2, 0, 3)
    raw = query @ key.transpose(0, 2, 1)
    raised = np.exp(raw - raw.max(-1, keepdims=True))
    mixed = raised / raised.sum(-1, keepdims=True) @ value
    return np.asarray(mixed.transpose(1, 0, 2).reshape(tokens, heads * WIDTH))


@pytest.mark.parametrize("size", [2, 4, 12])
def test_as_many_heads_as_tokens(size: int) -> None:
    model = attention(size, size)
    assert "go by five axes: 1" in guard(model)[0]
    x = np.random.default_rng(1).standard_normal((size, size * WIDTH)).astype(np.float32) / 8
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(x[None])[0][0], by_numpy(size, size, x), rtol=1e-3, atol=1e-4)


def test_other_numbers_stay_as_they_are() -> None:
    model = attention(5, 4)
    before = [node.get_type_name() for node in model.get_ordered_ops()]
    assert guard(model) == () and [node.get_type_name() for node in model.get_ordered_ops()] == before


def test_a_key_turned_over_goes_where_it_went() -> None:
    ops = ov.opset13
    x = ops.parameter([2, 3, 3, 5], np.float32)
    model = ov.Model([ops.transpose(x, ops.constant([0, 2, 3, 1]))], [x], "turned")
    assert guard(model)
    given = np.arange(90, dtype=np.float32).reshape(2, 3, 3, 5)
    assert np.array_equal(ov.Core().compile_model(model, "CPU")(given)[0], given.transpose(0, 2, 3, 1))
