"""A model that keeps state, as a user exports and verifies it: step by step over one sequence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest

import dlconv as package
from dlconv.model import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.torch, pytest.mark.onnx]
TARGETS = ("onnx", "onnxruntime", "openvino", "tflite")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Policy(nn.Module):
        """An LSTM with its state in buffers, as robots' policies are saved."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("hidden", torch.zeros(1, 1, 8))
            self.register_buffer("cell", torch.full((1, 1, 8), 0.5))
            self.memory = nn.LSTM(5, 8)
            self.actor = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, (h, c) = self.memory(x.unsqueeze(0), (self.hidden, self.cell))
            self.hidden[:] = h
            self.cell[:] = c
            return self.actor(y.squeeze(0))

    path = tmp_path_factory.mktemp("source") / "policy.pt"
    torch.manual_seed(2)
    torch.jit.script(Policy().eval()).save(str(path))
    return path


@pytest.fixture(scope="module")
def bundles(source: Path, dlconv: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles")
    ran = dlconv("export", source, "--to", ",".join(TARGETS), "-o", out, "--json", "-")
    assert ran.code == 0, ran.err
    assert [bundle["verdict"]["word"] for bundle in ran.data["outcomes"]] == ["PASS"] * 4
    return out


def receipt_of(bundle: Path) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads((bundle / "dlconv.json").read_text())
    schema = json.loads((Path(package.__file__).parent / "receipt.schema.json").read_text())
    jsonschema.validate(receipt, schema)
    return receipt


@pytest.mark.openvino
@pytest.mark.tflite
@pytest.mark.onnx2tf
def test_the_receipt_tells_how_state_is_carried(bundles: Path, dlconv: Callable[..., Any]) -> None:
    for target in TARGETS:
        receipt = receipt_of(bundles / f"policy-{target}-fp32")
        assert [(each["input"], each["output"]) for each in receipt["artifact"]["state"]] == [
            ("hidden_in", "hidden_out"),
            ("cell_in", "cell_out"),
        ]
        assert "state.npz" in [file["path"] for file in receipt["artifact"]["files"]]
        assert receipt["evidence"]["controls"]["state lost from call to call"]
        assert receipt["source"]["facts"]["sequence"]
    ran = dlconv("verify", *(bundles / f"policy-{target}-fp32" for target in TARGETS))
    assert ran.code == 0, ran.err


@pytest.mark.openvino
@pytest.mark.tflite
@pytest.mark.onnx2tf
def test_an_application_carries_the_state_as_the_receipt_says(bundles: Path, source: Path) -> None:
    import onnxruntime
    import torch

    bundle = bundles / "policy-onnx-fp32"
    state = receipt_of(bundle)["artifact"]["state"]
    with np.load(bundle / "state.npz") as initial:
        now = {each["input"]: initial[each["input"]] for each in state}
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    model = torch.jit.load(str(source))
    for x in np.random.default_rng(8).standard_normal((6, 1, 5)).astype(np.float32):
        answer = dict(zip(names, session.run(names, {"x": x, **now}), strict=True))
        now = {each["input"]: answer[each["output"]] for each in state}
        with torch.no_grad():
            wanted = model(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(answer["output"], wanted, rtol=0, atol=1e-5)


@pytest.mark.openvino
@pytest.mark.tflite
@pytest.mark.onnx2tf
def test_state_that_starts_elsewhere_fails(bundles: Path, dlconv: Callable[..., Any], tmp_path: Path) -> None:
    bundle = tmp_path / "moved"
    shutil.copytree(bundles / "policy-onnx-fp32", bundle)
    np.savez(bundle / "state.npz", hidden_in=np.ones((1, 1, 8), np.float32), cell_in=np.ones((1, 1, 8), np.float32))
    ran = dlconv("verify", bundle)
    assert ran.code == 1 and "state.npz is not the file that was made" in ran.out
    receipt = receipt_of(bundle)
    for file in receipt["artifact"]["files"]:  # even where the receipt is made to agree
        file["digest"] = digest_of(bundle / file["path"])
    (bundle / "dlconv.json").write_text(json.dumps(receipt))
    ran = dlconv("verify", bundle)
    assert ran.code == 1 and "FAIL" in ran.out


@pytest.mark.openvino
@pytest.mark.tflite
@pytest.mark.onnx2tf
def test_state_that_is_not_carried_fails(bundles: Path, dlconv: Callable[..., Any], tmp_path: Path) -> None:
    """The artifact gives back the state that it was given: each call answers as the first one did."""
    import onnx
    from onnx import helper

    bundle = tmp_path / "forgetful"
    shutil.copytree(bundles / "policy-onnx-fp32", bundle)
    model = onnx.load(str(bundle / "model.onnx"))
    for node in model.graph.node:
        node.output[:] = [f"{name}/lost" if name in ("hidden_out", "cell_out") else name for name in node.output]
        node.input[:] = [f"{name}/lost" if name in ("hidden_out", "cell_out") else name for name in node.input]
    model.graph.node.extend(
        helper.make_node("Identity", [f"{name}_in"], [f"{name}_out"]) for name in ("hidden", "cell")
    )
    onnx.save(model, str(bundle / "model.onnx"))
    receipt = receipt_of(bundle)
    for file in receipt["artifact"]["files"]:
        file["digest"] = digest_of(bundle / file["path"])
    (bundle / "dlconv.json").write_text(json.dumps(receipt))
    ran = dlconv("verify", bundle)
    assert ran.code == 1 and "FAIL" in ran.out


def test_the_source_against_itself(source: Path, dlconv: Callable[..., Any]) -> None:
    ran = dlconv("verify", source, "--against", source)
    assert ran.code == 0, ran.out + ran.err
