"""Samples drawn from a seed, where the user gives none: such numbers as the model can be expected to take."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import SignatureError
from dlconv.model import BFLOAT16
from dlconv.samples import SampleSet, to_bfloat16

if TYPE_CHECKING:
    from dlconv.model import Signature, TensorSpec

Features = Mapping[str, Sequence[Sequence[float]]]
"""By input, the middle and the width of each column of a table: two lists as long as its last axis."""

_LENGTH = re.compile(r"(?<![a-z])len(s|gths?)?(?![a-z])")
_INTEGER_RANGE = (0, 8)
"""Drawn integers lie in this half-open range where nobody knows a better one: small enough for most tables."""


def draw(
    signature: Signature,
    count: int,
    seed: int,
    sizes: Mapping[str, int],
    bounds: Mapping[str, tuple[int, int]],
    features: Features | None = None,
) -> SampleSet:
    """`count` samples from a seed: floats from the standard normal distribution, integers (and floats that have bounds)
    uniform in `bounds` (inclusive, an input's name each), booleans even; masks (integers or booleans so named) are
    ones with a ragged end, lengths (integers so named, one a row) from half of the other inputs' length to all of it.

    sizes gives each free dimension's size, features the middle and the width of the columns of tables.
    SignatureError where a dtype cannot be drawn.
    """
    random = np.random.default_rng(seed)
    bounds = {**_lengths(signature, sizes), **bounds}
    samples = tuple(
        {spec.name: _placed(_draw_one(spec, random, sizes, bounds), spec, features) for spec in signature.inputs}
        for _ in range(count)
    )
    return SampleSet(samples, "drawn", seed)


def _placed(drawn: np.ndarray[Any, Any], spec: TensorSpec, features: Features | None) -> np.ndarray[Any, Any]:
    if not features or spec.name not in features:
        return drawn
    middle, width = features[spec.name]
    placed: np.ndarray[Any, Any] = (np.asarray(middle) + np.asarray(width) * drawn).astype(drawn.dtype)
    return placed


def _lengths(signature: Signature, sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The least and the most of inputs that say how long the rows of others are: none is empty, none longer than it is.

    How long those are is the least of their free dimensions but for the batch, or of their second ones.
    """
    rows = [spec.shape for spec in signature.inputs if spec.shape is not None and len(spec.shape) > 1]
    free = [sizes[dim] for shape in rows for dim in shape[1:] if isinstance(dim, str)]
    known = [shape[1] for shape in rows if isinstance(shape[1], int)]
    whole = min(free or known, default=0)
    named = (spec for spec in signature.inputs if _LENGTH.search(spec.name.lower()) and len(spec.shape or ()) <= 1)
    ends = (max(1, whole // 2), whole)
    return {spec.name: ends for spec in named if whole and spec.dtype.startswith(("int", "uint"))}


def _draw_one(
    spec: TensorSpec, random: np.random.Generator, sizes: Mapping[str, int], bounds: Mapping[str, tuple[int, int]]
) -> np.ndarray[Any, Any]:
    if spec.shape is None:
        raise SignatureError(
            f"the rank of the input '{spec.name}' is unknown", mend=f"give it: --input {spec.name}:SHAPE"
        )
    shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.shape)
    try:
        dtype = spec.array_dtype
    except TypeError as error:
        raise SignatureError(
            f"the input '{spec.name}' is of dtype {spec.dtype}: nothing can be drawn for it", mend="give --samples FILE"
        ) from error
    if "mask" in spec.name.lower() and dtype.kind in "iub" and shape:
        ends = random.integers(max(1, shape[-1] // 2), shape[-1] + 1, size=(*shape[:-1], 1))
        return (np.arange(shape[-1]) < ends).astype(dtype)
    if dtype.kind == "f" and spec.name in bounds:  # rows of a table: Keras takes such numbers as floats
        return random.integers(*bounds[spec.name], size=shape, endpoint=True).astype(dtype)
    if dtype.kind == "f":
        drawn = random.standard_normal(shape).astype(dtype)
        return to_bfloat16(drawn) if spec.dtype == BFLOAT16 else drawn
    if dtype.kind == "b":
        return random.integers(0, 2, size=shape).astype(dtype)
    if dtype.kind in "iu":
        low, high = bounds.get(spec.name, (_INTEGER_RANGE[0], _INTEGER_RANGE[1] - 1))
        limits = np.iinfo(dtype)
        return random.integers(max(low, limits.min), min(high, limits.max), size=shape, endpoint=True).astype(dtype)
    raise SignatureError(
        f"the input '{spec.name}' is of dtype {spec.dtype}: nothing can be drawn for it", mend="give --samples FILE"
    )
