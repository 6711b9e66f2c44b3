"""Parity: how far a candidate's answers lie from the reference's, and whether that is too far.

`measure` makes evidence, numbers alone; `judge` makes a verdict of it, and of nothing else.

The error of an output is max|y - y64| / scale, over all samples, where scale = max|y64| over all samples of that
output alone, and y64 is the source's answer in float64. The model's noise floor is the same figure for its own
float32 answers y32. The bar is `factor` times the floor. An integer or boolean output has to be exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.validators.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.samples import Sample

RESOLUTION: Final = 2.0**-23
"""The floor is never taken as less than float32's machine epsilon: an exact y32 does not ask for an exact y."""

FACTORS: Final[Mapping[str, float]] = {"onnxruntime": 40.0, "openvino": 40.0, "tflite": 80.0}
"""Bar in units of the noise floor, by runtime. Right float32 artifacts of 85 vision architectures lie at up to 4.2
floors in ONNX Runtime, 3.9 in OpenVINO, and 27 in TFLite, whose XNNPACK kernels sum in another order."""

WIDEST_BAR: Final = 1e-2
"""A bar wider than this judges nothing: the model's own float32 answers are too far from its float64 ones."""

_TINY: Final = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Worst:
    """The element with the largest error: its sample, its index, and both values."""

    sample: int
    index: tuple[int, ...]
    reference: float
    candidate: float


@dataclass(frozen=True)
class OutputEvidence:
    """What was measured of one output. Errors are relative to scale; sqnr_db is NaN-free: None where undefined.

    kind is "float" or "exact". mismatches counts unequal elements of an exact output, undetermined those of them
    where the reference's own float32 and float64 answers differ. varies: the reference's answers are not the same
    for all samples. problems are faults of form (name, shape, dtype, NaN), a line each.
    """

    name: str
    dtype: str
    kind: str
    elements: int
    scale: float
    floor: float
    error: float
    rms_error: float | None = None
    sqnr_db: float | None = None
    cosine: float | None = None
    mismatches: int = 0
    undetermined: int = 0
    varies: bool = True
    worst: Worst | None = None
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        data = {key: _json_number(value) for key, value in vars(self).items()}
        data["problems"] = list(self.problems)
        data["worst"] = None
        if self.worst is not None:
            data["worst"] = {
                "sample": self.worst.sample,
                "index": list(self.worst.index),
                "reference": _json_number(self.worst.reference),
                "candidate": _json_number(self.worst.candidate),
            }
        return data


@dataclass(frozen=True)
class Evidence:
    """All that was measured of a candidate: its outputs, and the problems of the set as a whole.

    controls maps the name of each planted fault to whether the judge found it.
    """

    outputs: tuple[OutputEvidence, ...]
    samples: int
    factor: float
    problems: tuple[str, ...] = ()
    controls: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """The reference's answers, a tensor set a sample. y64 is None where the source cannot run in float64."""

    y32: tuple[Sample, ...]
    y64: tuple[Sample, ...] | None

    def at(self, indices: Sequence[int]) -> Answers:
        """The answers to some of the samples."""
        return Answers(
            tuple(self.y32[index] for index in indices),
            None if self.y64 is None else tuple(self.y64[index] for index in indices),
        )

    @property
    def best(self) -> tuple[Sample, ...]:
        return self.y32 if self.y64 is None else self.y64


def bar_of(output: OutputEvidence, factor: float) -> float:
    """The largest error that passes."""
    return factor * max(output.floor, RESOLUTION) if output.kind == "float" else 0.0


def measure(
    answers: Answers,
    candidate: Sequence[Sample],
    factor: float,
    floors: Mapping[str, float],
    narrowed: Mapping[str, str] | None = None,
    problems: tuple[str, ...] = (),
) -> Evidence:
    """Compare the candidate's outputs, in the source's names and axes, with the reference's.

    floors: the noise floor of each float output (`noise_floors`).
    narrowed: the dtype that the artifact's signature states for an integer output, where it is not the source's.
    problems: faults that were met before anything could be compared: a sample whose run raised.
    """
    found = list(problems)
    if len(candidate) != len(answers.y32):
        found.append(f"{len(candidate)} of {len(answers.y32)} samples were answered")
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
    return Evidence(measured, len(answers.y32), factor, tuple(found))


def noise_floors(reference: Sequence[Sample], others: Sequence[Sequence[Sample]]) -> dict[str, float]:
    """The distance between answers of equal right, per float output: the largest over `others`."""
    return {
        name: max(
            _distance([np.asarray(s[name]) for s in reference], [np.asarray(s[name]) for s in other])[0]
            for other in others
        )
        for name, array in reference[0].items()
        if np.asarray(array).dtype.kind == "f"
    }


