"""Samples are read from a file, and what does not fit is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv import samples as sampling
from dlconv.drawing import draw
from dlconv.errors import SamplesError
from dlconv.model import Signature, TensorSpec

IMAGE = Signature((TensorSpec("x", "float32", (1, 3, 4, 4)),))
TEXT = Signature(
    (
        TensorSpec("ids", "int64", ("N", "S")),
        TensorSpec("attention_mask", "int64", ("N", "S")),
        TensorSpec("t", "float32", ()),
    )
)
FILE = Path("samples.npz")


def drawn(signature: Signature, seed: int = 0, count: int = 8) -> sampling.SampleSet:
    return draw(signature, count, seed, {"N": 2, "S": 6}, {"ids": (0, 99)})


@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (5, 1, 3, 4, 4)])
def test_a_leading_axis_of_samples_is_cut(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    samples = sampling.split({"x": array}, IMAGE, FILE)
    assert [sample["x"].shape for sample in samples] == [(1, 3, 4, 4)] * 5
    np.testing.assert_array_equal(samples[3]["x"].ravel(), array[3].ravel())


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"y": np.zeros((1, 3, 4, 4), np.float32)}, "no array for the input 'x'"),
        ({"x": np.zeros((1, 3, 4, 4), np.float32), "y": np.zeros(1)}, "'y' is no input"),
        ({"x": np.zeros((1, 3, 5, 4), np.float32)}, "has the shape"),
        ({"x": np.zeros((3, 4), np.float32)}, "has the shape"),
        ({"x": np.zeros((1, 3, 4, 4), np.int64)}, "is int64"),
        ({"x": np.zeros((0, 3, 4, 4), np.float32)}, "has the shape"),
    ],
)
def test_what_does_not_fit_is_told(arrays: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(SamplesError) as caught:
        sampling.split(arrays, IMAGE, FILE)
    assert told in " ".join(caught.value.problems)


def test_all_problems_are_told_together() -> None:
    with pytest.raises(SamplesError) as caught:
        sampling.split({"ids": np.zeros((2, 2)), "z": np.zeros(1)}, TEXT, FILE)
    assert len(caught.value.problems) == 4


def test_integers_are_cast_where_they_fit_alone() -> None:
    narrow = Signature((TensorSpec("x", "int8", ("N", 2)),))
    assert sampling.split({"x": np.array([[1, 2]])}, narrow, FILE)[0]["x"].dtype == np.int8
    with pytest.raises(SamplesError):
        sampling.split({"x": np.array([[1, 300]])}, narrow, FILE)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    samples = drawn(TEXT, count=3).samples
    np.savez(tmp_path / "s.npz", **sampling.to_arrays(samples))
    again = sampling.split(sampling.read_npz(tmp_path / "s.npz"), TEXT, FILE)
    assert sampling.SampleSet(again, "").digest == sampling.SampleSet(samples, "").digest


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(SamplesError):
        sampling.read_npz(tmp_path / "s.npz")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, x=np.array([object()], dtype=object))
    with pytest.raises(SamplesError):
        sampling.read_npz(path)


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match="there is no samples file"):
        sampling.read_npz(tmp_path / "none.npz")


def test_a_scalar_stays_a_scalar() -> None:
    from dlconv.validators.pairing import to_artifact

    signature = Signature((TensorSpec("t", "float32", ()),))
    (row,) = sampling.split({"t": np.array([0.5], np.float32)}, signature, FILE)
    assert row["t"].shape == ()
    assert to_artifact(row, signature)["t"].shape == ()


def test_a_directory_of_files_is_joined_in_the_order_of_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        np.savez(tmp_path / f"{number}.npz", x=np.full((1, 3), number), y=np.full((2,), number))
    arrays = sampling.read_samples(tmp_path)
    assert arrays["x"].tolist() == [[0] * 3, [1] * 3, [2] * 3]
    assert arrays["y"].tolist() == [0, 0, 1, 1, 2, 2]


def test_a_directory_of_arrays_names_them_by_their_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6).reshape(2, 3))
    np.save(tmp_path / "mask.npy", np.ones((2, 4)))
    assert {name: array.shape for name, array in sampling.read_samples(tmp_path).items()} == {
        "x": (2, 3),
        "mask": (2, 4),
    }


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "holds no samples"),
        ({"a.npz": {"x": np.ones((1, 3))}, "b.npz": {"z": np.ones((1, 3))}}, "b.npz in .* other names than a.npz"),
        ({"a.npz": {"x": np.ones((1, 3))}, "b.npz": {"x": np.ones((1, 4))}}, "do not fit together"),
        ({"a.npz": {"x": np.ones((1, 3))}, "x.npy": np.ones(3)}, "holds .npz and .npy files"),
    ],
)
def test_a_directory_that_does_not_fit_is_told(tmp_path: Path, files: dict[str, Any], told: str) -> None:
    for name, content in files.items():
        if name.endswith("z"):
            np.savez(tmp_path / name, **content)
        else:
            np.save(tmp_path / name, content)
    with pytest.raises(SamplesError, match=told):
        sampling.read_samples(tmp_path)
