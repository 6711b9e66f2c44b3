"""Where two models part: from the errors of their tensors to the operators that the errors came with. Pure.

A tensor's error is the larger of max|a - b| / max|b| and sum|a - b| / sum|b| over all samples, b the reference's: the
first sees one wrong element among many, the second many among which one is large. Of integers and booleans it is the
share that differs. Its noise is the error in units of what is to be expected there: the reference's own float32 error
at that tensor, and no less than a unit of the precision. An operator's growth is the noise of what it makes over the
noise of what it is given: an operator that passes a large error on has a growth of 1, one that makes an error has more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.validators.evidence import Worst, json_number

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence


UNITS: Final = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-11, "bfloat16": 2.0**-8, "int8": 2.0**-8}
"""The relative step of a precision: of int8, that of 255 steps over a tensor's range."""
FACTOR: Final = 40.0
"""Noise from which on two tensors are said to be parted: the factor that float32 artifacts are judged by."""
STANDS_OUT: Final = 3.0
"""Growth from which on an operator is one to look at: what rounds as it should was seen to have up to 2.5."""
_MASK: Final = 1e30
"""Numbers beyond stand for infinity: the masks of attention. A smaller float stores its largest number for them."""
_HALF: Final = 65504 / 2
_TINY: Final = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Operator:
    """An operator of the reference's graph. inputs: tensors that it reads, weights aside."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name, or, of one without, what it makes."""
        return self.name or f"({self.outputs[0] if self.outputs else 'nothing'})"

    @property
    def node(self) -> str:
        """What keep-lists call it: as `graphs.onnx_keep.names_of`."""
        return self.name or f"{self.kind}:{next(iter(self.outputs), '')}"


@dataclass(frozen=True)
class TensorError:
    """How far the candidate's tensor lies from the reference's, over all samples.

    error: infinite where one is finite and the other is not, or the shapes differ. floor: what is to be expected.
    largest: magnitude of the reference's. dtype: as its file has it. worst: where the error is; None where there is
    none, or no place.
    """

    name: str
    error: float
    floor: float
    largest: float
    dtype: str
    worst: Worst | None = None

    @property
    def noise(self) -> float:
        return self.error / self.floor

    def to_dict(self) -> dict[str, Any]:
        return {
            "tensor": self.name,
            "error": json_number(self.error),
            "floor": json_number(self.floor),
            "noise": json_number(self.noise),
            "largest": json_number(self.largest),
            "dtype": self.dtype,
            "worst": None if self.worst is None else self.worst.to_dict(),
        }


@dataclass(frozen=True)
class Parting:
    """What an operator did to the error. place: the operator's in the reference's order.

    operators: those that lie between the tensors that could be compared, the last of which made `tensor`; one, where
    the candidate shows every tensor. given: the tensors that they are given, the noise of the worst of which is
    noise_in.
    """

    place: int
    operators: tuple[Operator, ...]
    tensor: TensorError
    given: tuple[str, ...]
    noise_in: float

    @property
    def operator(self) -> Operator:
        return self.operators[-1]

    @property
    def growth(self) -> float:
        """Of the noise, from 0. What is given at its floor or below counts as at the floor; an error that was infinite
        before does not grow."""
        before = max(1.0, self.noise_in)
        return min(1.0, self.tensor.noise) if math.isinf(before) else self.tensor.noise / before

    def to_dict(self) -> dict[str, Any]:
        return {
            "operator": self.operator.name,
            "kind": self.operator.kind,
            "place": self.place,
            "growth": json_number(self.growth),
            "noise_in": json_number(self.noise_in),
            "given": list(self.given),
            "with": [operator.label for operator in self.operators[:-1]],
            **self.tensor.to_dict(),
        }


def measured(
    name: str,
    reference: Sequence[np.ndarray[Any, Any]],
    candidate: Sequence[np.ndarray[Any, Any]],
    single: Sequence[np.ndarray[Any, Any]],
    unit: float,
    *,
    saturates_at: float = math.inf,
) -> TensorError:
    """The error of a tensor: an array a sample, of the reference, of the candidate, and of the reference in float32.

    unit: of the precision, the least floor. saturates_at: the largest number of the candidate's precision, where it
    stores that for all that is larger.
    """
    found = _error(reference, candidate, min(_MASK, saturates_at))
    floor = _error(reference, single, _MASK).error
    largest = max((_largest(array, _MASK) for array in reference), default=0.0)
    # A floor that is no number tells nothing: float32 overflows there.
    floor = max(floor, unit) if math.isfinite(floor) else unit
    return TensorError(name, found.error, floor, largest, single[0].dtype.name, found.worst)


def partings(operators: Sequence[Operator], errors: Mapping[str, TensorError]) -> tuple[Parting, ...]:
    """What each operator with a compared tensor did, in the order of the graph."""
    maker = makers(operators)
    found: list[Parting] = []
    for place, operator in enumerate(operators):
        made = [errors[name] for name in operator.outputs if name in errors]
        if not made:
            continue
        between, given = _back(place, operators, maker, errors.keys())
        noise_in = max((errors[name].noise for name in given if name in errors), default=0.0)
        found.append(Parting(place, between, max(made, key=lambda each: each.noise), given, noise_in))
    return tuple(found)


