"""What the step to TensorRT is told: the precision, the user's options, the GPU it builds for, the ranges of sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import RequestError
from dlconv.model import digest_of
from dlconv.runtimes.nvidia_driver import Driver
from dlconv.runtimes.tensorrt_inputs import is_within
from dlconv.validators.pairing import to_artifact
from dlconv.workers import gates

if TYPE_CHECKING:
    from dlconv.asked.options import ExportOptions
    from dlconv.model import Signature, TensorSpec
    from dlconv.samples import Sample

OWN: Final = ("plugin_paths",)
"""Settings that are of this machine alone: no receipt has them."""

_SHORT: Final = 64

Shapes = dict[str, list[list[int]]]
"""The least, best and largest shape of each input with a free size: an optimisation profile."""


def settings(options: ExportOptions, signature: Signature, samples: tuple[Sample, ...]) -> dict[str, Any]:
    """All of it. signature: of what is built from. Raises RequestError for an optimum that is none of the range."""
    asked = options.tensorrt
    told: dict[str, Any] = {
        "precision": options.precision,
        "keep": sorted(options.keep),
        "gpu": _gpu(),
        "profiles": profiles(signature, samples, options.optima),
        "values": values(signature, samples),
    }
    if options.optima:
        told["optima"] = len(options.optima)
    if asked.to_dict():
        told["trt"] = asked.to_dict()
    if asked.plugins:
        told["plugin_digests"] = [digest_of(path) for path in asked.plugins]
        told["plugin_paths"] = [str(path) for path in asked.plugins]
    return told


def _gpu() -> str:
    """The GPU and its driver, "" without one: a plan of another is another step of the cache."""
    driver = gates.nvidia()
    if not isinstance(driver, Driver):
        return ""
    first = driver.gpus[0]
    return f"{first.name}, compute capability {first.compute_capability}, driver {driver.version}, CUDA {driver.cuda}"


def profiles(signature: Signature, samples: tuple[Sample, ...], optima: tuple[TensorSpec, ...]) -> list[Shapes]:
    """A profile for each optimum, each of which takes every sample's sizes; one, with the first sample as its best,
    where none was said. [] where no size is free. optima: in the source's names and axes."""
    given = [to_artifact(sample, signature) for sample in samples]
    ranges = {
        spec.name: _range([list(sample[spec.name].shape) for sample in given])
        for spec in signature.own.inputs
        if spec.is_dynamic
    }
    best = {spec.name: _best(spec, optima) for spec in signature.own.inputs}
    strange = [f"{spec.name} is no input with a free size" for spec in optima if spec.name not in _sources(signature)]
    strange += [
        f"{name}: {shape} is not from {least} to {most}"
        for name, (least, _, most) in ranges.items()
        for shape in best[name]
        if not is_within(shape, least, most)
    ]
    if strange:
        raise RequestError("--opt names sizes that the model is not built for", problems=tuple(strange))
    count = max((len(best[name]) for name in ranges), default=0)
    return (
        [
            {
                name: [least, best[name][min(number, len(best[name]) - 1)] if best[name] else first, most]
                for name, (least, first, most) in ranges.items()
            }
            for number in range(max(1, count))
        ]
        if ranges
        else []
    )


def values(signature: Signature, samples: tuple[Sample, ...]) -> Shapes:
    """The least, first and largest values of each short list of integers: where such an input decides shapes, TensorRT
    wants their range as it wants that of sizes."""
    given = [to_artifact(sample, signature) for sample in samples]
    lists = {spec.name: [sample[spec.name] for sample in given] for spec in signature.own.inputs}
    return {
        name: _range([[int(value) for value in array.ravel()] for array in arrays])
        for name, arrays in lists.items()
        if all(array.dtype.kind in "iu" and array.ndim < 2 and array.size <= _SHORT for array in arrays)
        if len({array.shape for array in arrays}) == 1
    }


def _sources(signature: Signature) -> set[str]:
    return {spec.source_name for spec in signature.own.inputs if spec.is_dynamic}


def _best(spec: TensorSpec, optima: tuple[TensorSpec, ...]) -> list[list[int]]:
    """What was said of an input, in its own axes."""
    said = [[int(size) for size in each.shape or ()] for each in optima if each.name == spec.source_name]
    if not spec.permutation:
        return said
    return [
        [shape[axis] for axis in spec.permutation] if len(shape) == len(spec.permutation) else shape for shape in said
    ]


def _range(shapes: list[list[int]]) -> list[list[int]]:
    axes = list(zip(*shapes, strict=True))
    return [[min(sizes) for sizes in axes], shapes[0], [max(sizes) for sizes in axes]]
