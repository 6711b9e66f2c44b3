"""Models that PyTorch and ONNX Runtime quantised, as a user exports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.convert.torch_models import quantised

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.torch


@pytest.mark.onnx
@pytest.mark.openvino
@pytest.mark.tflite
@pytest.mark.onnx2tf
@pytest.mark.parametrize("tail", [False, True])
def test_every_target_passes_within_the_models_own_steps(
    dlconv: Callable[..., Any], tmp_path: Path, tail: bool
) -> None:
    ran = dlconv("export", quantised(tmp_path / "q.pt", tail=tail), "--to", "onnx,onnxruntime,openvino,tflite",
                 "-o", tmp_path / "out", "--json", "-")  # fmt: skip
    assert ran.code == 0, ran.err
    for outcome in ran.data["outcomes"]:
        parity = next(check for check in outcome["checks"] if check["name"] == "parity")
        assert parity["figures"]["kind"] == "quantised" and 1e-4 < parity["figures"]["bar"] < 0.25


@pytest.mark.onnx
@pytest.mark.openvino
def test_an_onnx_quantised_dynamically_is_not_accused_for_a_step(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    """ONNX Runtime's optimiser rounds elsewhere than its own plain kernels: 4e-3 of the scale on a transformer."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(digits / "digits.onnx", tmp_path / "q.onnx")
    ran = dlconv("export", tmp_path / "q.onnx", "--to", "onnx,onnxruntime,openvino", "--samples",
                 digits / "samples.npz", "-o", tmp_path / "out", "--json", "-")  # fmt: skip
    assert ran.code == 0, ran.err
    for outcome in ran.data["outcomes"]:
        parity = next(check for check in outcome["checks"] if check["name"] == "parity")
        assert parity["figures"]["kind"] == "quantised" and 1e-3 < parity["figures"]["bar"] < 0.25
