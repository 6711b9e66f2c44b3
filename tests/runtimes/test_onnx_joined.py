"""Activations that are the last step of another node: found, offered to no search, and rounded as real int8 does."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlconv
from dlconv.asked.bars import Bars, OutputBars
from dlconv.runtimes import onnx_reducible
from dlconv.runtimes.onnx_joined import joined
from dlconv.runtimes.onnx_plan import name_of, program_of

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))


def clipped(folder: Path) -> Path:
    """Two convolutions with 0..6 between them. The first is exact in 8 bits, but for what comes out: a channel is ten
    times the others, so that a grid over all of it is ten times as coarse as one over what the clip leaves."""
    random = np.random.default_rng(0)
    first = random.choice([-1.0, 1.0], (16, 16)) * np.where(np.arange(16) == 3, 10.0, 1.0)
    weights = {"w0": first.T, "w1": random.standard_normal((16, 16))}
    stored = [_stored(name, weight[..., None, None].astype(np.float32)) for name, weight in weights.items()]
    stored += [_stored("low", np.float32(0)), _stored("high", np.float32(6))]
    nodes = [
        _node("Conv", ["x", "w0"], ["h"], name="first"),
        _node("Clip", ["h", "low", "high"], ["c"], name="clip"),
        _node("Conv", ["c", "w1"], ["y"], name="second"),
    ]
    path: Path = _save(folder, nodes, [_value("x", [1, 16, 2, 2])], [_value("y", [1, 16, 2, 2])], stored)
    x = random.integers(-127, 129, (64, 16, 2, 2))
    x[0, :2, 0, 0] = -127, 128  # the ends of a grid on which all of it lies
    np.savez(folder / "samples.npz", x=(x * 0.01).astype(np.float32))
    return path


def _pairs(path: Path) -> list[tuple[str, str]]:
    return [(name_of(maker), name_of(activation)) for maker, activation in joined(program_of(path).plan)]


def test_an_activation_belongs_to_what_it_alone_reads(tmp_path: Path) -> None:
    assert _pairs(clipped(tmp_path)) == [("first", "clip")]


@pytest.mark.parametrize("why", ["read twice", "an output", "moved about"])
def test_and_to_nothing_else(why: str, tmp_path: Path) -> None:
    nodes = [
        _node("Transpose" if why == "moved about" else "Add", ["x"] if why == "moved about" else ["x", "x"], ["h"]),
        _node("Relu", ["h"], ["r"]),
        _node("Add", ["r", "h" if why == "read twice" else "x"], ["y"]),
    ]
    outputs = [_value("y", [4, 4]), *([_value("h", [4, 4])] if why == "an output" else [])]
    assert _pairs(_save(tmp_path, nodes, [_value("x", [4, 4])], outputs, [])) == []


def test_a_search_is_offered_the_two_as_one(tmp_path: Path) -> None:
    path = str(clipped(tmp_path))
    assert onnx_reducible.names(path, "int8") == ["first", "second"]
    assert onnx_reducible.names(path, "float16") == ["first", "clip", "second"]
    assert onnx_reducible.outputs(path, ["first", "second"]) == {
        "first": [["h", "c"], ["c"], ["y"]],
        "second": [["y"]],
    }


@pytest.mark.parametrize("keep", [(), ("first",), ("clip",)])
def test_its_noise_is_that_of_the_real_quantiser(keep: tuple[str, ...], tmp_path: Path) -> None:
    """What is clipped away takes no steps of the grid, but where the clip itself is kept: then all of it is on one."""
    told = _exported(clipped(tmp_path), keep)
    noise, error = told["reduction"]["noise"]["outputs"][0]["error"], told["evidence"]["outputs"][0]["error"]
    assert 0.25 * noise < error < 2 * noise, (noise, error)


def _exported(path: Path, keep: tuple[str, ...]) -> dict[str, Any]:
    options = dlconv.ExportOptions(
        ("onnxruntime",), path.parent, samples=path.with_name("samples.npz"), name="model",
        precision="int8", keep=keep, bars=Bars(outputs={"*": OutputBars(max_error=0.2)}),
    )  # fmt: skip
    (outcome,) = dlconv.export(path, options).outcomes
    assert outcome.path is not None, outcome.reasons
    found = json.loads((outcome.path / "dlconv.json").read_text())
    assert isinstance(found, dict)
    return found
