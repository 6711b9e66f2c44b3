"""OpenVINO on the CPU."""

from __future__ import annotations

import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import HardwareMissing, SamplesError, Unsupported
from dlconv.runtimes import openvino_account
from dlconv.runtimes.openvino_ports import import_openvino

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.model import Signature
    from dlconv.runtimes.base import Tensors

DEVICE = "CPU"
_COARSEST_FIRST = ("bfloat16", "float16", "float32", "float64", "unknown")
_NOT_COMPUTED = {"Input", "Output", "Const"}
_DRIVERS = {
    "GPU": "install Intel's compute runtime for the GPU (Debian: intel-opencl-icd) and join the group render",
    "NPU": "install Intel's driver for the NPU (linux-npu-driver, with its firmware) and join the group render",
}
_PRECISIONS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "f64": "float64"}


def probe() -> dict[str, Any]:
    """Run a tiny model; returns {"version", "devices"}. Any exception means that OpenVINO does not work here."""
    ov = import_openvino()
    _run_tiny(DEVICE)
    return {"version": str(ov.get_version()), "devices": list(ov.Core().available_devices)}


def probe_device(device: str) -> dict[str, Any]:
    """As `probe`, on "GPU" or "NPU"; devices: its full name. Raises HardwareMissing where OpenVINO sees none."""
    ov = import_openvino()
    core = ov.Core()
    seen = [name for name in core.available_devices if name.partition(".")[0] == device]
    if not seen:
        raise HardwareMissing(
            f"OpenVINO {ov.get_version()} sees no {device}, but {', '.join(core.available_devices)}",
            wanted=f"an {device} of Intel's",
            mend=_DRIVERS[device],
        )
    _run_tiny(seen[0])
    return {"version": str(ov.get_version()), "devices": [str(core.get_property(seen[0], "FULL_DEVICE_NAME"))]}


def _run_tiny(device: str) -> None:
    ov = import_openvino()
    ops: Any = import_module("openvino.opset13")
    given = ops.parameter([2], np.float32, name="x")
    compiled = ov.Core().compile_model(ov.Model([ops.relu(given)], [given], "tiny"), device)
    answer = compiled(np.array([1.0, -2.0], np.float32))[0]
    if answer.tolist() != [1.0, 0.0]:
        raise Unsupported(f"OpenVINO's {device} answers {answer.tolist()} to Relu of [1, -2]", wanted="[1, 0]")


def open(path: Path | str, signature: Signature, settings: dict[str, Any]) -> OpenVinoSession:
    """Load the IR (its .xml) at `path`, asking for float32 and low latency unless the settings say otherwise.

    settings: "precision" ("float32", the default, "bfloat16" or "float16": a wish, `placement` tells what came of it;
    "default" leaves it to the plugin, which takes bfloat16 on some CPUs), "hint" ("LATENCY", the default, or
    "THROUGHPUT"), "pinning" (of threads to CPUs; without, as OpenVINO does it), "threads" (0: as many as it chooses),
    "account" (True to tell what of the model is in which precision).
    """
    return OpenVinoSession(Path(path), signature, settings)


class OpenVinoSession:
    """A model compiled for the CPU. compile_ms: what compiling took after reading, in milliseconds."""

    def __init__(self, path: Path, signature: Signature, settings: dict[str, Any]) -> None:
        ov = import_openvino()
        wishes: dict[str, Any] = {"PERFORMANCE_HINT": settings.get("hint", "LATENCY")}
        if (precision := settings.get("precision", "float32")) != "default":
            wishes["INFERENCE_PRECISION_HINT"] = {long: short for short, long in _PRECISIONS.items()}[precision]
        if "pinning" in settings:
            wishes["ENABLE_CPU_PINNING"] = bool(settings["pinning"])
        if settings.get("threads"):
            wishes["INFERENCE_NUM_THREADS"] = int(settings["threads"])
        self._version = str(ov.get_version())
        core = ov.Core()
        model = core.read_model(str(path))
        self._account = openvino_account.of(model) if settings.get("account") else None
        start = time.perf_counter_ns()
        self._compiled: Any = core.compile_model(model, DEVICE, wishes)
        self.compile_ms = (time.perf_counter_ns() - start) / 1e6
        self._request: Any = self._compiled.create_infer_request()
        self._inputs = {spec.name for spec in signature.inputs}
        self._ports = {spec.name: _place_of(self._compiled.outputs, spec.name) for spec in signature.outputs}

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name. Raises SamplesError if the inputs' names do not fit."""
        call, read = self.bound(inputs)
        return read(call())

    def bound(self, inputs: Tensors) -> tuple[Callable[[], Any], Callable[[Any], Tensors]]:
        """See `dlconv.runtimes.base.Timeable`. A call sets the tensors, resets the state where there is any, infers."""
        ov, request = import_openvino(), self._request
        if set(inputs) != self._inputs:
            raise SamplesError(f"inputs {sorted(inputs)} were given", wanted=f"{sorted(self._inputs)}")
        tensors = {name: ov.Tensor(np.require(value, requirements="C")) for name, value in inputs.items()}
        states = request.query_state()

        def call() -> None:
            for name, tensor in tensors.items():
                request.set_tensor(name, tensor)
            for state in states:
                state.reset()
            request.infer()

        return call, self._read

    def _read(self, _: Any) -> Tensors:
        return {name: self._request.get_output_tensor(place).data.copy() for name, place in self._ports.items()}

    def placement(self) -> dict[str, Any]:
        """The compiled model's own account of its execution graph.

        precision is the coarsest floating precision that any executed operator ran in; precisions counts them all.
        Bodies of control flow are not in the graph: without any floating operator the plugin's own setting is told.
        """
        kinds: Counter[str] = Counter()
        for node in self._compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            if "runtimePrecision" in info and str(info["layerType"].astype(str)) not in _NOT_COMPUTED:
                kinds[str(info["runtimePrecision"].astype(str))] += 1
        setting = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        floats = [_PRECISIONS[kind] for kind in kinds if kind in _PRECISIONS] or [_PRECISIONS.get(setting, "unknown")]
        return {
            "runtime": "openvino",
            "version": self._version,
            "device": ", ".join(self._compiled.get_property("EXECUTION_DEVICES")),
            "precision": min(floats, key=_COARSEST_FIRST.index),
            "precisions": dict(kinds),
            "precision_setting": setting,
            "hint": str(self._compiled.get_property("PERFORMANCE_HINT")).rpartition(".")[2],
            "pinning": bool(self._compiled.get_property("ENABLE_CPU_PINNING")),
            "threads": int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            **self._told(),
        }

    def _told(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"account": {**self._account, "ran": openvino_account.of_compiled(self._compiled)}}


def _place_of(ports: Any, name: str) -> int:
    for place, port in enumerate(ports):
        if name in port.get_names():
            return place
    raise Unsupported(
        f"the compiled model has no output named {name!r}",
        wanted=f"one of {[sorted(port.get_names()) for port in ports]}",
    )
