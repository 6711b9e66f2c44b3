"""`dlconv export --int8 --calibration ...` as a user types it: pictures, and what calibration covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.onnx]


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
    assert "beyond the ranges of 32" in ran.err and "calibrated on 32 pictures: channels=grey" in ran.err
