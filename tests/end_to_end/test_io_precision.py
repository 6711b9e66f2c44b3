"""`--io-precision` as a user types it: the boundary's dtype, proved by what its numbers stand for, or refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.asked.boundary import Boundary, parse
from dlconv.errors import RequestError
from tests.end_to_end.test_export import receipt_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.onnx]


@pytest.fixture
def words(digits: Path, tmp_path: Path) -> tuple[Any, ...]:
    held = np.load(digits / "samples.npz")["image"]
    np.savez(tmp_path / "calibration.npz", image=held[:32])
    np.savez(tmp_path / "samples.npz", image=held[32:])
    return ("export", digits / "digits.onnx", "--samples", tmp_path / "samples.npz", "-o", tmp_path, "--json", "-")


def dtypes(receipt: dict[str, Any]) -> list[tuple[str, str]]:
    specs = (*receipt["artifact"]["inputs"], *receipt["artifact"]["outputs"])
    return [(spec["dtype"], spec.get("boundary", "")) for spec in specs]


@pytest.mark.openvino
def test_float16(dlconv: Callable[..., Any], words: tuple[Any, ...], tmp_path: Path) -> None:
    ran = dlconv(*words, "--to", "onnx,onnxruntime,openvino", "--fp16", "--io-precision", "float16")
    assert ran.code == 0, ran.err
    bundles = [tmp_path / f"digits-{target}-fp16" for target in ("onnx", "onnxruntime", "openvino")]
    for place in bundles:
        receipt = receipt_of(place)
        assert dtypes(receipt) == [("float16", "float32")] * 2
        (output,) = receipt["evidence"]["outputs"]
        assert output["dtype"] == "float32" and 0 < output["error"] <= output["bar"]
    verified = dlconv("verify", *bundles)
    assert verified.code == 0, verified.err
    timed = dlconv("bench", bundles[0], "--time", "0.1")
    assert timed.code == 0, timed.err
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bundles[0] / "model.onnx"), providers=["CPUExecutionProvider"])
    assert {port.type for port in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float16)"}


@pytest.mark.openvino
def test_integers_go_in(dlconv: Callable[..., Any], words: tuple[Any, ...], tmp_path: Path) -> None:
    calibrated = ("--int8", "--calibration", tmp_path / "calibration.npz")
    ran = dlconv(*words, "--to", "onnx,onnxruntime,openvino", *calibrated, "--io-precision", "in=uint8")
    assert ran.code == 0, ran.err
    for target in ("onnx", "onnxruntime", "openvino"):
        place = tmp_path / f"digits-{target}-int8"
        receipt = receipt_of(place)
        assert dtypes(receipt) == [("uint8", "float32"), ("float32", "")]
        (spec,) = receipt["artifact"]["inputs"]
        assert spec["scale"] == pytest.approx(1 / 255, rel=0.05) and spec["zero_point"] == 0
    path = tmp_path / "digits-onnx-int8" / "dlconv.json"
    receipt = json.loads(path.read_text())
    receipt["artifact"]["inputs"][0]["scale"] *= 2  # another reading of the same integers is another model
    path.write_text(json.dumps(receipt))
    verified = dlconv("verify", path.parent)
    assert verified.code == 1, verified.out
    ran = dlconv(*words, "--to", "onnx", *calibrated, "--io-precision", "uint8")
    assert ran.code == 4 and "made in float32, by Softmax" in ran.out + ran.err


@pytest.mark.onnx2tf
@pytest.mark.tflite
def test_tflite_of_integers(dlconv: Callable[..., Any], words: tuple[Any, ...], tmp_path: Path) -> None:
    ran = dlconv(*words, "--to", "tflite", "--int8", "--calibration", tmp_path / "calibration.npz",
                 "--io-precision", "int8")  # fmt: skip
    assert ran.code == 0, ran.err
    receipt = receipt_of(tmp_path / "digits-tflite-int8")
    assert dtypes(receipt) == [("int8", "float32")] * 2
    assert all(spec["scale"] > 0 for spec in (*receipt["artifact"]["inputs"], *receipt["artifact"]["outputs"]))
    assert dlconv("verify", tmp_path / "digits-tflite-int8").code == 0


@pytest.mark.parametrize(
    ("further", "told"),
    [
        (("--io-precision", "float16"), "beside fp32"),
        (("--fp16", "--io-precision", "int8"), "beside fp16"),
        (("--fp16", "--io-precision", "half"), "'half' is none"),
        (("--int8", "--io-precision", "in=float16"), "beside int8"),
        (("--int8", "--io-precision", "int8"), "nothing puts int8 with inputs or outputs in int8 into onnx"),
        (("--fp16", "--weights-only", "--io-precision", "float16"), "beside fp16-weights"),
    ],
)
def test_what_cannot_be_is_refused(
    dlconv: Callable[..., Any], words: tuple[Any, ...], further: tuple[str, ...], told: str
) -> None:
    ran = dlconv(*words, "--to", "onnx", *further)
    assert ran.code == 2 and told in ran.err, ran.err


def test_words() -> None:
    assert parse("float16") == Boundary("float16", "float16")
    assert parse("in=uint8") == Boundary("uint8", "float32") and parse("out=int8, in=uint8") == Boundary(
        "uint8", "int8"
    )
    for wrong in ("in=uint8,in=int8", "input=int8", "float64", "in=float64", ""):
        with pytest.raises(RequestError):
            parse(wrong)
