"""Parity: how far a candidate's answers lie from the reference's. Numbers alone; `judging` makes a verdict of them.

The error of an output is max|y - y64| / scale, over all samples, where scale = max|y64| over all samples of that
output alone, and y64 is the source's answer in float64. The model's noise floor is the same figure for its own
float32 answers y32. The bar is `factor` times the floor. An integer or boolean output has to be exact; a quantised
one is judged by what its integers stand for, with a floor and a factor of its own (`quantised`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.validators.answers import Answers
from dlconv.validators.classes import accuracy, agreement
from dlconv.validators.distances import TINY, distance, largest_gap, plain, relative, scale_of, ulp
from dlconv.validators.evidence import Accuracy, Evidence, OutputEvidence, Worst
from dlconv.validators.quantised import Grid
from dlconv.validators.spread import spread_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

HALF_NOISE: Final = 2.0**-14
"""The least noise of an output that float16 had a part in: a quarter of half a step near the scale. Of float32 models
nine in ten have a hundredth of it."""


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
    if kind == "float" and answers.is_half and floor > HALF_NOISE:
        kind = "half"
    problems = _form_problems(y, y32, narrowed or dtype.name)
    best, y32 = [plain(sample[name], grid) for sample in sure], [plain(array, grid) for array in y32]
    if grid:
        floor = max(floor, grid.step(scale_of(best)) / max(scale_of(best), TINY))
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
        return OutputEvidence(**common, scale=scale_of(best), floor=floor, error=math.inf)
    whole = [plain(array, grid) for array in y if array is not None]
    if kind == "exact":
        return OutputEvidence(**common, scale=1.0, floor=floor, **_exact(best, y32, whole))
    return OutputEvidence(**common, scale=scale_of(best), floor=floor, **_float(best, whole), **agreement(best, whole))


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
    error, worst = distance(best, y)
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
        "max_ulp": ulp(best, y) if y[0].dtype == np.float32 else None,
        "spread": spread_of(relative(best, y)),
    }


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
            largest = max(largest, largest_gap(plain(one, grid), plain(two, grid)) / max(output.scale, TINY))
        else:
            largest = max(largest, float(not np.array_equal(one, two)))
    return largest
