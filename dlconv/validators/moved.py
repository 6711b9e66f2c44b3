"""The noise of a source that has no float64: how far its answers move where its inputs do by the least there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.validators.parity import noise_floors
from dlconv.validators.quantised import Grid, clipped, grids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dlconv.model import Signature
    from dlconv.samples import Sample

Array = np.ndarray[Any, Any]

_MOVES: Final = 4
"""So often quantised inputs are moved: how far a step carries depends on which elements take it."""


def floors_of_moved(
    signature: Signature,
    samples: Sequence[Sample],
    answers: Sequence[Sample],
    run: Callable[[list[Sample]], Sequence[Sample]],
) -> dict[str, float]:
    """The noise floor of each float or quantised output: the largest distance between the source's `answers` and those
    that `run` gives to the samples moved, by their floats' last bit or by a step of the model's quantisation."""
    taken, given = grids_of(signature.inputs), grids_of(signature.outputs)
    others: list[Sequence[Sample]] = []
    for move in range(_MOVES if taken or given else 1):
        others.append(run([moved(sample, taken, move * len(samples) + index) for index, sample in enumerate(samples)]))
    return noise_floors(answers, others, given)


def moved(sample: Sample, grids: Mapping[str, Grid], seed: int) -> Sample:
    """The sample with a part of its elements moved by one step, up or down; other floats by their last bit."""
    random = np.random.default_rng(seed)
    return {name: _moved(np.asarray(array), grids.get(name), random) for name, array in sample.items()}


def _moved(array: Array, grid: Grid | None, random: np.random.Generator) -> Array:
    kind = array.dtype.kind
    if grid is None:
        if kind != "f":
            return array
        down = random.random(array.shape) < 0.5
        nearest: Array = np.nextafter(array, np.where(down, -np.inf, np.inf).astype(array.dtype))
        return nearest
    way: Array = np.asarray(random.integers(-1, 2, size=array.shape))
    if kind == "f":
        step = grid.step(float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array))))
        stepped: Array = array + way * step
        return stepped.astype(array.dtype)
    return clipped(array, way)
