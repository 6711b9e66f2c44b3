"""The noise of a precision, per output of the source, against its float64 answers."""

from __future__ import annotations

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.errors import RequestError, StepError
from dlconv.model import Signature, TensorSpec
from dlconv.precision.noise import PRECISIONS, emulate
from dlconv.reference.source import Reference
from dlconv.samples import SampleSet
from dlconv.validators.answers import Answers
from dlconv.workers.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
_INT64 = 7
_W = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
_UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 2.0**-6}


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with Crew(tmp_path_factory.mktemp("logs"), slots=1, memory_limit_bytes=None, timeout_s=120) as made:
        yield made


def scored(folder: Path, gain: float = 1.0) -> Path:
    """scores = x @ w * gain, best = argmax(scores)"""
    nodes = [
        _node("MatMul", ["x", "w"], ["h"]),
        _node("Mul", ["h", "gain"], ["scores"]),
        _node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
    ]
    outputs = [_value("scores", ["N", 8]), _value("best", ["N"], _INT64)]
    return _save(
        folder, nodes, [_value("x", ["N", 64])], outputs, [_stored("w", _W), _stored("gain", np.float32(gain))]
    )


SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("N", 64), source="pixels", permutation=(1, 0)),),
    (TensorSpec("scores", "float32", ("N", 8), source="logits"), TensorSpec("best", "int64", ("N",))),
)


def reference(count: int = 3, gain: float = 1.0) -> Reference:
    rng = np.random.default_rng(1)
    x = [rng.standard_normal((64, 5)).astype(np.float32) for _ in range(count)]
    wide = [each.T.astype(np.float64) @ _W * gain for each in x]
    y64 = tuple({"logits": y, "best": y.argmax(1)} for y in wide)
    y32 = tuple({"logits": y.astype(np.float32), "best": y.argmax(1)} for y in wide)
    samples = SampleSet(tuple({"pixels": each} for each in x), "user")
    return Reference(samples, Answers(y32, y64), {"logits": 1e-7}, "numpy", "float64", "", {})


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_noise_is_about_half_a_unit_of_the_precision(precision: str, tmp_path: Path, crew: Crew) -> None:
    noise = emulate(scored(tmp_path), SIGNATURE, reference(), precision, crew)
    logits = noise.of("logits")
    assert _UNIT[precision] / 8 < (logits.rms_error or 0) < _UNIT[precision]
    assert logits.rms_error is not None and logits.rms_error / 4 < logits.error < 2 * _UNIT[precision]
    assert [output.name for output in noise.outputs] == ["logits", "best"] and noise.samples == 3
    assert noise.losses["tensors"] == (0 if precision == "int8" else 5) and noise.losses["overflows"] == 0
    json.dumps(noise.to_dict(), allow_nan=False)


def test_an_overflow_makes_it_infinite_and_is_named(tmp_path: Path, crew: Crew) -> None:
    path = scored(tmp_path, gain=30000.0)
    noise = emulate(path, SIGNATURE, reference(gain=30000.0), "float16", crew)
    assert math.isinf(noise.of("logits").error)
    assert noise.losses["overflows"] > 0 and noise.losses["worst"][0]["tensor"] == "scores"
    assert json.loads(json.dumps(noise.to_dict(), allow_nan=False))["outputs"][0]["error"] == "inf"
    fine = emulate(path, SIGNATURE, reference(gain=30000.0), "bfloat16", crew)
    assert fine.of("logits").error < 0.01


def test_choices_that_the_precision_cannot_tell_apart_are_counted(tmp_path: Path, crew: Crew) -> None:
    known = reference()
    close = {"pixels": np.zeros((64, 1), np.float32)}  # all scores are equal: any choice but the first is none's
    other = ({"logits": np.zeros((1, 8)), "best": np.array([3])},)
    single = tuple({**each, "logits": each["logits"].astype(np.float32)} for each in other)
    known = replace(
        known,
        samples=SampleSet((*known.samples.samples, close), "user"),
        answers=Answers((*known.answers.y32, *single), (*(known.answers.y64 or ()), *other)),
    )
    noise = emulate(scored(tmp_path), SIGNATURE, known, "float16", crew)
    assert noise.of("best").mismatches == 1 and noise.of("best").error == 1


def test_what_cannot_be_emulated_has_no_noise(tmp_path: Path, crew: Crew) -> None:
    path = scored(tmp_path)
    small = Signature((replace(SIGNATURE.inputs[0], shape=(2, 64)),), SIGNATURE.outputs)
    with pytest.raises(StepError, match="none of the samples' sizes"):
        emulate(path, small, reference(), "float16", crew)
    with pytest.raises(RequestError, match="int4"):
        emulate(path, SIGNATURE, reference(), "int4", crew)
    lacking = replace(SIGNATURE, outputs=SIGNATURE.outputs[:1])
    with pytest.raises(StepError, match="best"):
        emulate(path, lacking, reference(), "float16", crew)
    longer: Any = tuple({**y, "logits": y["logits"][:4]} for y in reference().answers.y32)
    with pytest.raises(StepError, match="logits"):
        emulate(path, SIGNATURE, replace(reference(), answers=Answers(longer, None)), "float16", crew)


def test_a_run_that_fails_is_told_by_its_cause(tmp_path: Path, crew: Crew) -> None:
    weights = [_stored("ratio", np.float32(0.5)), _stored("training", np.array(True))]
    nodes = [_node("Dropout", ["x", "ratio", "training"], ["logits"])]
    path = _save(tmp_path, nodes, [_value("x", ["N", 64])], [_value("logits", ["N", 64])], weights)
    signature = Signature(SIGNATURE.inputs, (TensorSpec("logits", "float32", ("N", 64)),))
    with pytest.raises(StepError, match="training mode"):
        emulate(path, signature, reference(), "float16", crew)
