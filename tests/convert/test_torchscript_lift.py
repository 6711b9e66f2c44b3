"""State lifted out of TorchScript modules of many makes: a sequence of lifted calls does what the module does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert import torchscript_to_onnx, torchscript_to_torch_export
from dlconv.convert.edge import Step
from dlconv.convert.torchscript_signature import infer
from dlconv.errors import Unsupported
from dlconv.model import Signature
from dlconv.workers import tasks

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.runtimes.base import Tensors

pytestmark = [pytest.mark.torch, pytest.mark.onnx]
torch = pytest.importorskip("torch")
nn = torch.nn


class Recurrent(nn.Module):
    """A buffer that is written in place, and given back as it is: what the next call writes into."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.full((1, 4), 0.25))
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.hidden[:] = self.cell(x, self.hidden)
        return self.hidden


class Sized(nn.Module):
    """An attribute that is empty until the first call, and a number that is at rest after it."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = torch.empty(0)
        self.batch = 0
        self.mix = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.batch != x.shape[0]:
            self.tail = torch.zeros(x.shape[0], 2)
        joined = torch.cat([self.tail, x], 1)
        self.batch = x.shape[0]
        self.tail = joined[:, -2:]
        return self.mix(joined)


class Queue(nn.Module):
    """A list of tensors, in which each call takes a step."""

    def __init__(self) -> None:
        super().__init__()
        self.past = [torch.zeros(1, 3), torch.ones(1, 3)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 0.5 * self.past[0] - 0.25 * self.past[1]
        self.past = [self.past[1], y]
        return y


class Delay(nn.Module):
    """State that reaches an output only by way of other state, a call later."""

    def __init__(self) -> None:
        super().__init__()
        self.near = torch.zeros(1, 3)
        self.far = torch.zeros(1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self.near
        self.near = self.far
        self.far = x * 2.0
        return y


class Idle(nn.Module):
    """Two pieces of state, of which one is written and never reaches an output."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("used", torch.zeros(3))
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(1.0)
        self.used = 0.5 * self.used + x[0]
        return x + self.used


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(0, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = torch.cat([self.seen, x])
        return self.seen.sum(0, keepdim=True)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.last = torch.zeros(1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = self.last + x * self.calls
        return self.last


class Odd(nn.Module):
    """Its first call does what no state of zeros can make a later call do."""

    def __init__(self) -> None:
        super().__init__()
        self.started = False
        self.last = torch.zeros(1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.started:
            self.last = x + 100.0
        self.started = True
        self.last = 0.5 * self.last + x
        return self.last


INPUT = [{"name": "x", "dtype": "float32", "shape": [1, 3]}]


def saved(module: Any, folder: Path) -> Path:
    torch.manual_seed(1)
    path = folder / "source.pt"
    torch.jit.script(module.eval()).save(str(path))
    return path


def sequence() -> list[Tensors]:
    random = np.random.default_rng(3)
    return [{"x": random.standard_normal((1, 3)).astype(np.float32)} for _ in range(5)]


def lifted(path: Path, edge: Any = torchscript_to_onnx) -> tuple[Path, Signature]:
    signature = Signature.from_dict(infer(str(path), INPUT)["signature"])
    out = path.parent / "out"
    out.mkdir()
    step = Step(path, out, signature, sequence()[0])
    made = tasks.run_edge(edge.__name__, step.to_dict())["made"]
    return out / made["entry"], Signature.from_dict(made["signature"])


def answers(runtime: str, path: Path, signature: Signature, settings: dict[str, Any]) -> dict[str, Any]:
    found = tasks.answer(
        f"dlconv.runtimes.{runtime}", str(path), signature.to_dict(), settings, sequence(), twice=True, sequence=True
    )
    assert not any(found["errors"])
    return found


@pytest.mark.parametrize(
    ("module", "state"),
    [
        (Recurrent, ["hidden"]),
        (Sized, ["tail"]),
        (Queue, ["past.0", "past.1"]),
        (Delay, ["near", "far"]),
        (Idle, ["used"]),
    ],
)
def test_a_sequence_of_lifted_calls(tmp_path: Path, module: Any, state: list[str]) -> None:
    path = saved(module(), tmp_path)
    assert infer(str(path), INPUT)["sequence"]
    model, signature = lifted(path)
    assert [each.attribute for each in signature.state] == state
    assert [spec.name for spec in signature.own.outputs] == ["output"]
    wanted = answers("torch", path, signature.own, {"sequence": True, "double": True})
    got = answers("onnxruntime", model, signature, {})
    for name in ("outputs", "again", "first_calls"):
        for one, other in zip(got[name], wanted[name], strict=True):
            np.testing.assert_allclose(one["output"], other["output"], rtol=0, atol=1e-5)
    lost = [abs(a["output"] - b["output"]).max() for a, b in zip(got["outputs"], got["first_calls"], strict=True)]
    assert lost[0] == 0 and min(lost[2:]) > 1e-3


def test_state_goes_by_way_of_torch_export(tmp_path: Path) -> None:
    path = saved(Queue(), tmp_path)
    model, signature = lifted(path, torchscript_to_torch_export)
    wanted = answers("torch", path, signature.own, {"sequence": True})["outputs"]
    for one, other in zip(answers("torch", model, signature, {})["outputs"], wanted, strict=True):
        np.testing.assert_allclose(one["output"], other["output"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (Growing, r"seen grows from \[1, 3\] to \[2, 3\]"),
        (Counting, "calls is still changing"),
        (Odd, "the first call of the model differs"),
    ],
)
def test_what_cannot_be_lifted_is_told(tmp_path: Path, module: Any, why: str) -> None:
    path = saved(module(), tmp_path)
    found = infer(str(path), INPUT)
    assert found["stateful"] and not found["sequence"]
    assert any("its state cannot be made inputs" in note for note in found["notes"])
    _, signature = lifted(path)
    assert not signature.state
    from dlconv.convert.torchscript_lift import find_lift
    from dlconv.runtimes.torchscript import arguments_of, load

    source = load(path)
    with pytest.raises(Unsupported, match=why):
        find_lift(source, arguments_of(source), {"x": torch.ones(1, 3)})


def test_a_step_after_a_failed_one_is_not_run(tmp_path: Path) -> None:
    path = saved(Recurrent(), tmp_path)
    steps = sequence()
    steps[2] = {"x": np.ones((1, 7), np.float32)}
    signature = infer(str(path), INPUT)["signature"]
    settings = {"sequence": True}
    found = tasks.answer("dlconv.runtimes.torch", str(path), signature, settings, steps, sequence=True)
    assert [bool(error) for error in found["errors"]] == [False, False, True, True, True]
    assert found["errors"][3] == "a step before it failed"