def judge(evidence: Evidence) -> Verdict:
    """PASS only if something was judged, on samples that could have shown a fault, and nothing was found."""
    failures = list(evidence.problems)
    doubts: list[str] = []
    if not evidence.outputs or evidence.samples < 1:
        return Verdict("INCONCLUSIVE", ("nothing was judged: there are no outputs or no samples",))
    for output in evidence.outputs:
        failures += [f"{output.name}: {problem}" for problem in output.problems]
        if output.kind == "float":
            _judge_float(output, evidence.factor, failures, doubts)
        else:
            _judge_exact(output, failures, doubts)
        if not output.varies and evidence.samples > 1:
            doubts.append(
                f"{output.name}: the source answers the same for every sample, which would hide most faults; "
                "give --samples that exercise it"
            )
    missed = [name for name, found in evidence.controls.items() if not found]
    if missed:
        doubts.append(f"these samples could not show a planted fault: {', '.join(missed)}")
    if failures:
        return Verdict("FAIL", tuple(failures))
    if doubts:
        return Verdict("INCONCLUSIVE", tuple(doubts))
    return Verdict("PASS")


def _judge_float(output: OutputEvidence, factor: float, failures: list[str], doubts: list[str]) -> None:
    bar = bar_of(output, factor)
    if not (bar <= WIDEST_BAR):
        doubts.append(
            f"{output.name}: the model's own float32 noise is {output.floor:.1e} of the output's scale; "
            f"a bar of {bar:.1e} would judge nothing"
        )
        return
    if not (output.error <= bar) and not output.problems:
        worst = ""
        if output.worst is not None:
            at = ", ".join(map(str, output.worst.index))
            worst = (
                f"; worst at [{at}] of sample {output.worst.sample}: "
                f"{output.worst.candidate:.7g} for {output.worst.reference:.7g}"
            )
        failures.append(
            f"{output.name}: error {output.error:.2e} of the scale, bar {bar:.2e} "
            f"(a factor of {output.error / max(output.floor, RESOLUTION):.3g} would have been needed){worst}"
        )


def _judge_exact(output: OutputEvidence, failures: list[str], doubts: list[str]) -> None:
    certain = output.mismatches - output.undetermined
    if certain > 0:
        failures.append(f"{output.name}: {certain} of {output.elements} elements differ; they have to be exact")
    elif output.undetermined:
        doubts.append(
            f"{output.name}: {output.undetermined} elements differ where the source's float32 and float64 "
            "answers differ too"
        )


def _measure_one(
    name: str, answers: Answers, candidate: Sequence[Sample], floor: float, narrowed: str | None
) -> OutputEvidence:
    best = [np.asarray(sample[name]) for sample in answers.best]
    y32 = [np.asarray(sample[name]) for sample in answers.y32]
    y = [np.asarray(sample[name]) if name in sample else None for sample in candidate]
    y += [None] * (len(best) - len(y))
    dtype = y32[0].dtype
    kind = "float" if dtype.kind in "fc" or dtype.name == "bfloat16" else "exact"
    problems = _form_problems(y, y32, narrowed or dtype.name)
    common: dict[str, Any] = {
        "name": name,
        "dtype": dtype.name,
        "kind": kind,
        "elements": sum(array.size for array in best),
        "varies": _varies(best),
        "problems": tuple(problems),
    }
    if problems:
        return OutputEvidence(**common, scale=_scale(best), floor=floor, error=math.inf)
    whole = [array for array in y if array is not None]
    if kind == "exact":
        return OutputEvidence(**common, scale=1.0, floor=0.0, **_exact(best, y32, whole))
    return OutputEvidence(**common, scale=_scale(best), floor=floor, **_float(best, whole))


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
    }


def _distance(best: Sequence[np.ndarray[Any, Any]], y: Sequence[np.ndarray[Any, Any]]) -> tuple[float, Worst | None]:
    """Largest error relative to the scale, and where. Non-finite elements have to be the same: else infinity."""
    scale = _scale(best)
    largest = 0.0
    worst: Worst | None = None
    for sample, (sure, got) in enumerate(zip(best, y, strict=True)):
        if sure.size == 0:
            continue
        a, b = sure.astype(np.float64), got.astype(np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.abs(a - b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        gap = np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))
        index = np.unravel_index(int(np.argmax(gap)), gap.shape)
        error = float(gap[index]) / max(scale, _TINY)
        if worst is None or error > largest:
            largest = max(largest, error)
            worst = Worst(sample, tuple(int(axis) for axis in index), float(a[index]), float(b[index]))
    return largest, worst


def _json_number(value: Any) -> Any:
    # JSON has no NaN or infinity: their names stand for them.
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
