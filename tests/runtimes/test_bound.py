"""What every runtime that can be timed holds: a bound call answers as a run does, again and again."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.errors import SamplesError
from dlconv.model import Signature, TensorSpec

_IMAGE = TensorSpec("image", "float32", ("N", 1, 8, 8))
RUNTIMES = [
    pytest.param("onnxruntime", "digits.onnx", {"trace": False}, marks=pytest.mark.onnx, id="onnxruntime"),
    pytest.param("onnxruntime", "digits.onnx", {}, marks=pytest.mark.onnx, id="onnxruntime-traced"),
    pytest.param("openvino", "digits.onnx", {}, marks=pytest.mark.openvino, id="openvino"),
    pytest.param("torch", "digits.pt", {}, marks=pytest.mark.torch, id="torchscript"),
    pytest.param("torch", "digits.pt2", {}, marks=pytest.mark.torch, id="torch-export"),
    pytest.param("tflite", "", {}, marks=pytest.mark.tflite, id="tflite"),
]


def opened(runtime: str, path: Path, settings: dict[str, Any], folder: Path) -> tuple[Any, list[dict[str, Any]]]:
    adapter = import_module(f"dlconv.runtimes.{runtime}")
    random = np.random.default_rng(0)
    if runtime == "tflite":
        tiny = folder / "tiny.tflite"
        tiny.write_bytes(adapter._TINY)
        samples = [{"x": random.normal(size=2).astype(np.float32)} for _ in range(3)]
        names = adapter.TfliteSession(tiny)
        (given,), (got,) = names.inputs, names.outputs
        signature = Signature((TensorSpec(given, "float32", (2,)),), (TensorSpec(got, "float32", (2,)),))
        return adapter.open(tiny, signature, settings), [{given: sample["x"]} for sample in samples]
    samples = [{"image": random.normal(size=(1, 1, 8, 8)).astype(np.float32)} for _ in range(3)]
    outputs: tuple[TensorSpec, ...] = ()
    if runtime == "openvino":
        (port,) = import_module("openvino").Core().read_model(str(path)).outputs
        outputs = (TensorSpec(min(port.get_names()), "float32", None),)
    signature = Signature((_IMAGE,), outputs)
    return adapter.open(path, signature, settings), samples


@pytest.mark.parametrize(("runtime", "file", "settings"), RUNTIMES)
def test_bound_calls_answer_as_runs_do(
    runtime: str, file: str, settings: dict[str, Any], digits: Path, tmp_path: Path
) -> None:
    session, samples = opened(runtime, digits / file, {**settings, "threads": 1}, tmp_path)
    bound = [session.bound(sample) for sample in samples]
    wanted = [session.run(sample) for sample in samples]
    for index in (0, 2, 1, 1, 0):
        call, read = bound[index]
        found = {name: np.array(array) for name, array in read(call()).items()}
        assert list(found) == list(wanted[index])
        for name, array in found.items():
            assert array.dtype == wanted[index][name].dtype
            np.testing.assert_allclose(array, wanted[index][name], rtol=1e-5, atol=1e-5)
    assert not all(np.array_equal(each[name], wanted[0][name]) for each in wanted for name in each)


@pytest.mark.parametrize(("runtime", "file", "settings"), RUNTIMES)
def test_other_names_are_refused_before_anything_is_timed(
    runtime: str, file: str, settings: dict[str, Any], digits: Path, tmp_path: Path
) -> None:
    session, samples = opened(runtime, digits / file, {**settings, "threads": 1}, tmp_path)
    with pytest.raises((SamplesError, KeyError)):
        session.bound({"stranger": next(iter(samples[0].values()))})


@pytest.mark.onnx
def test_without_a_trace_nothing_is_known_and_nothing_is_slowed(digits: Path) -> None:
    from dlconv.runtimes import onnxruntime

    session = onnxruntime.open(digits / "digits.onnx", Signature((_IMAGE,)), {"trace": False, "threads": 1})
    session.run({"image": np.zeros((1, 1, 8, 8), np.float32)})
    assert session.placement()["precision"] == "unknown"


@pytest.mark.tflite
def test_a_bound_call_of_another_size_is_resized(tmp_path: Path) -> None:
    from dlconv.runtimes import tflite

    path = tmp_path / "tiny.tflite"
    path.write_bytes(tflite._TINY)
    session = tflite.TfliteSession(path)
    (name,) = session.inputs
    (out,) = session.outputs
    detail = session.inputs[name]
    detail["shape_signature"] = np.array([-1])  # the file itself has a fixed size: take it for a free one
    calls = [session.bound({name: np.arange(size, dtype=np.float32)}) for size in (2, 5, 2)]
    for size, (call, read) in zip((2, 5, 2), calls, strict=True):
        assert read(call())[out].tolist() == [2.0 * value for value in range(size)]
