"""The noise of a precision: how far an ideal implementation of the model at it lies from the reference.

The model's ONNX form is run with every tensor rounded through the precision (`dlconv.runtimes.onnx_rounded`). A bar
for a lower precision is a factor of this noise, as that for float32 is one of the noise floor.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.candidate import takes
from dlconv.errors import StepError, cause_of
from dlconv.samples import save_npz, to_arrays
from dlconv.validators.evidence import json_number
from dlconv.validators.pairing import to_artifact, to_source
from dlconv.validators.parity import measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.metrics.scoring import Task
    from dlconv.model import Signature
    from dlconv.reference.source import Reference
    from dlconv.samples import Sample
    from dlconv.validators.evidence import TaskEvidence
    from dlconv.workers.crew import Crew

PRECISIONS: Final = ("float16", "bfloat16", "int8")
"""Those that are emulated."""


GRIDS: Final = (1.0, 1.05, 1.1, 1.25)
"""Widths of int8's ranges, in units of those of the samples. At one width the largest error is chance: on a small CNN
these four are off by 2.7e-3 to 6.4e-3 of the scale. No calibration's ranges are those of the samples alone."""

Ranges = dict[str, tuple[float, float]]
"""As `runtimes.onnx_rounded_int8` has them."""

_HALF_STEP: Final = 0.5 / 255


@dataclass(frozen=True)
class OutputNoise:
    """The noise of one output, over all samples.

    error: max|y - y64| / max|y64|, infinite where an overflow reached the output; rms_error: the same of the root mean
    squares, None where it is undefined. mismatches: of an integer or boolean output, elements that are not the
    reference's, of `elements`; its error is then 1, else 0.
    """

    name: str
    error: float
    rms_error: float | None
    mismatches: int = 0
    elements: int = 0

    @property
    def floor(self) -> float:
        """What a bar is a factor of: the error, or of an output that is exact the share of mismatches."""
        return self.mismatches / max(self.elements, 1) if self.mismatches else self.error

    def to_dict(self) -> dict[str, Any]:
        return {key: json_number(value) for key, value in vars(self).items()}


@dataclass(frozen=True)
class PrecisionNoise:
    """The noise of every output at a precision. samples: over how many. losses: what overflowed and underflowed in the
    model, as `RoundedSession.placement` tells it, bounded in size. task: of a task metric, where one is asked for."""

    precision: str
    outputs: tuple[OutputNoise, ...]
    samples: int
    losses: Mapping[str, Any]
    seconds: float
    task: TaskEvidence | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "samples": self.samples,
            "outputs": [output.to_dict() for output in self.outputs],
            "losses": _plain(self.losses),
            "seconds": round(self.seconds, 3),
            **({} if self.task is None else {"task": self.task.to_dict()}),
        }

    def with_outputs_in(self, dtype: str) -> PrecisionNoise:
        """The same with outputs in 8 bits, where the dtype has no more: half a step of theirs is added, 1/255 of the
        range, which is the scale at the least."""
        if dtype not in ("int8", "uint8"):
            return self
        return replace(
            self,
            outputs=tuple(
                replace(each, error=each.error + _HALF_STEP) if each.rms_error is not None else each
                for each in self.outputs
            ),
        )

    def of(self, name: str) -> OutputNoise:
        """The noise of an output. KeyError for another name."""
        return {output.name: output for output in self.outputs}[name]


