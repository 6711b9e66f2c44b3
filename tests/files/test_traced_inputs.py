"""The inputs of a trace, read from its archive without unpickling."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from dlconv.files.traced_inputs import Traced, traced_inputs

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")


class Nested(torch.nn.Module):
    def forward(
        self, x: torch.Tensor, more: dict[str, torch.Tensor], pair: tuple[torch.Tensor, torch.Tensor], ids: torch.Tensor
    ) -> torch.Tensor:
        return x + more["a"] + pair[0] + pair[1] + ids


@pytest.mark.torch
def test_tensors_in_containers_and_their_dtypes(tmp_path: Path) -> None:
    x, ids = torch.randn(2, 3), torch.ones(3, dtype=torch.int64)
    path = tmp_path / "nested.pt"
    torch.jit.trace(Nested(), (x, {"a": x}, (x, x.double()), ids), strict=False).save(str(path))
    single, double = Traced("float32", (2, 3)), Traced("float64", (2, 3))
    assert traced_inputs(str(path)) == [single, {"a": single}, (single, double), Traced("int64", (3,))]


@pytest.mark.torch
def test_a_scripted_module_tells_none(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    torch.jit.script(torch.nn.ReLU()).save(str(path))
    assert traced_inputs(str(path)) == []


@pytest.mark.parametrize("content", [b"cos\nsystem\n(X\x04\x00\x00\x00exittR.", b"", b"\x80\x02."])
def test_other_pickles_are_read_as_none_and_run_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/traced_inputs.pkl", content)
    assert traced_inputs(str(path)) == []
