"""Other sizes of the free dimensions: whose values are the sample's own."""

from __future__ import annotations

import numpy as np

from dlconv.convert.other_sizes import other_sizes


def test_free_dimensions_grow_and_values_are_the_samples_own() -> None:
    fed = {"x": np.array([[1, 2, 3]]), "mask": np.array([True, False])}
    found = list(other_sizes({"x": ("N", 3), "mask": ("K",)}, fed))
    shapes = [(each["x"].shape, each["mask"].shape) for each in found]
    assert shapes[:2] == [((2, 3), (3,)), ((2, 3), (4,))] and len(set(shapes)) == len(shapes) == 7
    assert all(set(each["x"].ravel()) <= {1, 2, 3} and each["mask"].dtype == bool for each in found)


def test_no_sizes_come_twice() -> None:
    fed = {"x": np.zeros((1, 2), np.float32)}
    assert [each["x"].shape for each in other_sizes({"x": ("N", 2)}, fed)] == [(2, 2), (9, 2), (3, 2), (4, 2), (8, 2)]
    assert [each["x"].shape for each in other_sizes({"x": (1, 2)}, fed)] == [(1, 2)]
