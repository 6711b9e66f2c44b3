"""Models in float16 and bfloat16, as checkpoints for GPUs are saved."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TARGETS = ("onnx", "openvino", "tflite")
pytestmark = [pytest.mark.torch, pytest.mark.onnx, pytest.mark.openvino, pytest.mark.tflite, pytest.mark.onnx2tf]


def traced(place: Path, dtype: str, freeze: bool = False) -> Path:
    import torch

    torch.manual_seed(0)
    module: Any = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 36, 5),
    )
    kind = getattr(torch, dtype)
    traced: Any = torch.jit.trace(module.eval().to(kind), torch.rand(2, 3, 8, 8).to(kind), check_trace=False)
    (torch.jit.freeze(traced) if freeze else traced).save(str(place))
    return place


def receipts(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads((place / "dlconv.json").read_text()) for place in folder.iterdir()]
    return {receipt["target"]: receipt for receipt in found}


@pytest.mark.parametrize(("dtype", "freeze"), [("float16", False), ("float16", True), ("bfloat16", False)])
def test_every_target_passes(dlconv: Callable[..., Any], tmp_path: Path, dtype: str, freeze: bool) -> None:
    model = traced(tmp_path / "half.pt", dtype, freeze)
    out = tmp_path / "out"
    ran = dlconv("export", model, "--to", ",".join(TARGETS), "-o", out, "--json", "-")
    assert ran.code == 0, ran.err
    assert [outcome["verdict"]["word"] for outcome in ran.data["outcomes"]] == ["PASS"] * len(TARGETS)
    made = receipts(out)
    for target, receipt in made.items():
        (output,) = receipt["evidence"]["outputs"]
        assert output["kind"] == "half" and 2**-14 < output["floor"] < 1e-2, target
        (spec,) = receipt["artifact"]["inputs"]
        wide = target == "tflite" or dtype == "bfloat16"
        assert spec["dtype"] == ("float32" if wide else "float16"), target
        taken = next(route for route in receipt["routes"] if route["outcome"] == "taken")
        assert ("onnx_to_onnx[float32]" in taken["edges"]) is wide, target
    again = dlconv("verify", out)
    assert again.code == 0, again.err


def test_answers_of_moved_samples_that_were_changed_are_no_bundle(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    """They set the bar: who could widen it without a word could pass anything."""
    ran = dlconv("export", traced(tmp_path / "half.pt", "float16"), "--to", "onnx", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    place = tmp_path / "out" / "half-onnx-fp32" / "reference.npz"
    arrays = dict(np.load(place))
    (key,) = (key for key in arrays if key.startswith("y32+1.000."))
    arrays[key] = arrays[key] + np.float16(0.25)
    np.savez(place, **arrays)
    ran = dlconv("verify", place.parent)
    assert ran.code == 2 and "are not those of its receipt" in ran.out


def test_a_model_in_float32_is_not_made_wider(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    ran = dlconv("export", traced(tmp_path / "m.pt", "float32"), "--to", "onnx", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    routes = receipts(tmp_path / "out")["onnx"]["routes"]
    told = {route["reason"] for route in routes if "onnx_to_onnx[float32]" in route["edges"]}
    assert told == {"the source computes in float32"}
