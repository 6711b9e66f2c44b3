"""Operators of other packages: theirs are imported, what is lacking is told, and no file chooses what code runs."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dlconv.errors import PackagesMissing, SourceError
from dlconv.runtimes.torch_program import load_exported
from dlconv.runtimes.torchscript import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

REGISTERS = """
import torch

library = torch.library.Library("{name}", "DEF")
library.define("twice(Tensor x) -> Tensor")
library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
"""
SAVES = """
class Model(torch.nn.Module):
    def forward(self, x):
        return torch.ops.{name}.twice(x) + 1

x = torch.ones(2)
torch.jit.trace(Model(), x).save("model.pt")
torch.export.save(torch.export.export(Model(), (x,)), "model.pt2")
"""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Warnings are switched off, as some frameworks' adapters do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    yield
    logging.disable(before)


def saved(folder: Path, name: str) -> Path:
    """A TorchScript archive and a .pt2 with the operator NAME::twice, which this process does not know."""
    code = (REGISTERS + SAVES).format(name=name)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=120, capture_output=True)
    return folder


READERS: list[Callable[[Path], Any]] = [
    lambda folder: load(folder / "model.pt")(torch.ones(2)),
    lambda folder: load_exported(folder / "model.pt2").module()(torch.ones(2)),
]


@pytest.mark.parametrize("read", READERS, ids=("TorchScript", "torch.export"))
def test_what_is_lacking_is_told_and_used_once_it_is_here(
    read: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    name = {"TorchScript": "torch_sparse", "torch.export": "torch_cluster"}[request.node.callspec.id]
    saved(tmp_path, name)
    with pytest.raises(PackagesMissing, match=f"the operator {name}::twice, and {name} is not installed") as missing:
        read(tmp_path)
    assert f"-m pip install {name}" in missing.value.mend
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / f"{name}.py"
    package.write_text("raise OSError('undefined symbol: _ZN3c10')")
    with pytest.raises(PackagesMissing, match=r"does not go with PyTorch .*undefined symbol"):
        read(tmp_path)
    package.write_text("# of another release: it has no such operator\n")
    with pytest.raises(RuntimeError, match="twice"):
        read(tmp_path)
    monkeypatch.delitem(sys.modules, name)
    package.write_text(REGISTERS.format(name=name) + f"# {name} is here\n")
    assert read(tmp_path).tolist() == [3, 3]


@pytest.mark.parametrize("read", READERS, ids=("TorchScript", "torch.export"))
def test_a_file_does_not_choose_what_is_imported(
    read: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, "stranger")
    (tmp_path / "stranger.py").write_text("raise AssertionError('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SourceError, match="the operator stranger::twice, which PyTorch does not have"):
        read(tmp_path)
