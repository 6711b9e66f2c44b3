"""Loops and scans written out: the graph answers as it did, and what cannot be written out stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert import onnx_fold, onnx_unroll
from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_trial import Trial
from dlconv.errors import Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import tflite
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.runtimes.base import Tensors

pytestmark = pytest.mark.onnx

SCAN = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[5, 2, 3] x, float[2, 4, 3] z, float[2, 3] start) => (last, all, turned)
{
  last, all, turned = Scan <num_scan_inputs = 2, scan_input_axes = [0, 1], scan_input_directions = [0, 1],
    scan_output_axes = [1, 0], scan_output_directions = [0, 1], body = step (state, row, other) => (next, seen, half)
    <float[3] weight = {0.5, -1.0, 0.25}>
    {
      weighed = Mul(row, weight)
      summed = Add(weighed, state)
      next = Tanh(summed)
      seen = Add(next, other)
      half = Mul(seen, scale)
    }> (start, x, z)
}
"""
COUNTED = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[4, 3] x) => (total, counter, rows)
<int64 most = {1000}, bool go = {1}, int64 zero = {0}, int64 one = {1}, int64 length = {4}, float[3] none = {0, 0, 0}>
{
  counter, total, rows = Loop (most, go, zero, none) <body = step (int64 iteration, bool holds, int64 i, float[3] sum)
    => (bool again, int64 next, float[3] more, float[3] kept)
    {
      row = Gather <axis = 0> (x, i)
      more = Add(sum, row)
      kept = Sigmoid(more)
      next = Add(i, one)
      again = Less(next, length)
    }>
}
"""


def parsed(text: str, **weights: Any) -> Any:
    from onnx import numpy_helper, parser, shape_inference

    model = parser.parse_model(text)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()
    )
    return onnx_fold.fold(shape_inference.infer_shapes(model))


def drawn(model: Any) -> Tensors:
    random = np.random.default_rng(4)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def assert_written_out(model: Any, count: int = 1) -> Any:
    fed = drawn(model)
    wanted = Trial(model.SerializeToString()).answers(fed)
    assert wanted is not None
    made, unrolled = onnx_unroll.unroll(model)
    assert unrolled == count
    assert not {node.op_type for node in made.graph.node} & {"Loop", "Scan"}
    got = Trial(made.SerializeToString()).answers(fed)
    assert got is not None and list(got) == list(wanted)
    for name, value in wanted.items():
        assert got[name].shape == value.shape
        np.testing.assert_allclose(got[name], value, rtol=1e-6, atol=1e-7)
    onnx_unroll.refuse_loops(made)
    return made


def test_a_loop_as_long_as_what_another_gives_is_written_out_too() -> None:
    """Its nodes have names, which ONNX Runtime, that computes the length, takes once each."""
    from onnx import parser, shape_inference

    first, rest = COUNTED.split("{\n  counter, total, rows", 1)
    again = """
      halves = Sigmoid(rows)
      whole = Shape(halves)
      axis = Constant <value_int = 0> ()
      many = Gather(whole, axis)
      index, end, others = Loop (most, go, zero, none) <body = more (int64 turn, bool still, int64 at, float[3] state)
        => (bool on, int64 after, float[3] grown, float[3] seen)
        {
          taken = Gather <axis = 0> (halves, at)
          grown = Add(state, taken)
          seen = Tanh(grown)
          after = Add(at, one)
          on = Less(after, many)
        }>
    }
    """
    text = first.replace("rows)", "rows, float[3] end, float[l, 3] others)") + "{\n  counter, total, rows" + rest
    model = parser.parse_model(text.rstrip().removesuffix("}") + again)
    for node in model.graph.node:
        for body in (attribute.g for attribute in node.attribute if attribute.name == "body"):
            for number, inner in enumerate(body.node):
                inner.name = f"node {number}"
    model = onnx_fold.fold(shape_inference.infer_shapes(model))
    made = assert_written_out(model, 2)
    names = [node.name for node in made.graph.node if node.name]
    assert len(set(names)) == len(names) > 8


def test_a_scan_over_two_axes_forward_and_back() -> None:
    text = SCAN.replace("float[5, 2, 3] x", "float[4, 2, 3] x")
    assert_written_out(parsed(text, scale=2.0))


def test_a_loop_whose_counter_ends_it() -> None:
    made = assert_written_out(parsed(COUNTED))
    assert sum(node.op_type == "Sigmoid" for node in made.graph.node) == 4


@pytest.mark.parametrize(("most", "steps"), [(3, 3), (4, 4), (9, 4)])
def test_the_count_of_trips_ends_a_loop_too(most: int, steps: int) -> None:
    made = assert_written_out(parsed(COUNTED.replace("{1000}", f"{{{most}}}")))
    assert sum(node.op_type == "Sigmoid" for node in made.graph.node) == steps


def test_a_loop_with_a_condition_of_its_own_inside() -> None:
    """Names within the branches are those of the branches, in every step."""
    branch = """
      even = Mod(i, two)
      is_even = Cast <to = 9> (even)
      kept = If (is_even) <then_branch = a () => (float[3] y) { y = Neg(more) }, else_branch = b () => (float[3] y) {
        y = Abs(more) }>
    """
    text = COUNTED.replace("kept = Sigmoid(more)", branch).replace(
        "int64 one = {1}", "int64 one = {1}, int64 two = {2}"
    )
    assert_written_out(parsed(text))


def test_a_loop_in_a_loop() -> None:
    inner = """
      ignored, kept = Loop (two, go, zero, more) <body = again (int64 k, bool on, int64 j, float[3] v)
        => (bool still, int64 j1, float[3] w)
        { still = Identity(on)
          j1 = Add(j, one)
          w = Mul(v, v) }>
    """
    text = COUNTED.replace("kept = Sigmoid(more)", inner).replace("int64 one = {1}", "int64 one = {1}, int64 two = {2}")
    assert_written_out(parsed(text), count=5)


@pytest.mark.parametrize(
    "text",
    [
        COUNTED.replace(
            "again = Less(next, length)", "large = ReduceMax<keepdims=0>(more)\n again = Less(large, limit)"
        ),
        COUNTED.replace("{4}", "{400}").replace("float[4, 3] x", "float[400, 3] x"),
        COUNTED.replace("bool go = {1}", "bool go = {0}"),
        SCAN.replace("float[5, 2, 3] x", "float[n, 2, 3] x").replace("float[2, 4, 3] z", "float[2, n, 3] z"),
    ],
    ids=["ended by the data", "too long", "never", "of a free length"],
)
def test_what_is_not_known_stays_and_is_refused(text: str) -> None:
    model = parsed(text, limit=1.0, scale=2.0)
    before = model.SerializeToString()
    made, unrolled = onnx_unroll.unroll(model)
    assert unrolled == 0 and made.SerializeToString() == before
    with pytest.raises(Unsupported, match="a number of steps that is not known beforehand, or over 256") as caught:
        onnx_unroll.refuse_loops(made)
    assert "--input NAME:SHAPE" in caught.value.mend


RECURRENT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[12, batch, 64] x, float[batch, 64] start) => (float[batch, 64] last, float[12, batch, 64] all)
{
  last, all = Scan <num_scan_inputs = 1, body = step (state, row) => (next, seen)
    {
      inner = Gemm(state, own, bias)
      fed = MatMul(row, taken)
      summed = Add(inner, fed)
      next = Tanh(summed)
      seen = Identity(next)
    }> (start, x)
}
"""


