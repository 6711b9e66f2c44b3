"""`dlconv export` as a user types it: real models in, judged bundles out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import psutil
import pytest

import dlconv as package
from dlconv.model import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = {"onnx": "model.onnx", "onnxruntime": "model.onnx", "openvino": "model.xml", "tflite": "model.tflite"}
pytestmark = [pytest.mark.torch, pytest.mark.onnx]


def receipt_of(bundle: Path) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads((bundle / "dlconv.json").read_text())
    schema = json.loads((Path(package.__file__).parent / "receipt.schema.json").read_text())
    jsonschema.validate(receipt, schema)
    for file in receipt["artifact"]["files"]:
        assert digest_of(bundle / file["path"]) == file["digest"]
    return receipt


@pytest.mark.openvino
@pytest.mark.tflite
@pytest.mark.onnx2tf
def test_the_main_job(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    ran = dlconv("export", digits / "digits.pt", "--to", ",".join(ENTRIES), "--samples", digits / "samples.npz",
                 "-o", tmp_path, "--json", "-")  # fmt: skip
    assert ran.code == 0, ran.err
    assert [bundle["verdict"]["word"] for bundle in ran.data["outcomes"]] == ["PASS"] * 4
    for target, entry in ENTRIES.items():
        bundle = tmp_path / f"digits-{target}-fp32"
        receipt = receipt_of(bundle)
        assert receipt["artifact"]["entry"] == entry
        assert (bundle / entry).stat().st_size > 1000
        assert receipt["reference"]["precision"] == "float64"
        assert receipt["reference"]["samples"]["origin"] == "user"
        assert receipt["evidence"]["controls"]
        assert [spec["source"] for spec in receipt["artifact"]["inputs"]] == ["image"]
        assert receipt["routes"][0]["outcome"] == "taken"
        assert all(step["seconds"] > 0 and step["peak_memory_bytes"] > 0 for step in receipt["routes"][0]["steps"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"digits-{target}-fp32" for target in ENTRIES)


@pytest.mark.openvino
def test_no_more_than_the_model_and_the_target_is_needed(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", digits / "digits.pt", "--to", "openvino", "-o", tmp_path)
    assert ran.code == 0, ran.err
    assert "--input image:2x1x8x8:float32" in ran.err
    assert "PASS" in ran.out
    receipt = receipt_of(tmp_path / "digits-openvino-fp32")
    assert receipt["reference"]["samples"] | {"digest": ""} == {"count": 8, "origin": "drawn", "seed": 0, "digest": ""}
    assert receipt["evidence"]["placement"]["precision"] == "float32"


@pytest.mark.openvino
@pytest.mark.parametrize("name", ["digits.pt2", "digits.onnx"])
def test_other_sources_reach_the_targets(dlconv: Callable[..., Any], digits: Path, tmp_path: Path, name: str) -> None:
    ran = dlconv("export", digits / name, "--to", "onnx,onnxruntime,openvino", "-o", tmp_path, "--json", "-")
    assert ran.code == 0, ran.err + ran.out
    for bundle in ran.data["outcomes"]:
        receipt = receipt_of(Path(bundle["path"]))
        assert receipt["reference"]["precision"] == "float64"


def test_a_free_dimension_is_checked_at_more_than_the_traced_size(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", digits / "digits.pt", "--to", "onnx", "--input", "image:Nx1x8x8", "-o", tmp_path)
    assert ran.code == 0, ran.err
    bundle = tmp_path / "digits-onnx-fp32"
    assert receipt_of(bundle)["artifact"]["inputs"][0]["shape"] == ["N", 1, 8, 8]
    with np.load(bundle / "samples.npz") as samples:
        assert len({samples[name].shape[0] for name in samples.files}) >= 3
        assert 1 in {samples[name].shape[0] for name in samples.files}


def test_sides_that_are_halved_and_joined_again_are_checked_at_twice_the_size(
    dlconv: Callable[..., Any], tmp_path: Path
) -> None:
    import torch

    class Pyramid(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            small = torch.nn.functional.max_pool2d(image, 32)
            return torch.cat([image, torch.nn.functional.interpolate(small, scale_factor=32.0)], 1)

    torch.jit.script(Pyramid().eval()).save(str(tmp_path / "p.pt"))
    ran = dlconv(
        *("export", tmp_path / "p.pt", "--to", "onnx", "--input", "image:1x2xHxW", "--draws", "2", "-o", tmp_path)
    )
    assert ran.code == 0, ran.err
    with np.load(tmp_path / "p-onnx-fp32" / "samples.npz") as samples:
        sides = [samples[name].shape[2] for name in samples.files]
    assert sides == [sides[0], sides[0], 2 * sides[0]]
    assert f"does not take image 1x2x{sides[0] * 3 // 2}" in ran.err, "half more is no multiple of 32"


def test_a_repeat_is_answered_from_the_cache_and_judged_again(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    words = ("export", digits / "digits.pt", "--to", "onnx", "--seed", "5", "-o", tmp_path, "--json", "-")
    dlconv(*words)
    steps = [s for b in dlconv(*words).data["outcomes"] for r in b["receipt"]["routes"] for s in r["steps"]]
    assert steps
    assert all(step["cached"] for step in steps)
    again = dlconv(*words, "--no-cache").data["outcomes"][0]["receipt"]
    assert not any(step["cached"] for step in again["routes"][0]["steps"])


BAD = {
    "missing.pt": (None, "there is no file"),
    "empty.onnx": (b"", "empty"),
    "noise.pt": (bytes(range(256)) * 40, ""),
    "text.onnx": (b"hello, this is no model\n" * 100, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_model_is_one_clear_error(dlconv: Callable[..., Any], tmp_path: Path, name: str) -> None:
    content, told = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ran = dlconv("export", tmp_path / name, "--to", "onnx", "-o", tmp_path / "out")
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert told in ran.err
    assert not (tmp_path / "out").exists()


def test_a_truncated_archive_is_told(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    whole = (digits / "digits.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    ran = dlconv("export", tmp_path / "cut.pt", "--to", "onnx", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "truncated" in ran.err


@pytest.mark.parametrize(
    ("flag", "told"),
    [("picture:1x1x8x8", "picture"), ("image:1x8x8", ""), ("image:1x1x8x8:int64", ""), ("image:axb:c:d", "")],
)
def test_a_wrong_input_is_told(dlconv: Callable[..., Any], digits: Path, tmp_path: Path, flag: str, told: str) -> None:
    ran = dlconv("export", digits / "digits.pt", "--to", "onnx", "--input", flag, "-o", tmp_path / "out")
    assert ran.code == 2, ran.err
    assert told in ran.err
    assert not list((tmp_path / "out").glob("digits*"))


def test_samples_that_do_not_fit_are_told(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", image=np.zeros((4, 3, 8, 8), np.float32))
    ran = dlconv(
        "export", digits / "digits.onnx", "--to", "onnx", "--samples", tmp_path / "s.npz", "-o", tmp_path / "o"
    )
    assert ran.code == 2
    assert "image" in ran.err


def test_an_unknown_target_is_told(dlconv: Callable[..., Any], digits: Path) -> None:
    ran = dlconv("export", digits / "digits.pt", "--to", "onnx,coreml")
    assert ran.code == 2
    assert "coreml" in ran.err


def test_a_place_that_cannot_be_written_is_told_before_any_work(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "file").touch()
    logs = set((home / "logs").glob("*/*"))
    ran = dlconv("export", digits / "digits.pt", "--to", "onnx", "-o", tmp_path / "file")
    assert ran.code == 3
    assert "cannot be written" in ran.err
    assert set((home / "logs").glob("*/*")) == logs, "no worker was started"


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk is made by mounting a small one, which root alone may do")
def test_a_full_disk_is_told_and_the_old_bundle_stays(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "none", disk], check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        words = ("export", digits / "digits.pt", "--to", "onnx", "-o", disk)
        assert dlconv(*words).code == 0
        before = digest_of(disk / "digits-onnx-fp32")
        (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free - 20_000))
        ran = dlconv(*words)
        assert ran.code == 3
        assert "No space left" in ran.err + ran.out
        assert digest_of(disk / "digits-onnx-fp32") == before
        assert sorted(path.name for path in disk.iterdir()) == ["digits-onnx-fp32", "filler"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_worker_that_passes_its_memory_limit_is_told(
    dlconv: Callable[..., Any], digits: Path, tmp_path: Path
) -> None:
    ran = dlconv("export", digits / "digits.pt", "--to", "onnx", "--memory-limit", "100M", "--no-cache", "-o", tmp_path)
    assert ran.code == 4
    assert "memory" in ran.err + ran.out
    assert list(tmp_path.iterdir()) == []


def test_a_time_out_is_told(dlconv: Callable[..., Any], digits: Path, tmp_path: Path) -> None:
    ran = dlconv("export", digits / "digits.pt", "--to", "onnx", "--timeout", "0.05", "--no-cache", "-o", tmp_path)
    assert ran.code == 4
    assert "time limit" in ran.err + ran.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_in_the_middle_it_leaves_the_old_bundle_and_no_process(
    dlconv: Any, digits: Path, tmp_path: Path, number: signal.Signals
) -> None:
    words = ("export", digits / "digits.pt", "--to", "onnx,onnxruntime", "-o", tmp_path)
    assert dlconv(*words).code == 0
    before = {path.name: digest_of(path) for path in tmp_path.iterdir()}
    process = dlconv.start(*words, "--no-cache")
    children = _children(process.pid)
    time.sleep(0.7)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    bundles = {path.name: digest_of(path) for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert bundles == before


def _children(pid: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = psutil.Process(pid).children(recursive=True)
        if len(found) >= 2:
            return found
        time.sleep(0.02)
    pytest.fail("no worker was started")
