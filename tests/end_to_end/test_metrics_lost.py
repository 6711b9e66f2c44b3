"""`--metric MODULE:FUNCTION`, and a task that float16 loses, as a user types them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.end_to_end.test_export import receipt_of

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Command

pytestmark = [pytest.mark.onnx]
_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
METRICS = """
import numpy as np

def macro(outputs, labels):
    best = outputs["probabilities"].argmax(axis=1)
    return float(np.mean([np.mean(best[labels == c] == c) for c in np.unique(labels)]))

def raises(outputs, labels):
    raise ValueError("planted")

def nothing(outputs, labels):
    return float("nan")

def text(outputs, labels):
    return "0.9 or so"
"""


def test_a_function_of_the_users_is_a_metric(dlconv: Command, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "rated.py").write_text(METRICS)

    def run(metric: str, *words: object) -> tuple[int, str]:
        process = dlconv.start(*words, "--labels", digits / "labels.npz", "--metric", metric, "--max-drop", "2%",
                               cwd=tmp_path)  # fmt: skip
        out, err = process.communicate(timeout=280)
        return process.returncode, out + err

    export = ("export", digits / "digits.onnx", "--to", "onnx", "--int8", "--samples", digits / "samples.npz", "-o",
              tmp_path)  # fmt: skip
    code, said = run("rated:macro", *export)
    assert code == 0, said
    task = receipt_of(tmp_path / "digits-onnx-int8")["evidence"]["task"]
    assert task["metric"] == "rated:macro" and "bootstrap" in task["method"] and 0.9 < task["candidate"] < 1
    refused = {"raises": "planted", "nothing": "is nan", "text": "wanted a number", "absent": "absent"}
    for metric, told in refused.items():
        code, said = run(f"rated:{metric}", "verify", tmp_path / "digits-onnx-int8")
        assert code == 2 and told in said, (metric, code, said)


def near_ties(folder: Path) -> Path:
    """Two classes that differ by little beside what both have, and a third that is never the best: float16 loses which
    is larger where that is added, and no bar on errors shows it."""
    random = np.random.default_rng(0)
    first = np.linalg.qr(random.standard_normal((16, 16)))[0].astype(np.float32)
    second = random.standard_normal((16, 2))[:, [0, 0, 1]] * [2e-3, -2e-3, 1]
    nodes = [
        _node("MatMul", ["x", "first"], ["h"], name="one"),
        _node("Relu", ["h"], ["r"], name="relu"),
        _node("MatMul", ["r", "second"], ["d"], name="two"),
        _node("Add", ["d", "level"], ["y"], name="lifted"),
    ]
    stored = [_stored("first", first), _stored("second", second.astype(np.float32)),
              _stored("level", np.array([9.7, 9.7, -20], np.float32))]  # fmt: skip
    path: Path = _save(folder, nodes, [_value("x", ["N", 16])], [_value("y", ["N", 3])], stored)
    x = random.standard_normal((150, 16)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x)
    scores = np.maximum(x.astype(np.float64) @ first, 0) @ second + [9.7, 9.7, -20]
    np.savez(folder / "labels.npz", y=scores.argmax(axis=1))
    return path


def test_a_drop_that_a_cpu_hides_is_met_before_anything_is_built(dlconv: Command, tmp_path: Path) -> None:
    path = near_ties(tmp_path)
    words = ("export", path, "--to", "onnx,openvino", "--fp16", "--samples", tmp_path / "samples.npz", "--labels",
             tmp_path / "labels.npz", "-o", tmp_path, "--metric", "top1", "--max-drop", "1%")  # fmt: skip
    lost = dlconv(*words)
    assert lost.code == 4 and "fp16 loses the model's task: top1 is 0." in lost.err, lost.out + lost.err
    ran = dlconv(*words, "--search")
    assert ran.code == 0 and "1 of 4 nodes stay in float32" in ran.out + ran.err, ran.out + ran.err
    for target in ("onnx", "openvino"):
        receipt = receipt_of(tmp_path / f"model-{target}-fp16")
        assert receipt["reduction"]["keep"] == ["lifted"]
        assert receipt["evidence"]["task"]["candidate"] >= 0.99
    # The error alone would have kept nothing.
    alone = dlconv(*words[:-4], "--search", "-o", tmp_path / "alone")
    assert alone.code == 0 and "0 of 4 nodes stay" in alone.out + alone.err, alone.out + alone.err
