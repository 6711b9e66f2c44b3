"""The noise of a source that has no float64, or computes in float16: how its answers move where its inputs do by the
least there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.model import BFLOAT16
from dlconv.validators.answers import noise_floors
from dlconv.validators.quantised import Grid, clipped, grids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    others = [run(moved_samples(samples, signature, move)) for move in range(_MOVES if taken or given else 1)]
    return noise_floors(answers, others, given)


def answers_of_moved(
    signature: Signature, samples: Sequence[Sample], run: Callable[[list[Sample]], Sequence[Sample]]
) -> tuple[tuple[Sample, ...], ...]:
    """What `run` answers to the samples moved by their floats' last bit, several times over: as right as its answers to
    the samples as they are, and in float16 other numbers, of which one set alone may be near by chance."""
    found = [tuple(run(moved_samples(samples, signature, move))) for move in range(_MOVES - 1)]
    return tuple(answers for answers in found if all(answers))


def moved_samples(samples: Sequence[Sample], signature: Signature, move: int) -> list[Sample]:
    """The samples with their floats moved by the last bit, up or down, and of what the model quantises a part of the
    elements by one step. move: which of many ways."""
    specs = {spec.name: spec for spec in signature.inputs}
    grids = grids_of(signature.inputs)
    found = []
    for index, sample in enumerate(samples):
        random = np.random.default_rng(move * len(samples) + index)
        found.append(
            {
                name: _moved(np.asarray(array), grids.get(name), random, specs[name].dtype)
                for name, array in sample.items()
            }
        )
    return found


def _moved(array: Array, grid: Grid | None, random: np.random.Generator, dtype: str) -> Array:
    kind = array.dtype.kind
    if grid is None:
        if kind != "f":
            return array
        down: Array = np.asarray(random.random(array.shape) < 0.5)
        if dtype == BFLOAT16:
            return _next_bfloat16(array, down)
        nearest: Array = np.nextafter(array, np.where(down, -np.inf, np.inf).astype(array.dtype))
        return nearest
    way: Array = np.asarray(random.integers(-1, 2, size=array.shape))
    if kind == "f":
        step = grid.step(float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array))))
        stepped: Array = array + way * step
        return stepped.astype(array.dtype)
    return clipped(array, way)


def _next_bfloat16(array: Array, down: Array) -> Array:
    """The neighbours among what bfloat16 has, of float32 that it has: nearer to zero, or farther from it."""
    bits = np.asarray(array, dtype=np.float32, order="C").view(np.uint32)
    nearer = down & ((bits & 0x7FFFFFFF) > 0)
    stepped: Array = np.where(nearer, bits - 0x10000, bits + 0x10000).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(array), stepped, array)
