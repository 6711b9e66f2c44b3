"""Ranges by the least squares: what is rare and large is cut off, and nothing else."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert import onnx_to_int8
from dlconv.convert.edge import Step
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import onnx_clipping
from dlconv.samples import save_npz, to_arrays

pytestmark = [pytest.mark.onnx]
_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))


def loss(values: Any, low: float, high: float) -> float:
    """The mean square that 8 bits between the two ends lose."""
    step = (high - low) / 255
    held = np.clip(np.rint((values - low) / step), 0, 255) * step + low
    return float(np.square(held - values).mean())


@pytest.mark.parametrize("spread", ["normal", "laplace", "uniform", "positive"])
def test_no_other_range_is_better(spread: str) -> None:
    random = np.random.default_rng(0)
    values = {
        "normal": random.standard_normal(20000),
        "laplace": random.laplace(size=20000),
        "uniform": random.uniform(-1, 1, 20000),
        "positive": np.abs(random.standard_normal(20000)) ** 3,
    }[spread]
    low, high = min(0.0, values.min()), max(0.0, values.max())
    found = onnx_clipping.cut(np.histogram(values, 2048, (low, high))[0], low, high)
    shares = np.linspace(0.05, 1, 20)
    best = min(loss(values, low * a, high * b) for a in shares for b in shares)
    assert low <= found[0] <= 0 <= found[1] <= high
    assert loss(values, *found) <= 1.1 * best
    assert loss(values, *found) <= 1.01 * loss(values, low, high)
    if spread == "uniform":
        assert found == (pytest.approx(low, rel=0.03), pytest.approx(high, rel=0.03))


def test_one_large_value_among_millions_is_cut_off() -> None:
    values = np.append(np.random.default_rng(0).standard_normal(4_000_000), [100.0])
    low, high = values.min(), values.max()
    found = onnx_clipping.cut(np.histogram(values, 2048, (low, high))[0], low, high)
    assert found[1] < 20 and loss(values, *found) < 0.5 * loss(values, low, high)


def test_the_edge_takes_these_ranges(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((16, 8)).astype(np.float32)
    path = Path(_save(tmp_path, [_node("MatMul", ["x", "w"], ["y"], name="product")], [_value("x", ["N", 16])],
                      [_value("y", ["N", 8])], [_stored("w", weight)]))  # fmt: skip
    samples = [{"x": random.standard_normal((8192, 16)).astype(np.float32)} for _ in range(32)]
    samples[0]["x"][0, 0] = 1000.0
    save_npz(tmp_path / "calibration.npz", to_arrays(samples))
    signature = Signature((TensorSpec("x", "float32", ("N", 16)),), (TensorSpec("y", "float32", ("N", 8)),))
    errors = {}
    for method in ("minmax", "mse"):
        out = tmp_path / method
        out.mkdir()
        step = Step(path, out, signature, samples[1], {"method": method}, calibration=tmp_path / "calibration.npz")
        onnx_to_int8.convert(step)
        errors[method] = error_of(out / "model.onnx", samples[1]["x"], weight)
    assert errors["mse"] < 0.5 * errors["minmax"], errors


def error_of(path: Path, given: Any, weight: Any) -> float:
    """The largest, of a Q/DQ graph run without the fusions that saturate on CPUs without VNNI."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return float(np.abs(session.run(None, {"x": given})[0] - given @ weight).max())


def test_extremes_of_what_is_read_and_made(tmp_path: Path) -> None:
    nodes = [_node("Exp", ["x"], ["e"], name="exp"), _node("Relu", ["e"], ["y"], name="relu")]
    path = Path(_save(tmp_path, nodes, [_value("x", ["N"])], [_value("y", ["N"])], []))
    values = np.random.default_rng(0).uniform(-2, 2, 5000).astype(np.float32)
    found = onnx_clipping.least_squares(path, [{"x": values}])
    assert set(found) == {"x", "e", "y"}  # what an operator in float32 made, and one in int8 reads, has a range too
    assert found["e"][0] == 0 and found["e"][1] <= np.exp(2) + 1e-5
