"""What a calibration covers: saturation by tensor, channels that never move."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.runtimes import onnx_coverage
from dlconv.samples import save_npz, to_arrays

pytestmark = [pytest.mark.onnx]
_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))


def model(folder: Path) -> Path:
    """y = relu(x @ w + b), x of 4 numbers: of its 5 channels the third needs x[0] > 3, the fifth is always 0."""
    weight = np.zeros((4, 5), np.float32)
    weight[0], weight[1, 0] = 1.0, 1.0
    bias = np.array([0, 0, -3, 1, -1e6], np.float32)
    nodes = [
        _node("MatMul", ["x", "w"], ["m"], name="product"),
        _node("Add", ["m", "b"], ["a"], name="sum"),
        _node("Relu", ["a"], ["y"], name="relu"),
    ]
    return Path(_save(folder, nodes, [_value("x", ["N", 4])], [_value("y", ["N", 5])], [
        _stored("w", weight), _stored("b", bias)]))  # fmt: skip


def measured(folder: Path, calibration: list[Any], samples: list[Any]) -> dict[str, Any]:
    places = [folder / "calibration.npz", folder / "samples.npz"]
    for place, rows in zip(places, (calibration, samples), strict=True):
        save_npz(place, to_arrays([{"x": np.asarray(row, np.float32)} for row in rows]))
    return onnx_coverage.measure(str(model(folder)), *map(str, places))


def test_what_is_beyond_and_what_is_dead(tmp_path: Path) -> None:
    row = [1.0, 0.5, -1.0, 0.0]
    found = measured(tmp_path, [[row], [[0.0, 0.0, 1.0, 0.0]]], [[[4.0, 0.0, 0.0, 0.0]]])
    told = {each["tensor"]: each for each in found["worst"]}
    assert told["x"]["beyond"] == 1 and told["x"]["elements"] == 4 and told["x"]["farthest"] == pytest.approx(1.5)
    assert told["y"]["dead"] == 2 and told["y"]["missed"] == 1 and told["y"]["channels"] == 5
    assert told["m"]["dead"] == 0 and told["a"]["node"] == "sum"
    assert found["dead"] == 2 and found["missed"] == 1 and found["elements"] == 4 + 3 * 5


def test_samples_that_calibrated_are_within(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((6, 3, 4))
    found = measured(tmp_path, list(rows), list(rows[:2]))
    assert found["beyond"] == 0 and found["elements"] > 0 and found["missed"] == 0


def test_sizes_may_differ(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    found = measured(
        tmp_path, [random.standard_normal((rows, 4)) for rows in (1, 5)], [random.standard_normal((3, 4)) * 9]
    )
    assert found["beyond"] > 0 and found["tensors"] == 4
