"""What the step to TensorRT is told besides the user's options: the GPU that it builds for, and the ranges of sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.runtimes.nvidia_driver import Driver
from dlconv.validators.pairing import to_artifact
from dlconv.workers import gates

if TYPE_CHECKING:
    from dlconv.model import Signature
    from dlconv.samples import Sample

Shapes = dict[str, list[list[int]]]
"""The least, best and largest shape of each input with a free size: an optimisation profile."""


def gpu() -> str:
    """The GPU and its driver, "" without one: a plan of another is another step of the cache."""
    driver = gates.nvidia()
    if not isinstance(driver, Driver):
        return ""
    first = driver.gpus[0]
    return f"{first.name}, compute capability {first.compute_capability}, driver {driver.version}, CUDA {driver.cuda}"


def profiles(signature: Signature, samples: tuple[Sample, ...]) -> list[Shapes]:
    """One profile that takes every sample's sizes, the first's being the best. signature: of what is built from.

    [] where no size is free.
    """
    free = [spec.name for spec in signature.own.inputs if spec.is_dynamic]
    given = [to_artifact(sample, signature) for sample in samples]
    shapes = {name: [list(sample[name].shape) for sample in given] for name in free}
    return [{name: _range(each) for name, each in shapes.items()}] if free else []


def _range(shapes: list[list[int]]) -> list[list[int]]:
    axes = list(zip(*shapes, strict=True))
    return [[min(sizes) for sizes in axes], shapes[0], [max(sizes) for sizes in axes]]
