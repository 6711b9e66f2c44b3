"""TensorFlow's and Keras' models by the real command: judged bundles, by one route or another, without its noise."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.tensorflow, pytest.mark.onnx, pytest.mark.openvino, pytest.mark.tflite]

NOISE = re.compile(
    r"oneDNN|cpu_feature_guard|computation_placer|[IWE]0000 |cuda|TF-TRT|absl::InitializeLog", re.IGNORECASE
)
DIGITS_TARGETS = ("onnx", "openvino", "tflite")


def receipt_of(bundle: Path) -> dict[str, Any]:
    receipt = json.loads((bundle / "dlconv.json").read_text())
    assert isinstance(receipt, dict)
    return receipt


def edges_of(receipt: dict[str, Any]) -> list[str]:
    (taken,) = [route for route in receipt["routes"] if route["outcome"] == "taken"]
    return [step["edge"] for step in taken["steps"]]


@pytest.fixture(scope="module")
def twin(digits: Path) -> Path:
    return digits.parent / "digits-keras"


@pytest.mark.slow
def test_the_keras_twin_reaches_every_target_and_is_verified(
    dlconv: Callable[..., Any], home: Path, twin: Path, tmp_path: Path
) -> None:
    before = set(home.rglob("*.log"))
    words = ("--to", ",".join(DIGITS_TARGETS), "--samples", twin / "samples.npz", "-o", tmp_path)
    ran = dlconv("export", twin / "digits.keras", *words)
    assert ran.code == 0, ran.err + ran.out
    assert ran.out.count("PASS") >= len(DIGITS_TARGETS)
    assert not NOISE.search(ran.out + ran.err)
    # What TensorFlow prints at its start is kept, where it can be looked up.
    logs = "".join(path.read_text(errors="replace") for path in set(home.rglob("*.log")) - before)
    assert NOISE.search(logs)
    for target in DIGITS_TARGETS:
        receipt = receipt_of(tmp_path / f"digits-{target}-fp32")
        assert receipt["reference"]["precision"] == "float64"
        (given,) = receipt["artifact"]["inputs"]
        assert (given["source"], given["shape"][1:], given["permutation"]) == ("image", [8, 8, 1], [])
    assert edges_of(receipt_of(tmp_path / "digits-tflite-fp32")) == ["keras_to_tflite"]
    verified = dlconv("verify", *sorted(tmp_path.iterdir()), "--json", "-")
    assert verified.code == 0, verified.err
    assert [outcome["verdict"]["word"] for outcome in verified.data["outcomes"]] == ["PASS"] * len(DIGITS_TARGETS)


@pytest.mark.slow
@pytest.mark.onnx2tf
def test_via_onnx_and_with_the_layout_that_is_asked_for(dlconv: Callable[..., Any], twin: Path, tmp_path: Path) -> None:
    words = ("--to", "openvino,tflite", "--samples", twin / "samples.npz", "-o", tmp_path)
    ran = dlconv("export", twin / "digits.keras", *words, "--via", "onnx", "--keep-layout", "nchw")
    assert ran.code == 0, ran.err + ran.out
    for target in ("openvino", "tflite"):
        receipt = receipt_of(tmp_path / f"digits-{target}-fp32")
        (given,) = receipt["artifact"]["inputs"]
        assert (given["shape"][1:], given["permutation"]) == ([1, 8, 8], [0, 3, 1, 2])
        assert edges_of(receipt)[:2] == ["keras_to_onnx", "onnx_to_onnx[onnxsim]"]


@pytest.mark.slow
def test_one_signature_of_several_by_one_route(
    dlconv: Callable[..., Any], tensorflow_models: Path, tmp_path: Path
) -> None:
    model = tensorflow_models / "several"
    route = ("--route", "saved_model_to_openvino")
    ran = dlconv("export", model, "--to", "openvino", "--signature", "encode", *route, "-o", tmp_path)
    assert ran.code == 0, ran.err + ran.out
    receipt = receipt_of(tmp_path / "several-openvino-fp32")
    assert edges_of(receipt) == ["saved_model_to_openvino"]
    artifact = receipt["artifact"]
    assert [spec["name"] for spec in (*artifact["inputs"], *artifact["outputs"])] == ["rows", "code"]
    assert artifact["inputs"][0]["shape"] == ["batch", 4]


def test_plan_shows_every_way_with_its_toolchain(dlconv: Callable[..., Any], twin: Path) -> None:
    ran = dlconv("plan", twin / "digits.keras", "--to", "onnx,openvino")
    assert ran.code == 0, ran.err
    for edge in ("keras_to_onnx", "keras_to_onnx[torch]", "keras_to_onnx[jax]", "saved_model_to_openvino"):
        assert edge in ran.out
    forced = dlconv("plan", twin / "digits.keras", "--to", "onnx", "--route", "keras_to_onnx[torch]")
    assert forced.code == 2 and "--route" in forced.err


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("two", ("SavedModel", "zeta", "[batch, 6]", "MatMul")),
        ("keras_pool.keras", ("Keras", "image", "[batch, 8, 8, 2]", "MaxPool")),
        ("second.h5", ("Keras", "image_input", "[batch, 8, 8, 2]", "DepthwiseConv2dNative")),
        ("frozen.pb", ("frozen graph", "picture", "[batch, 8, 8, 2]", "Relu6")),
    ],
)
def test_each_format_is_inspected(
    dlconv: Callable[..., Any], tensorflow_models: Path, file: str, told: tuple[str, ...]
) -> None:
    ran = dlconv("inspect", tensorflow_models / file)
    assert ran.code == 0, ran.err
    assert all(word in ran.out for word in told), ran.out
    assert not NOISE.search(ran.out + ran.err)


def test_strings_are_refused_before_any_work(
    dlconv: Callable[..., Any], tensorflow_models: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", tensorflow_models / "text", "--to", "onnx", "-o", tmp_path)
    assert ran.code == 2
    assert "the input text takes strings" in ran.err
    assert not list(tmp_path.iterdir())


def test_a_word_that_a_source_does_not_have_is_refused(
    dlconv: Callable[..., Any], tensorflow_models: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", tensorflow_models / "frozen.pb", "--to", "onnx", "--input", "rate=1.0", "-o", tmp_path)
    assert ran.code == 2
    assert "a TensorFlow frozen graph has no --input NAME=VALUE" in ran.err
