"""The Keras sample models are what their READMEs say: small, accurate on held-out samples, of any length."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.formats import Format
from dlconv.opening import identify

if TYPE_CHECKING:
    from dlconv.workers.worker import Worker

FILES = {"digits-keras": ("digits.keras", "labels.npz"), "strip": ("strip.keras",)}


@pytest.fixture(scope="module")
def models(digits: Path) -> Path:
    return digits.parent


def answers(worker: Worker, path: Path, samples: list[dict[str, np.ndarray]]) -> tuple[dict[str, Any], list[Any]]:
    signature = worker.call("dlconv.convert.tensorflow_signature:read", path=str(path))["signature"]
    told = worker.call(
        "dlconv.workers.tasks:answer",
        runtime="dlconv.runtimes.tensorflow",
        path=str(path),
        signature=signature,
        settings={},
        samples=samples,
    )
    assert not any(told["errors"]), told["errors"]
    return signature, told["outputs"]


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_the_script_is_there(models: Path, name: str) -> None:
    folder = models / name
    files = [folder / each for each in (*FILES[name], "samples.npz", "README.md", "train.py", "dlconv.toml")]
    assert all(path.is_file() for path in files)
    assert sum(path.stat().st_size for path in files) < 400_000
    assert identify(folder / FILES[name][0]).format is Format.KERAS


@pytest.mark.tensorflow
def test_the_twin_reads_the_held_out_digits(tensorflow_worker: Worker, models: Path) -> None:
    folder = models / "digits-keras"
    with np.load(folder / "samples.npz") as samples, np.load(folder / "labels.npz") as labels:
        (image,), (label,) = samples.values(), labels.values()
    signature, (made,) = answers(tensorflow_worker, folder / "digits.keras", [{"image": image}])
    assert signature["inputs"][0]["shape"] == ["batch", 8, 8, 1]
    (scores,) = made.values()
    assert scores.shape == (64, 10)
    assert np.mean(scores.argmax(1) == label) >= 0.97


@pytest.mark.tensorflow
def test_strips_of_any_length_are_read(tensorflow_worker: Worker, models: Path) -> None:
    folder = models / "strip"
    with np.load(folder / "samples.npz") as samples:
        strips = [samples[name] for name in sorted(samples.files)]
    lengths = {strip.shape[1] for strip in strips}
    assert len(strips) == 10 and len(lengths) > 3 and all(length % 8 == 0 for length in lengths)
    signature, made = answers(tensorflow_worker, folder / "strip.keras", [{"columns": strip} for strip in strips])
    assert signature["inputs"][0]["shape"] == ["batch", "columns_1", 8]
    for strip, answer in zip(strips, made, strict=True):
        assert answer["digits"].shape == (1, strip.shape[1], 10)
        # A digit is eight columns wide, and the network is sure of nearly each: by the majority it reads one of ten.
        columns = answer["digits"][0].reshape(-1, 8, 10)
        votes = [np.bincount(digit.argmax(1), minlength=10).max() for digit in columns]
        assert min(votes) >= 5
