"""Parity: how far a candidate's answers lie from the reference's. Numbers alone; `judging` makes a verdict of them.

The error of an output is max|y - y64| / scale, over all samples, where scale = max|y64| over all samples of that
output alone, and y64 is the source's answer in float64. The model's noise floor is the same figure for its own
float32 answers y32. The bar is `factor` times the floor. An integer or boolean output has to be exact; a quantised
one is judged by what its integers stand for, with a floor and a factor of its own (`quantised`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.validators.classes import accuracy, agreement
from dlconv.validators.evidence import Accuracy, Evidence, OutputEvidence, Worst
from dlconv.validators.quantised import Grid
from dlconv.validators.spread import spread_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dlconv.samples import Sample

FACTORS: Final[Mapping[str, float]] = {
    "onnxruntime": 40.0,
    "openvino": 40.0,
    "tflite": 80.0,
    "torch": 40.0,
    "tensorflow": 80.0,
    "jax": 80.0,
    "tensorrt": 80.0,
}
"""Bar in units of the noise floor, by runtime: six times the largest distance that a right float32 artifact has shown
in ONNX Runtime and in OpenVINO (6.0 floors in both, over 194 artifacts), to the nearest ten. TFLite sums
in another order: three times the 27 floors of an earlier measurement; TensorRT, of which nothing was measured, has the
same. See "The rule" in docs/parity.md."""

_TINY: Final = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Answers:
    """The reference's answers, a tensor set a sample. y64 is None where the source cannot run in float64. grids: of
    the quantised outputs."""

    y32: tuple[Sample, ...]
    y64: tuple[Sample, ...] | None
    grids: Mapping[str, Grid] = field(default_factory=dict)

    def at(self, indices: Sequence[int]) -> Answers:
        """The answers to some of the samples."""
        return Answers(
            tuple(self.y32[index] for index in indices),
            None if self.y64 is None else tuple(self.y64[index] for index in indices),
            self.grids,
        )

    @property
    def best(self) -> tuple[Sample, ...]:
        return self.y32 if self.y64 is None else self.y64


def measure(
    answers: Answers,
    candidate: Sequence[Sample],
    factor: float,
    floors: Mapping[str, float],
    narrowed: Mapping[str, str] | None = None,
    problems: tuple[str, ...] = (),
    again: Sequence[Sample] = (),
    labels: Mapping[str, np.ndarray[Any, Any]] | None = None,
    doubts: tuple[str, ...] = (),
) -> Evidence:
    """Compare the candidate's outputs, in the source's names and axes, with the reference's.

    floors: the noise floor of each float output (`noise_floors`); below fp32 the precision's noise of each output, of
    an exact one the share of elements.
    narrowed: the dtype that the artifact's signature states for an integer output, where it is not the source's.
    problems: faults that were met before anything could be compared: a sample whose run raised.
    again: the candidate's answers to the same samples in another run; none where it was run once.
    labels: right classes by output, one a row of its scores; SamplesError where their number is another.
    """
    found = list(problems)
    if len(candidate) != len(answers.y32):
        found.append(f"{len(candidate)} of {len(answers.y32)} samples were answered")
        candidate, again = candidate[: len(answers.y32)], again[: len(answers.y32)]
    names = list(answers.y32[0]) if answers.y32 else []
    for index, outputs in enumerate(candidate):
        missing = [name for name in names if name not in outputs]
        extra = [name for name in outputs if name not in names]
        if missing or extra:
            told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)} besides"] * bool(extra)
            found.append(f"sample {index}: the candidate {' and '.join(told)}")
            break
    measured = tuple(
        _measure_one(name, answers, candidate, floors.get(name, 0.0), (narrowed or {}).get(name)) for name in names
    )
    unsure = [
        f"{name}: the source's own answers in float32 and in float64 differ in shape; give --samples that settle it"
        for name in names
        if answers.y64 is not None and not _is_of_one_form(name, answers)
    ]
    measured = tuple(
        replace(
            output,
            repeat=_repeat(output, candidate, again, answers.grids.get(output.name)),
            accuracy=_scored(output, answers, candidate, labels),
        )
        for output in measured
    )
    return Evidence(measured, len(answers.y32), factor, tuple(found), doubts=(*doubts, *unsure))


def noise_floors(
    reference: Sequence[Sample], others: Sequence[Sequence[Sample]], grids: Mapping[str, Grid] | None = None
) -> dict[str, float]:
    """The distance between answers of equal right, per float or quantised output: the largest over `others`."""
    known = grids or {}

    def distance(name: str, other: Sequence[Sample]) -> float:
        grid = known.get(name)
        return _distance([_plain(s[name], grid) for s in reference], [_plain(s[name], grid) for s in other])[0]

    return {
        name: max(distance(name, other) for other in others)
        for name, array in reference[0].items()
        if _plain(array, known.get(name)).dtype.kind == "f"
    }


def _plain(array: Any, grid: Grid | None = None) -> np.ndarray[Any, Any]:
    """Numbers that NumPy can compare one by one: a complex one as two, a bfloat16 as the float32 that it is, a
    quantised one as what it stands for."""
    if grid is not None:
        return grid.real(array)
    known = np.asarray(array)
    if known.dtype.kind == "c":
        return np.stack([np.real(known), np.imag(known)], axis=-1)
    return known.astype(np.float32) if known.dtype.name == "bfloat16" else known


def _is_of_one_form(name: str, answers: Answers) -> bool:
    """Whether the source's answers in both precisions have the same shapes: what counts things can differ in them."""
    pairs = zip(answers.best, answers.y32, strict=True)
    return all(np.shape(sure[name]) == np.shape(single[name]) for sure, single in pairs)


