"""A candidate: an artifact run in its target's runtime on the reference's samples, and measured against its answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv import plugins
from dlconv.asked.bars import Bars
from dlconv.errors import FormatError, RequestError, StepError, Unsupported, cause_of
from dlconv.formats import Format
from dlconv.validators.controls import with_controls
from dlconv.validators.judging import checks
from dlconv.validators.pairing import narrowing, to_artifact, to_source
from dlconv.validators.parity import FACTORS, measure
from dlconv.validators.verdict import joined
from dlconv.workers import gates, toolchains

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dlconv.making.steps import Product
    from dlconv.metrics.scoring import Task
    from dlconv.model import Dim, Signature, TensorSpec
    from dlconv.reference.source import Reference
    from dlconv.samples import Sample
    from dlconv.validators.evidence import Evidence
    from dlconv.validators.verdict import Check, Verdict
    from dlconv.workers.crew import Crew


@dataclass(frozen=True)
class TargetRuntime:
    """What runs a target: its name, its toolchain, the adapter, what is asked of it, and the format that it opens.

    factor: the bar in units of the noise floor; 0 for what `FACTORS` says of the name.
    """

    name: str
    toolchain: str
    adapter: str
    settings: Mapping[str, Any]
    format: Format
    factor: float = 0.0


_ORT = "dlconv.runtimes.onnxruntime"
RUNTIMES = {
    "onnx": TargetRuntime("onnxruntime", "onnx", _ORT, {"optimisation": "all"}, Format.ONNX),
    # Optimised when it was made: to optimise again would be to judge another model.
    "onnxruntime": TargetRuntime("onnxruntime", "onnx", _ORT, {"optimisation": "none"}, Format.ONNX),
    "openvino": TargetRuntime("openvino", "openvino", "dlconv.runtimes.openvino", {}, Format.OPENVINO),
    "tflite": TargetRuntime("tflite", "tflite", "dlconv.runtimes.tflite", {}, Format.TFLITE),
    "saved-model": TargetRuntime("tensorflow", "tensorflow", "dlconv.runtimes.tensorflow", {}, Format.SAVED_MODEL),
    "tensorrt": TargetRuntime("tensorrt", "tensorrt", "dlconv.runtimes.tensorrt", {}, Format.TENSORRT),
}


REDUCED_FACTOR: Final = 3.0
"""Bar of a lower precision in units of its emulated noise. Over 121 architectures nine in ten real implementations lie
within 1.4 of it, and none that is right beyond 2.7; docs/parity.md."""

WIDEST_NOISE: Final = 0.1
"""Of an output's scale. An ideal implementation with more noise has lost the answers: nothing is built for it."""


def factor_of(runtime: TargetRuntime, precision: str) -> float:
    """The bar of a runtime's artifacts at a precision, in units of the noise floor there."""
    return (runtime.factor or FACTORS[runtime.name]) if precision == "fp32" else REDUCED_FACTOR


def at_precision(runtime: TargetRuntime, precision: str) -> TargetRuntime:
    """The runtime as it runs artifacts of a precision: OpenVINO lowers to bfloat16 what it loads."""
    if precision == "bf16" and runtime.name == "openvino":
        return replace(runtime, settings={**runtime.settings, "precision": "bfloat16"})
    return runtime


def find_runtime(target: str) -> TargetRuntime | None:
    """What runs a target's artifacts: dlconv's own, or a plugin's; None where nothing does."""
    found: TargetRuntime | None = RUNTIMES.get(target) or plugins.runtimes().get(target)
    return found


def runtime_for(target: str) -> TargetRuntime:
    """What runs the artifacts of a target that there is. Raises RequestError for one that there is not."""
    found = find_runtime(target)
    if found is None:
        raise RequestError(f"there is no target {target!r}", wanted=f"one of {', '.join(RUNTIMES)}")
    return found


