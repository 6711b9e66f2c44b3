"""Exported JAX programs by the real command: judged bundles of every target, a second route, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.jax, pytest.mark.tensorflow, pytest.mark.onnx, pytest.mark.openvino, pytest.mark.tflite]

TARGETS = ("onnx", "openvino", "tflite", "saved-model")


def receipt_of(bundle: Path) -> dict[str, Any]:
    receipt = json.loads((bundle / "dlconv.json").read_text())
    assert isinstance(receipt, dict)
    return receipt


def taken(receipt: dict[str, Any]) -> list[str]:
    (route,) = [route for route in receipt["routes"] if route["outcome"] == "taken"]
    return [step["edge"] for step in route["steps"]]


@pytest.mark.slow
@pytest.mark.onnx2tf
def test_a_program_reaches_every_target_and_is_verified(
    dlconv: Callable[..., Any], jax_models: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", jax_models / "cnn.jax", "--to", ",".join(TARGETS), "-o", tmp_path)
    assert ran.code == 0, ran.err + ran.out
    receipts = {target: receipt_of(tmp_path / f"cnn-{target}-fp32") for target in TARGETS}
    for target, receipt in receipts.items():
        assert receipt["verdict"]["word"] == "PASS", target
        assert receipt["source"]["format"] == "jax"
        assert receipt["reference"]["precision"] == "float64", "its operators in float64"
        given = receipt["artifact"]["inputs"]
        assert [(spec["source"], spec["shape"][1:], spec["permutation"]) for spec in given] == [
            (receipt["source"]["signature"]["inputs"][0]["name"], [12, 12, 1], [])
        ]
        assert {spec["source"] for spec in receipt["artifact"]["outputs"]} == {"logits", "features"}
    assert taken(receipts["onnx"])[0] == "jax_to_onnx"
    assert receipts["onnx"]["artifact"]["inputs"][0]["shape"][0] == "b", "the symbolic size stays free"
    verified = dlconv("verify", *sorted(tmp_path.iterdir()), "--json", "-")
    assert verified.code == 0, verified.err
    assert [outcome["verdict"]["word"] for outcome in verified.data["outcomes"]] == ["PASS"] * len(TARGETS)
    artifact = tmp_path / "cnn-onnx-fp32" / "model.onnx"
    artifact.write_bytes(artifact.read_bytes()[:-100])
    assert dlconv("verify", tmp_path / "cnn-onnx-fp32").code == 1, "a file that is not the one that was judged"


@pytest.mark.slow
def test_by_the_other_route(dlconv: Callable[..., Any], jax_models: Path, tmp_path: Path) -> None:
    route = ("--route", "jax_to_saved_model,saved_model_to_tflite")
    ran = dlconv("export", jax_models / "lstm.jax", "--to", "tflite", *route, "-o", tmp_path)
    assert ran.code == 0, ran.err + ran.out
    assert taken(receipt_of(tmp_path / "lstm-tflite-fp32")) == ["jax_to_saved_model", "saved_model_to_tflite"]


def test_it_is_inspected_and_planned(dlconv: Callable[..., Any], jax_models: Path) -> None:
    told = dlconv("inspect", jax_models / "transformer.jax")
    assert told.code == 0, told.err
    assert all(word in told.out for word in ("JAX", "int32", "[2, 12]")), told.out
    planned = dlconv("plan", jax_models / "mlp.jax", "--to", "openvino,saved-model")
    assert planned.code == 0 and "jax_to_onnx" in planned.out and "jax_to_saved_model" in planned.out


@pytest.mark.parametrize(
    ("file", "code", "told"),
    [("tpu.jax", 4, 'platforms=["cpu"]'), ("bare.mlirbc", 2, "bare.mlirbc")],
)
def test_what_cannot_be_judged_is_told(
    dlconv: Callable[..., Any], jax_models: Path, tmp_path: Path, file: str, code: int, told: str
) -> None:
    ran = dlconv("export", jax_models / file, "--to", "onnx", "-o", tmp_path)
    assert ran.code == code, ran.err + ran.out
    assert told in ran.err + ran.out
