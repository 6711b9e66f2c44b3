"""A TensorRT plan that was just built: what lies beside it, what it computes in, and its inputs and outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dlconv.convert.edge import inherited
from dlconv.errors import StepError
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes import tensorrt_api as api
from dlconv.runtimes.tensorrt_inspect import Attested, inspected
from dlconv.runtimes.tensorrt_plan import PLAN, PlanFacts

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.runtimes.nvidia_driver import Driver

_COMPUTED: Final = {"fp16": "float16", "bf16": "bfloat16", "int8": "int8"}


def written(plan: bytes, facts: PlanFacts, out_dir: Path, trt: Any, log: Any) -> tuple[Any, Attested]:
    """The plan and `plan.json` written to `out_dir`; its engine, opened, and what the inspector tells of it.

    Raises StepError where it does not open, or where no layer is in the precision that was asked for.
    """
    (out_dir / PLAN).write_bytes(plan)
    facts.write(out_dir)
    engine = _opened(trt, log, plan)
    found = inspected(trt, engine)
    _attest(found, facts.precision)
    return engine, found


def facts_of(
    trt: Any, driver: Driver, options: dict[str, Any], precision: str, plugins: tuple[str, ...] = ()
) -> PlanFacts:
    """What is known of a plan that is built here, by the options of `--trt`."""
    gpu = driver.gpus[0]
    return PlanFacts(
        str(trt.__version__),
        gpu.name,
        gpu.compute_capability,
        driver.version,
        driver.cuda,
        precision,
        is_version_compatible=bool(options.get("version_compatible")),
        hardware=options.get("hardware", ""),
        is_stripped=bool(options.get("strip")),
        is_streamed=bool(options.get("weight_streaming")),
        is_graph=bool(options.get("cuda_graph")),
        plugins=plugins,
    )


def _opened(trt: Any, log: Any, plan: bytes) -> Any:
    runtime = api.made(trt, "Runtime", log)
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = True  # this process has just made it
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise api.refused(trt, "does not open the plan that it built", log)
    return engine


def _attest(found: Attested, precision: str) -> None:
    """Nothing asked for is dropped: some layer has to compute in what was asked."""
    wanted = _COMPUTED.get(precision)
    if wanted is None or wanted in found.precisions:
        return
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(found.precisions.items())) or "none that it tells of"
    raise StepError(f"{precision} was asked for and the engine has no layer in it: it has {told}", wanted=wanted)


def sides_of(trt: Any, engine: Any) -> tuple[list[str], list[str]]:
    """The names of the engine's inputs and of its outputs, in its order."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
    return [name for name in names if is_input[name]], [name for name in names if not is_input[name]]


def signature_of(trt: Any, engine: Any, known: Signature) -> Signature:
    """The engine's tensors, in the order of the model's own, whose names they have; free sizes keep their names.

    Raises StepError where the engine has others.
    """
    given, made = sides_of(trt, engine)
    inputs, outputs = _specs(engine, given, known.inputs), _specs(engine, made, known.outputs)
    return replace(known, inputs=inherited(inputs, known.inputs), outputs=inherited(outputs, known.outputs), state=())


def _specs(engine: Any, names: list[str], known: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    wanted = [spec.name for spec in known] or names
    if sorted(wanted) != sorted(names):
        raise StepError(f"the engine has the tensors {', '.join(names)}", wanted=", ".join(wanted))
    shapes = {spec.name: spec.shape for spec in known}
    return tuple(
        TensorSpec(name, api.dtype_of(engine.get_tensor_dtype(name)), _shape(engine, name, shapes.get(name)))
        for name in wanted
    )


def _shape(engine: Any, name: str, known: tuple[Dim, ...] | None) -> tuple[Dim, ...]:
    sizes = api.shape_of(engine.get_tensor_shape(name))
    names = known if known is not None and len(known) == len(sizes) else (None,) * len(sizes)
    return tuple(
        size if size >= 0 else told if isinstance(told, str) else f"{name}_{axis}"
        for axis, (size, told) in enumerate(zip(sizes, names, strict=True))
    )


def notes_on(found: Attested, facts: PlanFacts, engine: Any, options: dict[str, Any]) -> tuple[str, ...]:
    """What the user is told of it."""
    memory = getattr(engine, "device_memory_size_v2", None)
    size = int(engine.device_memory_size if memory is None else memory)
    counts = ", ".join(f"{count} in {kind}" for kind, count in sorted(found.precisions.items()))
    return tuple(
        note
        for note in (
            f"built by TensorRT {facts.tensorrt} for {facts.gpu}, compute capability {facts.compute_capability}",
            f"{found.layers} layers, {found.fused} of them fused" + (f"; {counts}" if counts else ""),
            f"a run needs {size / (1 << 20):.1f} MiB of the GPU's memory besides the weights",
            "what the DLA cannot do runs on the GPU" if "dla" in options and options.get("gpu_fallback") else "",
        )
        if note
    )
