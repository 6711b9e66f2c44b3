"""TorchScript that PyTorch itself quantised: its steps are known, and judged by; what no exporter reads is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert.torchscript_signature import infer
from dlconv.errors import Unsupported
from dlconv.model import Signature
from dlconv.runtimes import torch as adapter
from tests.convert.torch_models import quantised

pytestmark = pytest.mark.torch


def test_the_steps_of_inputs_and_outputs_are_those_of_the_module(tmp_path: Path) -> None:
    import torch

    place = quantised(tmp_path / "q.pt")
    found = Signature.from_dict(infer(str(place))["signature"])
    ((taken,), (given,)) = found.inputs, found.outputs
    module: Any = torch.jit.load(str(place))
    answer = module(torch.randn(64, 1, 8, 8)).numpy().ravel().astype(np.float64)
    assert taken.scale is not None and 0.01 < taken.scale < 0.1
    assert given.scale is not None and given.scale > 0
    steps = answer / given.scale
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert np.ptp(np.rint(steps)) > 20, "the answers are many of its steps"


def test_what_is_computed_behind_dequantising_has_a_step_that_hangs_on_the_call(tmp_path: Path) -> None:
    (given,) = Signature.from_dict(infer(str(quantised(tmp_path / "q.pt", tail=True)))["signature"]).outputs
    assert given.scale == 0.0


def test_it_does_not_run_in_float64_and_the_reason_is_told(tmp_path: Path) -> None:
    place = quantised(tmp_path / "q.pt")
    session = adapter.open(place, infer(str(place))["signature"], {"double": True})
    with pytest.raises(Unsupported, match=r"because of .*quantize_per_tensor"):
        session.run({"input": np.ones((2, 1, 8, 8), np.float32)})


def test_dynamic_quantisation_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="quantized::linear_dynamic") as caught:
        infer(str(quantised(tmp_path / "q.pt", dynamic=True)))
    assert "--int8-weights" in caught.value.mend


def test_sizes_are_read_from_packed_weights(tmp_path: Path) -> None:
    """One channel by the convolution's, and sides of eight by the columns of the matrix that reads them flattened."""
    (taken,) = Signature.from_dict(infer(str(quantised(tmp_path / "q.pt", script=True)))["signature"]).inputs
    assert taken.shape is not None and taken.shape[1:] == (1, 8, 8)
