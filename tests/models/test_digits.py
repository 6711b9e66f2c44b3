"""The sample model is what its README says: small, accurate, and made by its script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FILES = ("digits.pt", "digits.pt2", "digits.onnx", "samples.npz", "labels.npz")


def samples_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(folder / "samples.npz") as samples, np.load(folder / "labels.npz") as labels:
        return samples["image"], labels["label"]


def test_samples_are_held_out_images_of_all_classes(digits: Path) -> None:
    image, label = samples_of(digits)
    assert image.shape == (64, 1, 8, 8) and image.dtype == np.float32
    assert image.min() == 0.0 and image.max() == 1.0
    assert label.shape == (64,) and set(label.tolist()) == set(range(10))


def test_files_are_small(digits: Path) -> None:
    assert sum((digits / name).stat().st_size for name in FILES) < 500_000
    assert (digits / "digits.pt").stat().st_size < 200 * 1024


@pytest.mark.torch
def test_torchscript_reads_the_held_out_digits(digits: Path) -> None:
    import torch

    image, label = samples_of(digits)
    model = torch.jit.load(str(digits / "digits.pt")).eval()
    with torch.no_grad():
        answers = model(image=torch.from_numpy(image)).numpy()
    assert answers.shape == (64, 10) and answers.dtype == np.float32
    assert np.mean(answers.argmax(axis=1) == label) >= 0.97
    # Probabilities that are not saturated, so that a fault in the weights shows in every one of them.
    assert np.median(answers.max(axis=1)) < 0.999


@pytest.mark.torch
@pytest.mark.onnx
def test_the_three_files_are_one_model(digits: Path) -> None:
    import onnxruntime
    import torch

    image, _ = samples_of(digits)
    with torch.no_grad():
        script = torch.jit.load(str(digits / "digits.pt"))(torch.from_numpy(image)).numpy()
        program = torch.export.load(digits / "digits.pt2").module()(torch.from_numpy(image)).numpy()
    session = onnxruntime.InferenceSession(digits / "digits.onnx", providers=["CPUExecutionProvider"])
    (graph,) = session.run(None, {"image": image})
    np.testing.assert_allclose(program, script, rtol=0, atol=1e-6)
    np.testing.assert_allclose(graph, script, rtol=0, atol=1e-6)


@pytest.mark.torch
@pytest.mark.slow
def test_training_again_gives_the_same_model(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="train.py wants scikit-learn (the group `train`)")
    import torch

    script = digits / "train.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "held-out accuracy: 0.99" in done.stdout
    assert all((tmp_path / name).is_file() for name in FILES)
    image, label = samples_of(tmp_path)
    committed, label_committed = samples_of(digits)
    np.testing.assert_array_equal(image, committed)
    np.testing.assert_array_equal(label, label_committed)
    # Another processor sums in another order and the training amplifies that: the answers, not the bits, are compared.
    with torch.no_grad():
        old, new = (torch.jit.load(str(at / "digits.pt"))(torch.from_numpy(image)).numpy() for at in (digits, tmp_path))
    assert np.mean(old.argmax(axis=1) == new.argmax(axis=1)) >= 0.97