def _measure_one(
    name: str, answers: Answers, candidate: Sequence[Sample], floor: float, narrowed: str | None
) -> OutputEvidence:
    sure = answers.best if _is_of_one_form(name, answers) else answers.y32
    y32 = [np.asarray(sample[name]) for sample in answers.y32]
    y = [np.asarray(sample[name]) if name in sample else None for sample in candidate]
    y += [None] * (len(y32) - len(y))
    dtype = y32[0].dtype
    grid = answers.grids.get(name)
    kind = "quantised" if grid else "float" if dtype.kind in "fc" or dtype.name == "bfloat16" else "exact"
    problems = _form_problems(y, y32, narrowed or dtype.name)
    best, y32 = [_plain(sample[name], grid) for sample in sure], [_plain(array, grid) for array in y32]
    if grid:
        floor = max(floor, grid.step(_scale(best)) / max(_scale(best), _TINY))
    common: dict[str, Any] = {
        "name": name,
        "dtype": dtype.name,
        "kind": kind,
        "elements": sum(array.size for array in best),
        "varies": _varies(best),
        "nans": sum(int(np.count_nonzero(np.isnan(array))) for array in best) if kind != "exact" else 0,
        "problems": tuple(problems),
    }
    if problems:
        return OutputEvidence(**common, scale=_scale(best), floor=floor, error=math.inf)
    whole = [_plain(array, grid) for array in y if array is not None]
    if kind == "exact":
        return OutputEvidence(**common, scale=1.0, floor=floor, **_exact(best, y32, whole))
    return OutputEvidence(**common, scale=_scale(best), floor=floor, **_float(best, whole), **agreement(best, whole))


def _form_problems(
    y: Sequence[np.ndarray[Any, Any] | None], y32: Sequence[np.ndarray[Any, Any]], dtype: str
) -> list[str]:
    for index, (got, wanted) in enumerate(zip(y, y32, strict=True)):
        if got is None:
            return [f"no answer for sample {index}"]
        if got.dtype.name != dtype:
            return [f"dtype {got.dtype.name}, wanted {dtype}"]
        if got.shape != wanted.shape:
            return [f"shape {list(got.shape)} for sample {index}, wanted {list(wanted.shape)}"]
    return []


def _scale(arrays: Sequence[np.ndarray[Any, Any]]) -> float:
    finite = [np.abs(array[np.isfinite(array)].astype(np.float64)) for array in arrays if array.dtype.kind in "f"]
    return max((float(part.max()) for part in finite if part.size), default=0.0)


def _varies(arrays: Sequence[np.ndarray[Any, Any]]) -> bool:
    first = arrays[0]
    return any(
        array.shape != first.shape or not np.array_equal(array, first, equal_nan=array.dtype.kind == "f")
        for array in arrays[1:]
    )


def _exact(
    best: Sequence[np.ndarray[Any, Any]], y32: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]
) -> dict[str, Any]:
    mismatches = undetermined = 0
    worst: Worst | None = None
    for sample, (sure, single, got) in enumerate(zip(best, y32, y, strict=True)):
        wrong = got != sure
        mismatches += int(np.count_nonzero(wrong))
        undetermined += int(np.count_nonzero(wrong & (single != sure)))
        if worst is None and wrong.any():
            index = tuple(int(axis) for axis in np.argwhere(wrong)[0])
            worst = Worst(sample, index, float(sure[index]), float(got[index]))
    return {"error": float(mismatches > 0), "mismatches": mismatches, "undetermined": undetermined, "worst": worst}