_TORCH = "dlconv.runtimes.torch"
_AS_GIVEN = (
    *(RUNTIMES[name] for name in ("onnx", "openvino", "tflite", "tensorrt")),
    *(TargetRuntime("torch", "torch", _TORCH, {}, kind) for kind in (Format.TORCHSCRIPT, Format.TORCH_EXPORT)),
    RUNTIMES["saved-model"],
    *(
        TargetRuntime("tensorflow", "tensorflow", "dlconv.runtimes.tensorflow", {}, kind)
        for kind in (Format.KERAS, Format.KERAS_H5, Format.FROZEN_GRAPH)
    ),
    TargetRuntime("jax", "jax", "dlconv.runtimes.jax", {}, Format.JAX),
)


def runtime_of(kind: Format) -> TargetRuntime | None:
    """What runs a model file that dlconv did not make; None where nothing does."""
    return next((runtime for runtime in _AS_GIVEN if runtime.format is kind), None)


@dataclass(frozen=True)
class Wanted:
    """What an artifact is held against: the source's signature, its answers, and what else is known and asked.

    precision: of the artifact; noise: below fp32, the precision's own noise on this model, by output.
    facts: of the source ("stateful", "state"; "sequence": the samples, and so the answers, are steps of one sequence).
    dims: free dimensions that the artifact must have kept, since the user named them. labels: right classes by output.
    trust: code that the artifact holds may run. task: measures a task metric, where one is asked for.
    """

    signature: Signature
    reference: Reference
    facts: Mapping[str, Any]
    bars: Bars = field(default_factory=Bars)
    dims: frozenset[str] = frozenset()
    labels: Mapping[str, np.ndarray[Any, Any]] | None = None
    precision: str = "fp32"
    noise: Mapping[str, float] = field(default_factory=dict)
    trust: bool = False
    task: Task | None = None

    @property
    def floors(self) -> Mapping[str, float]:
        """What the bars are a factor of, by output."""
        return self.reference.floors if self.precision == "fp32" else self.noise


@dataclass(frozen=True)
class Trial:
    """An artifact that was run and measured. limits: what it does not do that the source does, though it be right."""

    runtime: str
    versions: dict[str, str]
    placement: dict[str, Any]
    evidence: Evidence
    bars: Bars
    seconds: float
    limits: tuple[str, ...] = ()

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        return checks(self.evidence, self.bars)

    @property
    def verdict(self) -> Verdict:
        return joined(self.checks)


@dataclass(frozen=True)
class Candidate:
    """What a route made, and how it did."""

    product: Product
    trial: Trial


def try_out(path: Path, signature: Signature, runtime: TargetRuntime, wanted: Wanted, crew: Crew) -> Trial:
    """Run the artifact on the reference's samples, twice, and measure it.

    signature: the artifact's, its tensors paired with the source's by `source` and `permutation`. Raises StepError
    where it cannot take the samples, and where the runtime cannot open it, or ends; MachineError without the runtime.
    """
    toolchain = toolchains.get(runtime.toolchain)
    gates.check(toolchain.gate)
    located = toolchains.locate(toolchain)
    if isinstance(located, toolchains.Missing):
        raise located.error()
    own = signature.own
    _check_inputs(wanted.signature, own)
    _check_dims(wanted.signature, own, wanted.dims)
    samples = wanted.reference.samples.samples
    fixed = [index for index, sample in enumerate(samples) if takes(signature, sample)]
    if not fixed:
        raise StepError("the artifact takes none of the samples' sizes")
    try:
        got = _answers(path, signature, runtime, wanted, [samples[index] for index in fixed], crew)
    except FormatError as error:  # of an artifact that was made, not of a file that somebody named
        raise StepError(error.met, wanted=error.wanted, mend=error.mend, problems=error.problems) from error
    return Trial(
        runtime.name,
        located.versions,
        got["placement"],
        _evidence(got, signature, wanted, fixed, runtime),
        wanted.bars,
        got["seconds"],
        (
            *got["placement"].get("limits", ()),
            *_limits(signature, wanted.facts, runtime, all_judged=len(fixed) == len(samples)),
        ),
    )


