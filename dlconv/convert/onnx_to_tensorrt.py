"""ONNX to a TensorRT plan for the GPU of this machine, by any TensorRT from 8.5 to 11."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.tensorrt_built import facts_of, notes_on, signature_of, written
from dlconv.convert.tensorrt_config import TimingCache, add_profiles, configured, monitor
from dlconv.convert.tensorrt_memory import estimated, require_room
from dlconv.convert.tensorrt_network import parsed, set_precision
from dlconv.errors import RequestError
from dlconv.graphs import onnx_graph
from dlconv.runtimes import tensorrt_api as api
from dlconv.runtimes.cuda import Device
from dlconv.runtimes.tensorrt_plan import PLAN, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.runtimes.nvidia_driver import Driver


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
    facts = facts_of(trt, driver, options, precision, plugins)
    if facts.is_stripped:
        _copy_model(step.source, step.out_dir)
    engine, found = written(plan, facts, step.out_dir, trt, log)
    signature = signature_of(trt, engine, step.signature)
    return Made(PLAN, signature, (*written_out, *notes_on(found, facts, engine, options), room))


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
    watching = monitor(trt)
    if watching is not None:
        config.progress_monitor = watching
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


def _copy_model(source: Path, out_dir: Path) -> None:
    shutil.copyfile(source, out_dir / WEIGHTS)
    for location in onnx_graph.locations_of(onnx_graph.read_model(source)):
        (out_dir / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / location, out_dir / location)
