"""ONNX to a TensorRT plan for the GPU of this machine, by any TensorRT from 8.5 to 11."""

from __future__ import annotations

import ctypes
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.convert import onnx_graph
from dlconv.convert.edge import Made, Step, inherited
from dlconv.convert.tensorrt_config import TimingCache, add_profiles, configured, progress
from dlconv.convert.tensorrt_memory import estimated, require_room
from dlconv.convert.tensorrt_network import parsed, set_precision
from dlconv.errors import RequestError, StepError
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes import tensorrt_api as api
from dlconv.runtimes.cuda import Device
from dlconv.runtimes.tensorrt_inspect import Attested, inspected
from dlconv.runtimes.tensorrt_plan import PLAN, WEIGHTS, PlanFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.runtimes.nvidia_driver import Driver

_COMPUTED = {"fp16": "float16", "bf16": "bfloat16", "int8": "int8"}


def convert(step: Step) -> Made:
    """The plan, "model.plan", and "plan.json" that tells what it was built by and for; of a stripped one the ONNX model
    too, which its weights are taken from. The signature is the engine's own.

    settings: "precision" ("fp32", "fp16", "bf16", "int8"), "keep" (nodes that stay float32), "profiles" (a mapping each
    of inputs to their least, best and largest shape), "values" (the same of integers that
    may decide shapes), "trt" (`TensorRTOptions.to_dict`), "plugin_paths" (libraries).
    Raises Unsupported for what TensorRT cannot take, each node named, or this version does not have; MachineError where
    the weights are more than the GPU has room for; StepError where the build fails, or gave another precision than was
    asked for.
    """
    options: dict[str, Any] = step.settings.get("trt", {})
    precision = str(step.settings.get("precision", "fp32"))
    trt, driver = api.load()
    if precision == "bf16":
        api.required(trt, "DataType", "BF16", "bf16")
    log = api.new_log(trt)
    api.register_plugins(trt, log)
    plugins = _plugins(step.settings.get("plugin_paths", ()), step.out_dir)
    room = require_room(
        estimated(step.source, step.settings.get("profiles", ()), precision),
        *Device().free_memory(),
        is_streamed=bool(options.get("weight_streaming")),
    )
    print(f"[dlconv] {room}", flush=True)  # noqa: T201 - a worker's output is its log
    plan, written_out = _build(step, trt, driver, log, options, precision)
    (step.out_dir / PLAN).write_bytes(plan)
    facts = _facts(trt, driver, options, precision, plugins)
    facts.write(step.out_dir)
    if facts.is_stripped:
        _copy_model(step.source, step.out_dir)
    engine = _opened(trt, log, plan)
    found = inspected(trt, engine)
    _attest(found, precision)
    signature = _signature(trt, engine, step.signature)
    return Made(PLAN, signature, (*written_out, *_notes(found, facts, engine, options), room))


def _build(
    step: Step, trt: Any, driver: Driver, log: Any, options: dict[str, Any], precision: str
) -> tuple[bytes, tuple[str, ...]]:
    """The plan, and notes on the network that it was built of."""
    builder = api.made(trt, "Builder", log)
    network, typed = api.new_network(trt, builder)
    parser, written_out = parsed(trt, network, step.source, log, has_plugins=bool(step.settings.get("plugin_paths")))
    config = configured(trt, builder, options)
    set_precision(trt, network, config, precision, tuple(step.settings.get("keep", ())), typed=typed)
    add_profiles(builder, config, network, step.settings.get("profiles", ()), step.settings.get("values", {}))
    monitor = progress(trt)
    if monitor is not None:
        config.progress_monitor = monitor
    cache = TimingCache(trt, driver) if options.get("timing_cache", True) else None
    if cache is not None:
        cache.give(config)
    log.errors.clear()  # of the parser's trials, which came to a good end
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise api.refused(trt, "builds no engine", log, _mend(log.errors))
    if cache is not None:
        cache.keep(config)
    del parser
    told = f"{', '.join(written_out)}: written out as the operators that ONNX defines it by, for want of it"
    return bytes(plan), (told,) if written_out else ()


def _mend(errors: Sequence[str]) -> str:
    if any(name in line.lower() for line in errors for name in ("cublas", "cudnn")):
        return "install the cuBLAS and cuDNN that this TensorRT wants, or do without: --trt external-tactics=off"
    return "another route is tried"


def _plugins(paths: Sequence[str], out_dir: Path) -> tuple[str, ...]:
    """Load the libraries of plugins, which register themselves, and put them beside the plan."""
    for name in paths:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            raise RequestError(f"the plugin {name} cannot be loaded: {error}", wanted="a library of plugins") from error
        shutil.copyfile(name, out_dir / Path(name).name)
    return tuple(Path(name).name for name in paths)


def _facts(trt: Any, driver: Driver, options: dict[str, Any], precision: str, plugins: tuple[str, ...]) -> PlanFacts:
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


def _copy_model(source: Path, out_dir: Path) -> None:
    shutil.copyfile(source, out_dir / WEIGHTS)
    for location in onnx_graph.locations_of(onnx_graph.read_model(source)):
        (out_dir / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / location, out_dir / location)


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


def _signature(trt: Any, engine: Any, known: Signature) -> Signature:
    """The engine's tensors, in the order of the model's own; free sizes keep their names."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    sides = {
        mode: [name for name in names if engine.get_tensor_mode(name) == getattr(trt.TensorIOMode, mode)]
        for mode in ("INPUT", "OUTPUT")
    }
    inputs = _specs(engine, sides["INPUT"], known.inputs)
    outputs = _specs(engine, sides["OUTPUT"], known.outputs)
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


def _notes(found: Attested, facts: PlanFacts, engine: Any, options: dict[str, Any]) -> tuple[str, ...]:
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
