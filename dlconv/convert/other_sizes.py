"""Inputs at other sizes of the free dimensions: what shows that a converted file keeps them free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlconv.model import Dim
    from dlconv.runtimes.base import Tensors

_GROWTHS = ((1, 1), (2, 0), (1, 8), (3, 0), (4, 0), (1, 2), (8, 0))
"""Other sizes, as times and plus: one more, twice, eight more, ..."""


def other_sizes(shapes: Mapping[str, tuple[Dim, ...]], fed: Tensors) -> Iterator[Tensors]:
    """For each input of `shapes` an array of what `fed` has, at other sizes where a dimension is a name. No sizes come
    twice.

    The values are the sample's own, shuffled, so that indices stay indices and masks stay masks.
    """
    sample = sizes_of(shapes, fed)
    met: list[dict[str, int]] = []
    for times, plus in _GROWTHS:
        sizes = {name: size * times + plus for name, size in sample.items()}
        if sizes not in met:
            met.append(sizes)
            yield resized(shapes, fed, sizes)


def sizes_of(shapes: Mapping[str, tuple[Dim, ...]], fed: Tensors) -> dict[str, int]:
    """The size in `fed` of each free dimension."""
    return {
        dim: size
        for name, dims in shapes.items()
        for dim, size in zip(dims, fed[name].shape, strict=True)
        if isinstance(dim, str)
    }


def resized(shapes: Mapping[str, tuple[Dim, ...]], fed: Tensors, sizes: Mapping[str, int]) -> Tensors:
    """What `fed` has, shuffled, at these sizes of the free dimensions."""
    rng = np.random.default_rng(0)
    other: Tensors = {}
    for name, dims in shapes.items():
        shape = [sizes[dim] if isinstance(dim, str) else size for dim, size in zip(dims, fed[name].shape, strict=True)]
        other[name] = rng.permutation(np.resize(fed[name], shape).ravel()).reshape(shape)
    return other