def _answers(
    path: Path, signature: Signature, runtime: TargetRuntime, wanted: Wanted, samples: list[Sample], crew: Crew
) -> dict[str, Any]:
    with crew.lease(runtime.toolchain) as worker:
        got: dict[str, Any] = worker.call(
            "dlconv.workers.tasks:answer",
            what=f"running {path.name} in {runtime.name}",
            runtime=runtime.adapter,
            path=str(path),
            signature=signature.to_dict(),
            settings=_settings(runtime, wanted),
            samples=[to_artifact(sample, signature) for sample in samples],
            twice=True,
            sequence=bool(wanted.facts.get("sequence")),
        )
    return got


def _evidence(
    got: Mapping[str, Any], signature: Signature, wanted: Wanted, indices: list[int], runtime: TargetRuntime
) -> Evidence:
    reference, narrowed = wanted.reference, narrowing(wanted.signature, signature)
    answers = reference.answers.at(indices)
    outputs, again, first_calls = (
        [to_source(sample, signature) for sample in got[key]] for key in ("outputs", "again", "first_calls")
    )
    evidence = measure(
        answers,
        outputs,
        factor_of(runtime, wanted.precision),
        wanted.floors,
        narrowed,
        problems=tuple(_broken(got["errors"], indices)),
        again=again,
        labels=wanted.labels,
        doubts=_doubts(signature, wanted.facts, runtime),
    )
    evidence = replace(
        evidence,
        precision=wanted.precision,
        account=got["placement"].get("account"),
        runtime=runtime.name,
        task=None if wanted.task is None else wanted.task.measured(answers, outputs),
    )
    lost = {"state lost from call to call": first_calls} if first_calls and all(first_calls) else {}
    return with_controls(evidence, answers, outputs, wanted.floors, narrowed, wanted.bars, lost)


def _settings(runtime: TargetRuntime, wanted: Wanted) -> dict[str, Any]:
    """What is asked of the runtime; of the source's own framework also to go on from its state, where answers do so;
    below fp32 to give an account of what is in which precision."""
    asked = dict(at_precision(runtime, wanted.precision).settings)
    if _keeps_itself(runtime, wanted.facts):
        asked["sequence"] = True
    if wanted.precision != "fp32":
        asked["account"] = True
    if wanted.trust and runtime.format is Format.TENSORRT:
        asked["trust"] = True
    return asked


def _keeps_itself(runtime: TargetRuntime, facts: Mapping[str, Any]) -> bool:
    return runtime.adapter == _TORCH and bool(facts.get("sequence"))


def _doubts(signature: Signature, facts: Mapping[str, Any], runtime: TargetRuntime) -> tuple[str, ...]:
    is_carried = bool(signature.state) or _keeps_itself(runtime, facts)
    if not facts.get("stateful") or (facts.get("sequence") and is_carried):
        return ()
    # Right answers to first calls do not show that a sequence of calls is right.
    return (f"the source keeps state from call to call ({_state(facts)}); the artifact answers as on a first call",)


def _state(facts: Mapping[str, Any]) -> str:
    return ", ".join(facts.get("state", ())) or "in lists"


def _limits(
    artifact: Signature, facts: Mapping[str, Any], runtime: TargetRuntime, *, all_judged: bool
) -> tuple[str, ...]:
    limits = [f"made for {spec} alone" for spec in artifact.own.inputs if not all_judged and not spec.is_dynamic]
    return (*limits, *_doubts(artifact, facts, runtime))


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


def takes(signature: Signature, sample: Sample) -> bool:
    """Whether the sample has the sizes that the artifact's signature fixes."""
    for spec in signature.own.inputs:
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
