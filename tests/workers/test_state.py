"""State of an artifact: carried from call to call by the worker, and from edge to edge with its first values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert.edge import Step
from dlconv.errors import StepError
from dlconv.model import Signature, StateSpec, TensorSpec
from dlconv.runtimes.state import INITIAL, read_initial, write_initial
from dlconv.workers import tasks

if TYPE_CHECKING:
    from pathlib import Path

ORT = "dlconv.runtimes.onnxruntime"
SUMMING = Signature(
    (TensorSpec("x", "float32", (2,)), TensorSpec("sum_in", "float32", (2,))),
    (TensorSpec("y", "float32", (2,)), TensorSpec("sum_out", "float32", (2,))),
    state=(StateSpec("sum_in", "sum_out", "sum"),),
)
STEPS = [{"x": np.array([1, 10], np.float32)}, {"x": np.array([2, 20], np.float32)}, {"x": np.ones(2, np.float32)}]


@pytest.fixture
def summing(tmp_path: Path) -> Path:
    """y = 2 (sum + x); the sum starts at [0.5, 0]."""
    import onnx
    from onnx import helper

    def tensor(name: str) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2])

    nodes = [
        helper.make_node("Add", ["x", "sum_in"], ["sum_out"]),
        helper.make_node("Add", ["sum_out", "sum_out"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [tensor("x"), tensor("sum_in")], [tensor("y"), tensor("sum_out")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "model.onnx"))
    write_initial(tmp_path, {"sum_in": np.array([0.5, 0], np.float32)})
    return tmp_path / "model.onnx"


def told(outputs: list[dict[str, Any]]) -> list[list[float]]:
    assert all(set(sample) == {"y"} for sample in outputs)
    return [sample["y"].tolist() for sample in outputs]


@pytest.mark.onnx
def test_steps_of_a_sequence_go_on_from_one_another(summing: Path) -> None:
    found = tasks.answer(ORT, str(summing), SUMMING.to_dict(), {}, STEPS, twice=True, sequence=True)
    assert told(found["outputs"]) == told(found["again"]) == [[3, 20], [7, 60], [9, 62]]
    assert told(found["first_calls"]) == [[3, 20], [5, 40], [3, 2]]


@pytest.mark.onnx
def test_without_a_sequence_each_call_is_a_first(summing: Path) -> None:
    found = tasks.answer(ORT, str(summing), SUMMING.to_dict(), {}, STEPS, twice=True)
    assert told(found["outputs"]) == told(found["again"]) == [[3, 20], [5, 40], [3, 2]]
    assert not found["first_calls"]


@pytest.mark.onnx
def test_first_values_that_are_not_there(summing: Path) -> None:
    (summing.parent / INITIAL).unlink()
    with pytest.raises(StepError, match="first values"):
        tasks.answer(ORT, str(summing), SUMMING.to_dict(), {}, STEPS, sequence=True)


@pytest.mark.onnx
def test_an_edge_takes_the_state_on(summing: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    step = Step(summing, out, SUMMING, dict(STEPS[0]), {"simplifier": "onnxsim"})
    made = tasks.run_edge("dlconv.convert.onnx_to_onnx", step.to_dict())["made"]
    signature = Signature.from_dict(made["signature"])
    assert signature.state == SUMMING.state
    assert read_initial(out, signature)["sum_in"].tolist() == [0.5, 0]
    found = tasks.answer(ORT, str(out / made["entry"]), made["signature"], {}, STEPS, sequence=True)
    assert told(found["outputs"]) == [[3, 20], [7, 60], [9, 62]]


@pytest.mark.onnx
def test_an_edge_that_loses_the_state_fails(summing: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_initial(tmp_path, {"sum_in": np.zeros(2, np.float32), "more_in": np.zeros(2, np.float32)})
    signature = Signature(SUMMING.inputs, SUMMING.outputs, (), (*SUMMING.state, StateSpec("more_in", "more_out", "m")))
    with pytest.raises(StepError, match="the state m was lost"):
        tasks.run_edge("dlconv.convert.onnx_to_onnx", Step(summing, out, signature, dict(STEPS[0])).to_dict())


def test_a_signature_with_state_travels() -> None:
    assert Signature.from_dict(SUMMING.to_dict()) == SUMMING
    assert [spec.name for spec in (*SUMMING.own.inputs, *SUMMING.own.outputs)] == ["x", "y"]
    old = SUMMING.own.to_dict()
    assert "state" not in old and Signature.from_dict(old) == SUMMING.own
