"""A candidate: an artifact run in its target's runtime, measured against the reference, and judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import StepError, Unsupported, cause_of
from dlconv.validators.controls import with_controls
from dlconv.validators.pairing import to_artifact, to_source
from dlconv.validators.parity import FACTORS, Evidence, judge, measure
from dlconv.validators.verdict import Verdict
from dlconv.workers import toolchains

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.model import Dim, Signature, TensorSpec
    from dlconv.samples import Sample
    from dlconv.source import Reference, Source
    from dlconv.steps import Product
    from dlconv.workers.crew import Crew


@dataclass(frozen=True)
class TargetRuntime:
    """What runs a target: its name, the toolchain it is in, the adapter, and what is asked of it."""

    name: str
    toolchain: str
    adapter: str
    settings: Mapping[str, Any]


_ORT = "dlconv.runtimes.onnxruntime"
RUNTIMES = {
    "onnx": TargetRuntime("onnxruntime", "onnx", _ORT, {"optimisation": "all"}),
    # Optimised when it was made: to optimise again would be to judge another model.
    "onnxruntime": TargetRuntime("onnxruntime", "onnx", _ORT, {"optimisation": "none"}),
    "openvino": TargetRuntime("openvino", "openvino", "dlconv.runtimes.openvino", {}),
    "tflite": TargetRuntime("tflite", "tflite", "dlconv.runtimes.tflite", {}),
}


@dataclass(frozen=True)
class Candidate:
    """A judged artifact: what made it, what ran, what was measured, and the verdict.

    limits: what it does not do that the source does; they stand in the verdict's reasons too.
    """

    product: Product
    runtime: str
    versions: dict[str, str]
    placement: dict[str, Any]
    evidence: Evidence
    verdict: Verdict
    seconds: float
    limits: tuple[str, ...] = ()


def run(
    product: Product, target: str, source: Source, reference: Reference, crew: Crew, asked: frozenset[str] = frozenset()
) -> Candidate:
    """Run the product on the reference's samples and judge it.

    asked: the free dimensions that the user named. Raises StepError where one of them did not survive the route,
    and where the runtime cannot open the artifact, or ends.
    """
    runtime = RUNTIMES[target]
    located = toolchains.locate(toolchains.get(runtime.toolchain))
    if isinstance(located, toolchains.Missing):
        raise located.error()
    signature = product.signature
    _check_inputs(source.signature, signature)
    _check_dims(source.signature, signature, asked)
    fixed = [index for index, sample in enumerate(reference.samples.samples) if _takes(signature, sample)]
    if not fixed:
        raise StepError("the artifact takes none of the samples' sizes")
    samples = [reference.samples.samples[index] for index in fixed]
    with crew.lease(runtime.toolchain) as worker:
        got = worker.call(
            "dlconv.workers.tasks:answer",
            what=f"running {product.entry} in {runtime.name}",
            runtime=runtime.adapter,
            path=str(product.path),
            signature=signature.to_dict(),
            settings=dict(runtime.settings),
            samples=[to_artifact(sample, signature) for sample in samples],
        )
    outputs = [to_source(sample, signature) for sample in got["outputs"]]
    evidence = _evidence(got["errors"], outputs, source.signature, signature, reference, fixed, runtime.name)
    limits = _limits(source, product.signature, all_judged=len(fixed) == len(reference.samples.samples))
    verdict = judge(evidence)
    # Right answers to first calls do not show that a sequence of calls is right, so they are no PASS.
    word = "INCONCLUSIVE" if verdict.word == "PASS" and source.facts.get("stateful") else verdict.word
    verdict = Verdict(word, (*verdict.reasons, *limits))
    return Candidate(
        product, runtime.name, located.versions, got["placement"], evidence, verdict, got["seconds"], limits
    )


def _limits(source: Source, artifact: Signature, *, all_judged: bool) -> tuple[str, ...]:
    """What the artifact does not do that the source does, though every answer be right."""
    limits = [f"made for {spec} alone" for spec in artifact.inputs if not all_judged and not spec.is_dynamic]
    if source.facts.get("stateful"):
        state = ", ".join(source.facts.get("state", ())) or "in lists"
        limits.append(f"the source keeps state from call to call ({state}); the artifact answers as on a first call")
    return tuple(limits)


def _evidence(
    errors: list[str],
    outputs: list[Sample],
    source: Signature,
    signature: Signature,
    reference: Reference,
    indices: list[int],
    runtime: str,
) -> Evidence:
    answers = reference.answers.at(indices)
    narrowed = _narrowed(source, signature)
    broken = _broken(errors, indices)
    evidence = measure(answers, outputs, FACTORS[runtime], reference.floors, narrowed, problems=tuple(broken))
    return with_controls(evidence, answers, outputs, reference.floors, narrowed)


def _broken(errors: list[str], indices: list[int]) -> list[str]:
    """A line for each cause with the samples that met it."""
    met: dict[str, list[int]] = {}
    for index, error in zip(indices, errors, strict=True):
        if error:
            met.setdefault(cause_of(error), []).append(index)
    return [f"the run of sample {', '.join(map(str, where))} failed: {cause}" for cause, where in met.items()]


def _check_inputs(source: Signature, artifact: Signature) -> None:
    known = {spec.name for spec in source.inputs}
    strange = [spec.name for spec in artifact.inputs if spec.source_name not in known]
    if strange:
        raise StepError(f"the artifact has inputs that the source does not know: {', '.join(strange)}")


def _check_dims(source: Signature, artifact: Signature, asked: frozenset[str]) -> None:
    wanted = {dim for spec in source.inputs for dim in spec.shape or () if dim in asked}
    specs = {spec.source_name: spec for spec in artifact.inputs}
    lost = [
        f"{dim} of {spec.name}"
        for spec in source.inputs
        if spec.name in specs
        for axis, dim in enumerate(spec.shape or ())
        if dim in wanted and isinstance(_axis_of(specs[spec.name], axis), int)
    ]
    if lost:
        raise Unsupported(
            f"the free dimension {', '.join(lost)} did not survive: the artifact takes one size alone",
            mend="give it a size: --input " + " --input ".join(str(spec) for spec in artifact.inputs),
        )


def _axis_of(spec: TensorSpec, axis: int) -> Dim | None:
    """The artifact's dimension for an axis of the source's tensor; None where the rank is unknown."""
    if spec.shape is None:
        return None
    return spec.shape[spec.permutation.index(axis) if spec.permutation else axis]


def _takes(signature: Signature, sample: Sample) -> bool:
    """Whether the sample has the sizes that the artifact's signature fixes."""
    for spec in signature.inputs:
        if spec.shape is None:
            continue
        shape = sample[spec.source_name].shape
        if spec.permutation:
            shape = tuple(shape[axis] for axis in spec.permutation)
        if len(shape) != len(spec.shape):
            return False
        if any(isinstance(dim, int) and dim != size for dim, size in zip(spec.shape, shape, strict=True)):
            return False
    return True


def _narrowed(source: Signature, artifact: Signature) -> dict[str, str]:
    """Integer outputs whose dtype the artifact states as another integer's: TFLite's int32 for int64."""
    wanted = {spec.name: spec.dtype for spec in source.outputs}
    return {
        spec.source_name: spec.dtype
        for spec in artifact.outputs
        if spec.source_name in wanted
        and spec.dtype != wanted[spec.source_name]
        and np.dtype(spec.dtype).kind in "iu"
        and np.dtype(wanted[spec.source_name]).kind in "iu"
    }