@pytest.mark.tflite
@pytest.mark.onnx2tf
def test_a_scan_reaches_tflite_with_a_free_batch_and_each_weight_once(tmp_path: Path) -> None:
    import onnx

    random = np.random.default_rng(2)
    own, taken = (random.standard_normal((64, 64)) / 8 for _ in range(2))
    model = parsed(RECURRENT, own=own, taken=taken, bias=random.standard_normal(64))
    (tmp_path / "out").mkdir()
    onnx.save(model, str(tmp_path / "model.onnx"))
    dims: tuple[int | str, ...] = ("batch", 64)
    signature = Signature((TensorSpec("x", "float32", (12, *dims)), TensorSpec("start", "float32", dims)))

    def sample(batch: int) -> Tensors:
        shapes = {"x": (12, batch, 64), "start": (batch, 64)}
        return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}

    step = Step(tmp_path / "model.onnx", tmp_path / "out", signature, sample(2))
    located = toolchains.locate(toolchains.get("onnx2tf"))
    assert isinstance(located, toolchains.Located)
    with Worker(located.interpreter, "onnx2tf", tmp_path / "log", timeout_s=120) as worker:
        told = worker.call("dlconv.workers.tasks:run_edge", module="dlconv.convert.onnx_to_tflite", step=step.to_dict())
    made = Made.from_dict(told["made"])
    assert "1 loops of known length written out step by step" in made.notes
    assert (tmp_path / "out" / made.entry).stat().st_size < 1.5 * 2 * 64 * 64 * 4
    session = tflite.open(tmp_path / "out" / made.entry, made.signature, {"threads": 1})
    for batch in (2, 5):
        fed = sample(batch)
        wanted, got = Trial(model.SerializeToString()).answers(fed), session.run(fed)
        assert wanted is not None
        for name, value in wanted.items():
            np.testing.assert_allclose(got[name], value, atol=1e-5, strict=True)
