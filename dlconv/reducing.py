"""A lower precision as an export asks for it: what stays in float32, what it is calibrated on, and its own noise.

The noise is found before any target is built, by the emulation on the source's ONNX form: with it an overflow of
float16 is met on any machine, and every target is judged by one bar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dlconv import precision_noise
from dlconv.candidate import WIDEST_NOISE
from dlconv.convert.graph import whole_graph
from dlconv.errors import ConversionError, StepError
from dlconv.precisions import Precision, dtype_of, is_stored_alone

if TYPE_CHECKING:
    from dlconv.options import ExportOptions
    from dlconv.precision_noise import PrecisionNoise
    from dlconv.samples import SampleSet
    from dlconv.source import Reference, Source
    from dlconv.steps import Product, StepRunner
    from dlconv.workers.crew import Crew

_LARGEST: Final = {"float16": 65504.0}
_STORED: Final = ("weight", "input")


@dataclass(frozen=True)
class Reduction:
    """A precision below float32, all that it was asked with, and the noise that it has on this model."""

    precision: Precision
    keep: tuple[str, ...]
    calibration: SampleSet | None
    noise: PrecisionNoise

    @property
    def floors(self) -> dict[str, float]:
        """By output, what the bars of the precision are a factor of."""
        return {output.name: output.floor for output in self.noise.outputs}

    def to_dict(self) -> dict[str, Any]:
        """As the receipt tells it."""
        return {
            "keep": list(self.keep),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "noise": self.noise.to_dict(),
        }


def reduce(
    source: Source,
    reference: Reference,
    options: ExportOptions,
    calibration: SampleSet | None,
    runner: StepRunner,
    crew: Crew,
) -> Reduction:
    """The precision's noise on the source's ONNX form. ConversionError where there is none, or where the precision
    cannot hold the model: an overflow, named by its node, or answers that are lost in noise."""
    model = as_onnx(source, runner)
    precision = options.precision
    sequence = bool(source.facts.get("sequence"))
    noise = precision_noise.emulate(
        model.path,
        model.signature,
        reference,
        dtype_of(precision),
        crew,
        sequence=sequence,
        keep=options.keep,
        stored=is_stored_alone(precision),
    )
    _require_held(noise, precision)
    return Reduction(precision, options.keep, calibration, noise)


def as_onnx(source: Source, runner: StepRunner) -> Product:
    """The source as dlconv's cleaned ONNX model in float32, by the first route that leads there."""
    error: StepError | None = None
    for route in whole_graph().routes(source.artifact.format, "onnx"):
        try:
            return runner.run(route.edges, "onnx")
        except StepError as met:
            error = error or met
    assert error is not None
    raise ConversionError(
        f"there is no ONNX form of the model in which its precision could be judged: {error.met}",
        mend=error.mend,
        log=error.log,
    )


def overflows(noise: PrecisionNoise) -> list[dict[str, Any]]:
    """The computed tensors that overflowed, in the order of computation."""
    return [lost for lost in noise.losses["worst"] if lost["overflows"] and lost["operator"] not in _STORED]


def _require_held(noise: PrecisionNoise, precision: str) -> None:
    lost = [output for output in noise.outputs if not (output.floor <= WIDEST_NOISE)]
    if not lost:
        return
    beyond = overflows(noise)
    if beyond and any(not math.isfinite(output.error) or output.mismatches for output in lost):
        first = beyond[0]
        raise ConversionError(
            f"{noise.precision} overflows at {first['node']} ({first['operator']}): it computes "
            f"{first['largest']:.6g}, and the largest number is {_LARGEST.get(noise.precision, math.inf):.6g}",
            mend="keep the node in float32, and those that read what is too large: --keep-list FILE, a name a line; "
            "or let it be found: --search",
            problems=tuple(
                f"{each['node']} ({each['operator']}): {each['largest']:.6g} in {each['tensor']}" for each in beyond
            ),
        )
    raise ConversionError(
        f"{precision} loses the model's answers: "
        + ", ".join(f"an error of {output.error:.2g} of the scale of {output.name}" for output in lost),
        wanted=f"{WIDEST_NOISE} at the most, of an ideal implementation",
        mend="keep what is sensitive in float32: --keep-list FILE, or let it be found: --search",
    )


def notes_on(reduction: Reduction) -> tuple[str, ...]:
    """What is to be known of a reduction that holds: overflows that do not reach the outputs."""
    harmless = overflows(reduction.noise)
    if not harmless:
        return ()
    names = ", ".join(f"{each['node']} ({each['largest']:.3g})" for each in harmless[:3])
    return (f"{reduction.noise.precision} overflows at {names}, which no output shows",)
