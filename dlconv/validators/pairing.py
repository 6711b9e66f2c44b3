"""From the source's tensors to the artifact's and back, by what the artifact's signature states. Nothing is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dlconv.errors import SamplesError

if TYPE_CHECKING:
    from dlconv.model import Signature, TensorSpec
    from dlconv.samples import Sample


def to_artifact(sample: Sample, signature: Signature) -> Sample:
    """A sample in the source's names and axes as the artifact takes it, but for state, which the source keeps inside.

    An integer is narrowed where the artifact's signature says so and its value fits: SamplesError if it does not. A
    float is rounded to what the boundary was asked to be.
    """
    given: Sample = {}
    for spec in signature.own.inputs:
        array = sample[spec.source_name]
        if spec.permutation:
            array = np.transpose(array, spec.permutation)
        wanted = spec.array_dtype
        if spec.boundary:
            array = _rounded(array, spec)
        elif array.dtype != wanted and array.dtype.kind in "iu" and wanted.kind in "iu":
            bounds = np.iinfo(wanted)
            if array.size and (array.min() < bounds.min or array.max() > bounds.max):
                raise SamplesError(f"'{spec.name}' has values that the artifact's {wanted.name} cannot hold")
            array = array.astype(wanted)
        given[spec.name] = np.asarray(array, order="C")  # ascontiguousarray would give a scalar an axis
    return given


def _rounded(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    wanted = np.dtype(spec.dtype)
    if spec.scale is None or wanted.kind == "f":
        return array.astype(wanted)
    limits = np.iinfo(wanted)
    steps = np.rint(array.astype(np.float64) / spec.scale) + spec.zero_point
    rounded: np.ndarray = np.clip(steps, limits.min, limits.max).astype(wanted)
    return rounded


def to_source(outputs: Sample, signature: Signature) -> Sample:
    """The artifact's outputs under the source's names and in the source's axes; dtypes as they came, but where a
    boundary was asked to be another: one that is what the signature says is read by it.

    A tensor that the signature does not know keeps its name, so that the judge sees it; one that cannot be turned,
    since its rank is not the stated one, stays as it is, and its shape fails.
    """
    specs = {spec.name: spec for spec in signature.outputs}
    turned: Sample = {}
    for name, array in outputs.items():
        spec = specs.get(name)
        if spec is None:
            turned[name] = array
            continue
        if spec.permutation and len(spec.permutation) == array.ndim:
            array = np.transpose(array, np.argsort(spec.permutation))
        if spec.boundary and array.dtype.name == spec.dtype:
            wide: np.ndarray = array.astype(np.float64)
            array = (wide if spec.scale is None else (wide - spec.zero_point) * spec.scale).astype(spec.boundary)
        turned[spec.source_name] = array
    return turned


def narrowing(source: Signature, artifact: Signature) -> dict[str, str]:
    """Integer outputs whose dtype the artifact states as another integer's: TFLite's int32 for int64."""
    wanted = {spec.name: spec for spec in source.outputs}
    return {
        spec.source_name: spec.dtype
        for spec in artifact.outputs
        if spec.source_name in wanted
        and spec.dtype != wanted[spec.source_name].dtype
        and spec.array_dtype.kind in "iu"
        and wanted[spec.source_name].array_dtype.kind in "iu"
    }
