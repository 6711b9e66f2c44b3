"""`dlconv export --int8 --calibration ...` as a user types it: pictures, and what calibration covers."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.onnx]
_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))


def test_pictures(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "pictures").mkdir()
    held = np.load(digits / "samples.npz")["image"]
    for number, pixel in enumerate(held[:32]):
        pixels = np.rint(pixel.reshape(8, 8) * 255).astype(np.uint8)
        image.fromarray(pixels).save(tmp_path / "pictures" / f"{number:02d}.png")
    np.savez(tmp_path / "samples.npz", image=held[32:] * 2)  # twice as bright as what calibrates
    words = ("export", digits / "digits.onnx", "--to", "onnx", "--int8", "--samples", tmp_path / "samples.npz",
             "--calibration", tmp_path / "pictures", "-o", tmp_path)  # fmt: skip
    ran = dlconv(*words)
    assert ran.code == 2 and "nothing is guessed" in ran.err and "--preprocess" in ran.err
    ran = dlconv(*words, "--preprocess", "channels=grey scale=1/255 layout=nhwc")
    assert ran.code == 2 and "00.png: nhwc makes it 1x8x8x1" in ran.err
    ran = dlconv(
        *words[:-3], digits / "samples.npz", "-o", tmp_path, "--preprocess", "channels=grey scale=1/255 layout=nchw"
    )
    assert ran.code == 2 and "is for a directory of pictures" in ran.err
    ran = dlconv(*words, "--preprocess", "channels=grey scale=1/255 layout=nchw", "--json", "-")
    receipt = ran.data["outcomes"][0]["receipt"]
    calibration = receipt["reduction"]["calibration"]
    assert calibration["count"] == 32 and calibration["preprocess"] == "channels=grey scale=1/255 layout=nchw"
    covered = calibration["coverage"]
    assert covered["calibrated"] == 32 and covered["judged"] == receipt["reference"]["samples"]["count"]
    assert covered["beyond"] > 0 and covered["worst"][0]["farthest"] > 0.5
    again = dlconv("export", digits / "digits.onnx", "--to", "onnx", "--int8", "--samples", digits / "samples.npz",
                   "--calibration", digits / "samples.npz", "-o", tmp_path, "--json", "-")  # fmt: skip
    covered = again.data["outcomes"][0]["receipt"]["reduction"]["calibration"]["coverage"]
    assert covered["calibrated"] == 64 and covered["judged"] < 3  # what calibrated shows nothing
    assert "beyond the ranges of 32" in ran.err and "calibrated on 32 pictures: channels=grey" in ran.err


def test_more_noise_than_usual_has_to_be_allowed(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((8, 4)).astype(np.float32)
    weight[0] = 0  # of what is large, nothing is used
    path = _save(tmp_path, [_node("MatMul", ["x", "w"], ["y"], name="product")], [_value("x", [1, 8])],
                 [_value("y", [1, 4])], [_stored("w", weight)])  # fmt: skip
    rows = random.standard_normal((64, 1, 8)).astype(np.float32)
    rows[:, 0, 0] = 300
    np.savez(tmp_path / "samples.npz", x=rows)
    words = ("export", path, "--to", "onnx", "--int8", "--samples", tmp_path / "samples.npz", "-o", tmp_path)
    ran = dlconv(*words)
    assert ran.code == 4 and "int8 loses the model's answers" in ran.err and "--max-error" in ran.err
    ran = dlconv(*words, "--max-error", "0.9", "--json", "-")
    receipt = ran.data["outcomes"][0]["receipt"]
    (output,) = receipt["evidence"]["outputs"]
    assert output["bar"] == 0.9 and 0.1 < output["error"] < 0.9 and receipt["bars"]["outputs"]["*"]["max_error"] == 0.9


def test_labels_judge(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    words = ("export", digits / "digits.onnx", "--to", "onnx", "--int8", "--samples", digits / "samples.npz", "-o",
             tmp_path, "--max-drop", "0.005")  # fmt: skip
    ran = dlconv(*words, "--labels", digits / "labels.npz", "--json", "-")
    assert ran.code == 0, ran.err
    (output,) = ran.data["outcomes"][0]["receipt"]["evidence"]["outputs"]
    assert output["accuracy"]["count"] == 64 and output["accuracy"]["candidate"] >= 62
    wrong = np.load(digits / "labels.npz")
    np.savez(tmp_path / "wrong.npz", **{name: (wrong[name][:-1] + 1) % 10 for name in wrong.files})
    assert dlconv(*words, "--labels", tmp_path / "wrong.npz").code == 2  # one too few
