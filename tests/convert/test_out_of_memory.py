"""A framework that runs out of memory has not refused the model: the edge ends, and the worker tells the cause."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import pytest

from dlconv.convert import onnx_sizes, onnx_to_tflite, torchscript_to_onnx, torchscript_to_openvino
from dlconv.convert.edge import Step
from dlconv.errors import is_out_of_memory
from dlconv.model import Signature, TensorSpec
from dlconv.workers import tasks

SIGNATURE = Signature((TensorSpec("x", "float32", ("N", 3)),))
EXHAUSTED = [MemoryError("no more"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 GB")]


class Exhausted:
    """A session, or a module, that needs more memory than there is."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise self.error

    run = __call__
    open = __call__


@pytest.mark.parametrize("error", EXHAUSTED, ids=lambda error: type(error).__name__)
def test_no_other_way_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception) -> None:
    monkeypatch.setattr(torchscript_to_onnx, "_export", Exhausted(error))
    with pytest.raises(type(error)):
        torchscript_to_onnx._export_first(Exhausted(error), tmp_path / "model.onnx", ["recorded", "plain"], 18)  # type: ignore[arg-type]


@pytest.mark.torch
@pytest.mark.openvino
def test_no_other_way_is_tried_by_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = {"plain": Exhausted(MemoryError()), "recorded": Exhausted(ValueError())}
    monkeypatch.setattr(torchscript_to_openvino, "_PREPARE", ways)
    with pytest.raises(MemoryError):
        torchscript_to_openvino._first(Exhausted(MemoryError()), ["plain", "recorded"])  # type: ignore[arg-type]


@pytest.mark.onnx
def test_no_other_size_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlconv.runtimes import onnxruntime

    monkeypatch.setattr(onnxruntime, "open", lambda *_: Exhausted(MemoryError()))
    with pytest.raises(MemoryError):
        onnx_sizes.settle("model.onnx", SIGNATURE.to_dict(), {})


@pytest.mark.onnx
def test_no_other_attempt_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    values = [helper.make_tensor_value_info(name, 1, ["N", 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "test", values[:1], values[1:])
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    monkeypatch.setattr(onnx_to_tflite, "_attempted", Exhausted(MemoryError()))
    step = Step(tmp_path / "model.onnx", tmp_path / "out", SIGNATURE, {"x": np.ones((2, 3), np.float32)})
    with pytest.raises(MemoryError):
        onnx_to_tflite.convert(step)


def test_a_sample_that_exhausts_the_memory_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlconv.runtimes import onnxruntime

    monkeypatch.setattr(onnxruntime, "open", lambda *_: Exhausted(EXHAUSTED[1]))
    with pytest.raises(RuntimeError, match="allocate"):
        tasks.answer("dlconv.runtimes.onnxruntime", "model.onnx", SIGNATURE.to_dict(), {}, [{}])


def test_other_exceptions_are_refusals() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_no_other_size_of_a_jax_program_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlconv.convert import jax_signature

    arrays_alone = ModuleType("jax")  # the program that would need all of it is the planted one
    arrays_alone.numpy = np  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jax", arrays_alone)

    class Program:
        inputs = ("x",)
        call = Exhausted(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 800000000 bytes."))

    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        jax_signature._sizes(Program(), SIGNATURE.inputs, {})  # type: ignore[arg-type]
    Program.call = Exhausted(ValueError("that size is not taken"))
    assert jax_signature._sizes(Program(), SIGNATURE.inputs, {}) == {}  # type: ignore[arg-type]


@pytest.mark.onnx
def test_a_trial_that_exhausts_the_memory_is_no_refusal() -> None:
    from dlconv.convert.onnx_trial import Trial

    trial = Trial(b"")
    trial.__dict__["_session"] = Exhausted(EXHAUSTED[1])
    with pytest.raises(RuntimeError, match="allocate"):
        trial.answers({})
    trial.__dict__["_session"] = Exhausted(ValueError("that size is not taken"))
    assert trial.answers({}) is None
