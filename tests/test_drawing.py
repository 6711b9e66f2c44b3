"""Samples are drawn from a seed: such numbers as the model can be expected to take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlconv.drawing import draw
from dlconv.errors import SignatureError
from dlconv.model import Signature, TensorSpec
from dlconv.samples import SampleSet

IMAGE = Signature((TensorSpec("x", "float32", (1, 3, 4, 4)),))
TEXT = Signature(
    (
        TensorSpec("ids", "int64", ("N", "S")),
        TensorSpec("attention_mask", "int64", ("N", "S")),
        TensorSpec("t", "float32", ()),
    )
)


def drawn(signature: Signature, seed: int = 0, count: int = 8) -> SampleSet:
    return draw(signature, count, seed, {"N": 2, "S": 6}, {"ids": (0, 99)})


def test_a_seed_gives_the_same_samples_and_another_gives_others() -> None:
    assert drawn(TEXT).digest == drawn(TEXT).digest != drawn(TEXT, seed=1).digest


def test_drawn_samples_fit_and_are_distinct_and_never_constant() -> None:
    samples = drawn(TEXT).samples
    for sample in samples:
        assert sample["ids"].shape == (2, 6)
        assert sample["ids"].dtype == np.int64
        assert 0 <= sample["ids"].min() <= sample["ids"].max() <= 99
        assert sample["t"].shape == ()
    assert len({sample["ids"].tobytes() for sample in samples}) == len(samples)
    floats = drawn(IMAGE).samples[0]["x"]
    assert floats.std() > 0.5


def test_masks_are_ones_with_a_ragged_end() -> None:
    masks = np.concatenate([sample["attention_mask"] for sample in drawn(TEXT).samples])
    assert set(np.unique(masks)) == {0, 1}
    assert (masks[:, 0] == 1).all()
    assert (np.diff(masks, axis=1) <= 0).all()


@pytest.mark.parametrize(
    ("rows", "name", "least", "most"),
    [(("N", "S"), "input_lengths", 8, 16), (("N", 80, "T"), "x_len", 5, 10), (("N", 6), "length", 3, 6)],
)
def test_lengths_are_of_rows_that_are_there(rows: tuple[Any, ...], name: str, least: int, most: int) -> None:
    signature = Signature((TensorSpec("x", "float32", rows), TensorSpec(name, "int64", ("N",))))
    made = draw(signature, 40, 0, {"N": 2, "S": 16, "T": 10}, {})
    lengths = np.concatenate([sample[name] for sample in made.samples])
    assert (lengths.min(), lengths.max()) == (least, most)
    assert draw(signature, 1, 0, {"N": 2, "S": 1, "T": 1}, {}).samples[0][name].min() >= 1
    assert (draw(signature, 1, 0, {"N": 2, "S": 16, "T": 10}, {name: (7, 7)}).samples[0][name] == 7).all()


def test_nothing_is_drawn_for_strings_or_an_unknown_rank() -> None:
    for spec in (TensorSpec("s", "string", (1,)), TensorSpec("x", "float32", None)):
        with pytest.raises(SignatureError):
            drawn(Signature((spec,)))


def test_columns_of_a_table_lie_where_they_are_said_to() -> None:
    signature = Signature((TensorSpec("x", "float32", ("N", 3)), TensorSpec("y", "float32", ("N", 3))))
    features = {"x": [[0.0, 100.0, -5.0], [1.0, 10.0, 0.0]]}
    samples = draw(signature, 200, 0, {"N": 4}, {}, features).samples
    rows = np.concatenate([sample["x"] for sample in samples])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.mean(0), features["x"][0], atol=1.5)
    np.testing.assert_allclose(rows.std(0), features["x"][1], rtol=0.1)
    assert abs(np.concatenate([sample["y"] for sample in samples]).mean()) < 0.2