def ranked(found: Sequence[Parting]) -> tuple[Parting, ...]:
    """The most growth first; of equal ones the earlier."""
    return tuple(sorted(found, key=lambda each: (-each.growth, each.place)))


def first(found: Sequence[Parting], factor: float) -> Parting | None:
    """The first, in the order of the graph, whose noise is beyond `factor`."""
    return next((each for each in found if each.tensor.noise > factor), None)


def to_keep(found: Sequence[Parting], factor: float) -> tuple[str, ...]:
    """The nodes whose rounding makes the error: those that stand out and are parted, the most growth first, and what
    lies between where the candidate shows no tensor; after one that overflows, those that read what is too large."""
    kept: dict[str, None] = {}
    for each in ranked(found):
        if each.growth < STANDS_OUT or not each.tensor.noise > factor:
            continue
        kept |= dict.fromkeys(operator.node for operator in reversed(each.operators))
        if math.isinf(each.tensor.error):
            readers = (reader for later in found for reader in later.operators if each.tensor.name in reader.inputs)
            kept |= dict.fromkeys(reader.node for reader in readers)
    return tuple(kept)


def back(
    place: int, operators: Sequence[Operator], compared: Container[str]
) -> tuple[tuple[Operator, ...], tuple[str, ...]]:
    """The operators from the nearest compared tensors to the one at `place`, in order; and those tensors, or the
    model's inputs where the way leads there."""
    return _back(place, operators, makers(operators), compared)


def makers(operators: Sequence[Operator]) -> dict[str, int]:
    """The place of the operator that makes a tensor, by the tensor's name."""
    return {name: place for place, operator in enumerate(operators) for name in operator.outputs}


def _back(
    place: int, operators: Sequence[Operator], maker: Mapping[str, int], compared: Container[str]
) -> tuple[tuple[Operator, ...], tuple[str, ...]]:
    between, given, todo = {place}, dict[str, None](), list(operators[place].inputs)
    seen = set(todo)
    while todo:
        name = todo.pop(0)
        if name in compared or name not in maker:
            given[name] = None
            continue
        between.add(maker[name])
        more = [each for each in operators[maker[name]].inputs if each not in seen]
        seen |= set(more)
        todo += more
    return tuple(operators[each] for each in sorted(between)), tuple(given)


def _largest(array: np.ndarray[Any, Any], below: float) -> float:
    """The largest magnitude that is less than `below`; of what is no float, 1."""
    if array.dtype.kind != "f":
        return float(array.size > 0)
    sizes = np.abs(array)
    largest = float(sizes.max(initial=0.0))
    return largest if largest < below else float(sizes[sizes < below].max(initial=0.0))


@dataclass(frozen=True)
class _Found:
    error: float
    worst: Worst | None


def _error(reference: Sequence[np.ndarray[Any, Any]], candidate: Sequence[np.ndarray[Any, Any]], mask: float) -> _Found:
    scale = max((_largest(array, mask) for array in reference), default=0.0)
    largest = total = size = 0.0
    worst: Worst | None = None
    for sample, (sure, got) in enumerate(zip(reference, candidate, strict=True)):
        if sure.shape != got.shape or (sure.dtype.kind == "f") != (got.dtype.kind == "f"):
            return _Found(math.inf, Worst(sample, (), math.nan, math.nan))
        if not sure.size:
            continue
        gap, sizes = _gaps(sure, got, mask)
        total, size = total + float(gap.sum()), size + float(sizes.sum())
        place = tuple(int(axis) for axis in np.unravel_index(int(np.argmax(gap)), gap.shape))
        if gap[place] > largest:
            largest, worst = float(gap[place]), Worst(sample, place, float(sure[place]), float(got[place]))
    if reference[0].dtype.kind != "f":
        return _Found(total / max(size, 1.0), worst)
    return _Found(max(largest / max(scale, _TINY), total / max(size, _TINY)), worst)


def _gaps(
    sure: np.ndarray[Any, Any], got: np.ndarray[Any, Any], mask: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """How far each element is off, infinite where one alone is finite; and the magnitudes that this is held against."""
    if sure.dtype.kind != "f":
        return np.asarray(sure != got, np.float64), np.ones(sure.shape)
    a, b = sure.astype(np.float64, copy=False), got.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore"):
        gap, sizes = np.abs(a - b), np.abs(a)
    if math.isfinite(float(gap.max())) and float(sizes.max()) < mask:
        return gap, sizes
    masks = (sizes >= mask) & (np.abs(b) >= _HALF) & np.isfinite(b) & (np.sign(a) == np.sign(b))
    same = (a == b) | (np.isnan(a) & np.isnan(b)) | masks
    return np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf)), np.where(sizes < mask, sizes, 0.0)
