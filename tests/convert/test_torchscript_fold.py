"""Recording what a script keeps in tensors that depend on no input: it is computed, and what is filled is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dlconv.convert.torchscript_flat import open_flat
from dlconv.convert.torchscript_record import record
from dlconv.model import Signature, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
nn = torch.nn


class Resized(nn.Module):
    """A factor from sizes, as torchvision's detectors compute it: a tensor from a list, and a number out of it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sides = torch.tensor(x.shape[-2:])
        scale = torch.min(100.0 / torch.min(sides).to(torch.float32), torch.tensor(200.0))
        table = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        return x * scale.item() + table


class Filled(nn.Module):
    """A tensor that begins empty, and gathers what the input and a list have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = torch.empty(2, 3)
        made.zero_()
        made += x
        made[1] += torch.tensor([1.0, 2.0, 3.0])
        return made


@pytest.mark.parametrize("module", [Resized(), Filled()], ids=lambda module: type(module).__name__)
def test_what_begins_empty_has_its_values_in_the_record(tmp_path: Path, module: nn.Module) -> None:
    torch.jit.script(module.eval()).save(str(tmp_path / "model.pt"))
    signature = Signature((TensorSpec("x", "float32", (2, 3)),), (TensorSpec("output", "float32", (2, 3)),))
    sample = np.random.default_rng(0).random((2, 3), dtype=np.float32)
    graph = record(open_flat(tmp_path / "model.pt", signature, {"x": sample}))
    for x in (torch.from_numpy(sample), torch.rand(2, 3)):
        torch.testing.assert_close(torch.as_tensor(graph(x)[0]), module(x))