def emulate(
    path: Path,
    signature: Signature,
    reference: Reference,
    precision: str,
    crew: Crew,
    *,
    sequence: bool = False,
    keep: Sequence[str] = (),
    stored: bool = False,
    ranges: Ranges | None = None,
    task: Task | None = None,
) -> PrecisionNoise:
    """The noise at `precision` of the ONNX model at `path` on the reference's samples.

    signature: the model's, its tensors paired with the source's. sequence: the samples are the steps of one sequence.
    keep: names of nodes that stay in float32. stored: what is stored alone is in the precision. ranges: of int8, as
    `ranges_of` finds them; without, those of the reference's samples. task: a metric to measure of its answers.
    Raises StepError where the model takes none of the samples' sizes, and where it cannot be run in the emulation: the
    noise is then unknown, and nothing can be judged by it.
    """
    samples = reference.samples.samples
    taken = [index for index, sample in enumerate(samples) if takes(signature, sample)]
    if not taken:
        raise StepError(f"{path.name} takes none of the samples' sizes")
    given = [to_artifact(samples[index], signature) for index in taken]
    if precision == "int8" and not stored and ranges is None:
        ranges = ranges_of(path, signature, samples, crew)
    with crew.lease("onnx") as worker:
        got = worker.call(
            "dlconv.workers.tasks:answer",
            what=f"emulating {precision}",
            runtime="dlconv.runtimes.onnx_rounded",
            path=str(path),
            signature=signature.to_dict(),
            settings={"precision": precision, "keep": list(keep), "stored": stored, "ranges": ranges},
            samples=given,
            sequence=sequence,
        )
        log = str(worker.log)
    if broken := next((error for error in got["errors"] if error), ""):
        raise StepError(f"{precision} cannot be emulated: {cause_of(broken)}", log=log)
    answers = reference.answers.at(taken)
    rounded = [
        _in_dtypes_of(to_source(outputs, signature), single)
        for outputs, single in zip(got["outputs"], answers.y32, strict=True)
    ]
    measured = measure(answers, rounded, 0.0, {}).outputs
    if problems := [f"{output.name}: {', '.join(output.problems)}" for output in measured if output.problems]:
        raise StepError(f"{precision} cannot be emulated: {problems[0]}", problems=tuple(problems), log=log)
    outputs = tuple(
        OutputNoise(each.name, each.error, each.rms_error, each.mismatches, each.elements) for each in measured
    )
    measured_task = None if task is None else task.measured(answers, rounded)
    return PrecisionNoise(precision, outputs, len(taken), got["placement"]["losses"], got["seconds"], measured_task)


def ranges_of(path: Path, signature: Signature, samples: Sequence[Sample], crew: Crew) -> Ranges:
    """The ranges of the model's tensors in float32, on those of the samples whose sizes it takes."""
    given = [to_artifact(sample, signature) for sample in samples if takes(signature, sample)]
    with tempfile.TemporaryDirectory(prefix="dlconv-") as folder, crew.lease("onnx") as worker:
        place = Path(folder) / "samples.npz"
        save_npz(place, to_arrays(given))
        found = worker.call(
            "dlconv.runtimes.onnx_rounded_int8:ranges", what="finding ranges", path=str(path), samples=str(place)
        )
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}


def widened(ranges: Ranges, width: float) -> Ranges:
    """The same in units of `width`."""
    return {name: (low * width, high * width) for name, (low, high) in ranges.items()}


def largest(noises: Sequence[PrecisionNoise]) -> PrecisionNoise:
    """Of each output the noisiest; what else is told is the first's."""
    outputs = tuple(
        max(each, key=lambda output: output.floor) for each in zip(*(n.outputs for n in noises), strict=True)
    )
    return replace(noises[0], outputs=outputs, seconds=sum(noise.seconds for noise in noises))


def _in_dtypes_of(outputs: Sample, wanted: Sample) -> Sample:
    """Floats in the source's own float: the emulation gives float32 for a smaller one. What is lacking stays so."""
    return {
        name: array.astype(wanted[name].dtype)
        if array.dtype.kind == "f" and name in wanted and np.asarray(wanted[name]).dtype.name != array.dtype.name
        else array
        for name, array in outputs.items()
    }


def _plain(losses: Mapping[str, Any]) -> dict[str, Any]:
    worst = [{key: json_number(value) for key, value in each.items()} for each in losses["worst"]]
    return {**{key: json_number(value) for key, value in losses.items()}, "worst": worst}