def _float(best: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]) -> dict[str, Any]:
    error, worst = _distance(best, y)
    a = np.concatenate([array.astype(np.float64).ravel() for array in best])
    b = np.concatenate([array.astype(np.float64).ravel() for array in y])
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    signal, noise = float(a @ a), float((a - b) @ (a - b))
    size = math.sqrt(signal) * math.sqrt(float(b @ b))
    return {
        "error": error,
        "worst": worst,
        "rms_error": math.sqrt(noise / signal) if signal > 0 else None,
        "sqnr_db": 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None,
        "cosine": float(a @ b) / size if size > 0 else None,
        "max_ulp": _ulp(best, y) if y[0].dtype == np.float32 else None,
        "spread": spread_of(_relative(best, y)),
    }


def _ulp(best: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]) -> float:
    """Largest number of float32s between the two, infinity where only one is finite."""
    largest = 0.0
    for sure, got in zip(best, y, strict=True):
        with np.errstate(over="ignore"):
            single = sure.astype(np.float32)
        same = (single == got) | (np.isnan(single) & np.isnan(got))
        gap = np.abs(_ordinal(single) - _ordinal(got)).astype(np.float64)
        gap = np.where(same, 0.0, np.where(np.isfinite(single) & np.isfinite(got), gap, np.inf))
        largest = max(largest, float(gap.max(initial=0.0)))
    return largest


def _ordinal(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float32s as integers in the same order, one apart where they are neighbours; both zeros are 0."""
    bits = np.asarray(array, order="C").view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _scored(
    output: OutputEvidence,
    answers: Answers,
    candidate: Sequence[Sample],
    labels: Mapping[str, np.ndarray[Any, Any]] | None,
) -> Accuracy | None:
    if labels is None or output.name not in labels or output.problems:
        return None
    reference = [sample[output.name] for sample in answers.best]
    return accuracy(labels[output.name], reference, [sample[output.name] for sample in candidate], output.name)


def _repeat(
    output: OutputEvidence, candidate: Sequence[Sample], again: Sequence[Sample], grid: Grid | None
) -> float | None:
    """The distance between two runs relative to the output's scale; infinity where their forms differ."""
    if not again or output.problems:
        return None
    largest = 0.0
    for sample, other in zip(candidate, again, strict=True):
        one, two = np.asarray(sample[output.name]), other.get(output.name)
        if two is None or one.shape != two.shape or one.dtype != two.dtype:
            return math.inf
        if output.kind != "exact":
            largest = max(largest, _gap(_plain(one, grid), _plain(two, grid)) / max(output.scale, _TINY))
        else:
            largest = max(largest, float(not np.array_equal(one, two)))
    return largest


def _distance(best: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]) -> tuple[float, Worst | None]:
    """Largest error relative to the scale, and where. Non-finite elements have to be the same: else infinity."""
    scale = _scale(best)
    largest = 0.0
    worst: Worst | None = None
    for sample, (sure, got) in enumerate(zip(best, y, strict=True)):
        if sure.shape != got.shape:
            return math.inf, None
        if sure.size == 0:
            continue
        a, b = sure.astype(np.float64), got.astype(np.float64)
        gap = _gaps(a, b)
        index = np.unravel_index(int(np.argmax(gap)), gap.shape)
        error = float(gap[index]) / max(scale, _TINY)
        if worst is None or error > largest:
            largest = max(largest, error)
            worst = Worst(sample, tuple(int(axis) for axis in index), float(a[index]), float(b[index]))
    return largest, worst


def _relative(
    best: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]
) -> Iterator[np.ndarray[Any, Any]]:
    """The errors of each sample's elements, relative to the output's scale."""
    scale = max(_scale(best), _TINY)
    for sure, got in zip(best, y, strict=True):
        yield _gaps(sure.astype(np.float64), got.astype(np.float64)) / scale


def _gaps(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """|a - b|, zero where both are the same non-finite value, infinity where only one is finite."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))


def _gap(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> float:
    return float(_gaps(one.astype(np.float64), two.astype(np.float64)).max(initial=0.0))
