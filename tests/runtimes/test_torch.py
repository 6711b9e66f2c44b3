"""PyTorch as a runtime: float64 that is float64, and state that never leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.errors import Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes.torch import open as open_torch
from dlconv.runtimes.torch import probe
from dlconv.runtimes.torch_describe import describe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
nn = torch.nn
X = Signature((TensorSpec("x", "float32", (1, 4)),))


class Narrow(nn.Module):
    """Says float32 in every place where a program can."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x).to(torch.float32) / 3.0
        y = y + torch.full([4], 0.1, dtype=torch.float32) + torch.zeros(4)
        return torch.softmax(y, 1, dtype=torch.float32).float()


class Bits(nn.Module):
    """Reads the bits of its values: that has no meaning in float64."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(torch.int32).to(torch.float32)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.add_(x)
        return self.seen * 2


def saved(module: Any, folder: Path, kind: str) -> Path:
    path = folder / "model.pt"
    example = torch.randn(1, 4)
    if kind == "script":
        torch.jit.script(module).save(str(path))
    elif kind == "trace":
        torch.jit.trace(module, example).save(str(path))
    else:
        torch.export.save(torch.export.export(module, (example,)), str(path.with_suffix(".pt2")))
        return path.with_suffix(".pt2")
    return path


def values(seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((1, 4)).astype(np.float32)}


def test_probe_runs_a_model() -> None:
    assert probe()["devices"] == ["CPU"]


@pytest.mark.parametrize("kind", ["script", "trace", "export"])
def test_double_is_double_whatever_the_program_says(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    path = saved(Narrow().eval(), tmp_path, kind)
    y64 = open_torch(path, X, {"double": True}).run(values())["output"]
    y32 = open_torch(path, X).run(values())["output"]
    assert y64.dtype == np.float64 and y32.dtype == np.float32
    torch.manual_seed(0)
    linear = nn.Linear(4, 4).double()
    with torch.no_grad():
        exact = torch.softmax(linear(torch.from_numpy(values()["x"]).double()) / 3.0 + 0.1, 1).numpy()
    assert np.abs(y64 - exact).max() < 1e-15
    assert 0 < np.abs(y32 - exact).max() < 1e-6


def test_where_double_has_no_meaning_it_is_refused(tmp_path: Path) -> None:
    session = open_torch(saved(Bits(), tmp_path, "script"), X, {"double": True})
    with pytest.raises(Unsupported, match="cannot run in float64"):
        session.run(values())


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("kind", ["script", "export"])
def test_every_run_starts_from_the_initial_state(tmp_path: Path, kind: str, double: bool) -> None:
    session = open_torch(saved(Counting(), tmp_path, kind), X, {"double": double})
    first = session.run(values(1))["output"]
    session.run(values(2))
    np.testing.assert_array_equal(session.run(values(1))["output"], first)
    np.testing.assert_allclose(first, values(1)["x"] * 2)


def test_placement_tells_what_ran(tmp_path: Path) -> None:
    path = saved(Narrow().eval(), tmp_path, "script")
    assert open_torch(path, X).placement()["precision"] == "float32"
    assert open_torch(path, X, {"double": True}).placement()["precision"] == "float64"


@pytest.mark.parametrize("kind", ["script", "export"])
def test_describe_counts(tmp_path: Path, kind: str) -> None:
    told = describe(str(saved(Narrow().eval(), tmp_path, kind)))
    assert told["parameters"] == {"float32": {"count": 20, "size_bytes": 80}}
    assert any(name.endswith("linear") or "linear" in name for name in told["operators"])
