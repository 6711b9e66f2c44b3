"""What works on this machine: proved by doing it, in workers, with a time limit; and how to mend the rest."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from dlconv import plugins
from dlconv.convert.edge import Step
from dlconv.convert.graph import Converter, whole_graph
from dlconv.errors import DlconvError
from dlconv.precisions import CALIBRATED
from dlconv.samples import save_npz, to_arrays
from dlconv.workers import tiny_models
from dlconv.workers.toolchains import Located, Missing, Toolchain, every, get, locate, mend_of
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.model import Signature

_RUNTIMES = {
    "torch": ("torch", "dlconv.runtimes.torch:probe"),
    "onnxruntime": ("onnx", "dlconv.runtimes.onnxruntime:probe"),
    "openvino": ("openvino", "dlconv.runtimes.openvino:probe"),
    "tflite": ("tflite", "dlconv.runtimes.tflite:probe"),
    "tflite-runtime": ("tflite-runtime", "dlconv.runtimes.tflite:probe"),
    "tensorflow": ("tensorflow", "dlconv.runtimes.tensorflow:probe"),
    "jax": ("jax", "dlconv.runtimes.jax:probe"),
}
"""Runtime: its toolchain, and the function that proves it."""

_DEVICES = {
    "coral-edge-tpu": ("tflite", "dlconv.runtimes.coral:probe"),
    "edgetpu-compiler": ("tflite", "dlconv.runtimes.coral:probe_compiler"),
}
"""What few machines have, and none needs: as `_RUNTIMES`."""


@dataclass(frozen=True)
class _Tiny:
    """The tiny model that stands for a stage of the graph: its file, what writes it, and in which toolchain, "" where
    every one that reads it can; signature: as much of it as the file tells."""

    file: str
    writer: str
    toolchain: str = ""
    signature: Signature = tiny_models.SIGNATURE

    @property
    def function(self) -> str:
        return f"dlconv.workers.tiny_models:{self.writer}"


_NAMED = tiny_models.NAMED
_TINY = {
    "torchscript": _Tiny("tiny.pt", "write_torchscript"),
    "torch-export": _Tiny("tiny.pt2", "write_torch_export"),
    "onnx": _Tiny("tiny.onnx", "write_onnx", signature=_NAMED),
    "tflite": _Tiny("tiny.tflite", "write_tflite", signature=_NAMED),
    "openvino": _Tiny("tiny.xml", "write_openvino", "openvino", _NAMED),
    "onnx-as-given": _Tiny("tiny.onnx", "write_onnx", signature=_NAMED),
    "tflite-as-given": _Tiny("tiny.tflite", "write_tflite"),
    "saved-model": _Tiny("tiny_saved_model", "write_saved_model", "tensorflow", _NAMED),
    "frozen-graph": _Tiny("tiny.pb", "write_frozen_graph", "tensorflow", _NAMED),
    "keras": _Tiny("tiny.keras", "write_keras", "tensorflow", _NAMED),
    "jax": _Tiny("tiny.jax", "write_jax", "jax", _NAMED),
}


@dataclass(frozen=True)
class Check:
    """One thing that was proved or not. detail says how it works, problems why it does not, mend what to do."""

    kind: Literal["toolchain", "runtime", "converter", "device"]
    name: str
    works: bool
    detail: str = ""
    problems: tuple[str, ...] = ()
    mend: str = ""
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        return {**vars(self), "problems": list(self.problems)}


@dataclass(frozen=True)
class Diagnosis:
    """All checks, and the machine: processor, memory, Python, and the devices that the runtimes see."""

    machine: dict[str, Any]
    checks: tuple[Check, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether all works but devices, which a machine may do without."""
        return all(check.works for check in self.checks if check.kind != "device")

    @property
    def devices(self) -> dict[str, tuple[str, ...]]:
        """The devices that each working runtime sees."""
        return {check.name: tuple(check.facts["devices"]) for check in self.checks if check.facts.get("devices")}

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        return {
            "is_healthy": self.is_healthy,
            "machine": self.machine,
            "devices": {name: list(devices) for name, devices in self.devices.items()},
            "checks": [check.to_dict() for check in self.checks],
        }


def examine(*, timeout_s: float = 120.0, on_check: Callable[[Check], None] | None = None) -> Diagnosis:
    """Prove each toolchain, runtime and converter, each proof for at most `timeout_s` seconds.

    on_check is told of each as it is known, from any thread. Two toolchains are proved side by side.
    """
    tell = on_check or (lambda check: None)
    with ThreadPoolExecutor(max_workers=2) as threads:
        groups = list(threads.map(lambda toolchain: _examine_toolchain(toolchain, timeout_s, tell), every()))
    checks = [check for group in groups for check in group]
    order = ("toolchain", "runtime", "converter", "device")
    return Diagnosis(_machine(), tuple(sorted(checks, key=lambda check: order.index(check.kind))))


def _examine_toolchain(toolchain: Toolchain, timeout_s: float, tell: Callable[[Check], None]) -> list[Check]:
    runtimes = {name: probe for name, (needs, probe) in _RUNTIMES.items() if needs == toolchain.name}
    added = plugins.runtimes().values()
    runtimes |= {runtime.name: f"{runtime.adapter}:probe" for runtime in added if runtime.toolchain == toolchain.name}
    edges = [edge for edge in whole_graph().edges if edge.toolchain == toolchain.name]
    where = locate(toolchain)
    checks = [_check_toolchain(toolchain, where)]
    tell(checks[0])
    if isinstance(where, Missing):
        lacks = (f"the toolchain {toolchain.name} is missing",)
        checks += [Check("runtime", name, False, problems=lacks, mend=where.mend) for name in runtimes]
        checks += [Check("converter", edge.name, False, problems=lacks, mend=where.mend) for edge in edges]
        return checks
    devices = {name: probe for name, (needs, probe) in _DEVICES.items() if needs == toolchain.name}
    with _Bench(toolchain, where, timeout_s) as bench:
        for name, probe in runtimes.items():
            checks.append(bench.prove("runtime", name, partial(bench.probe, probe)))
            tell(checks[-1])
        for edge in edges:
            checks.append(bench.prove("converter", edge.name, partial(bench.convert, edge)))
            tell(checks[-1])
        for name, probe in devices.items():
            checks.append(bench.prove("device", name, partial(bench.probe, probe)))
            tell(checks[-1])
    return checks


def _check_toolchain(toolchain: Toolchain, where: Located | Missing) -> Check:
    if isinstance(where, Missing):
        return Check("toolchain", toolchain.name, False, problems=where.problems, mend=where.mend)
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    facts = {"origin": where.origin, "interpreter": str(where.interpreter), "versions": where.versions}
    return Check("toolchain", toolchain.name, True, f"{versions} ({where.origin})", facts=facts)


class _Bench:
    """A worker of one toolchain, replaced when a proof ends it, and a directory with the tiny models."""

    def __init__(self, toolchain: Toolchain, where: Located, timeout_s: float) -> None:
        self._toolchain = toolchain
        self._where = where
        self._timeout_s = timeout_s
        self._folder = Path(tempfile.mkdtemp(prefix="dlconv-doctor-"))
        self._worker: Worker | None = None
        self._failed = False

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *exit: object) -> None:
        if self._worker is not None:
            self._worker.close()
        if not self._failed:  # an error names the log in it
            shutil.rmtree(self._folder, ignore_errors=True)

    def prove(
        self,
        kind: Literal["runtime", "converter", "device"],
        name: str,
        proof: Callable[[], tuple[str, dict[str, Any]]],
    ) -> Check:
        start = time.perf_counter()
        try:
            detail, facts = proof()
        except DlconvError as error:
            self._failed = self._failed or kind != "device"
            logged = (f"log: {error.log}",) if error.log and kind != "device" else ()
            reasons = (error.met, *error.problems, *logged)
            mend = error.mend or f"install it anew: {mend_of(self._toolchain)}"
            return Check(kind, name, False, problems=reasons, mend=mend, seconds=time.perf_counter() - start)
        return Check(kind, name, True, detail, seconds=time.perf_counter() - start, facts=facts)

    def probe(self, function: str) -> tuple[str, dict[str, Any]]:
        facts: dict[str, Any] = self._call(f"the proof of {self._toolchain.name}", function)
        return f"{facts['version']} on {', '.join(facts['devices'])}", facts

    def convert(self, edge: Converter) -> tuple[str, dict[str, Any]]:
        tiny = _TINY[edge.source]
        source = self._folder / tiny.file
        if not source.exists():
            self._write(tiny, source)
        out_dir = Path(tempfile.mkdtemp(dir=self._folder))
        calibration = None
        if edge.puts in CALIBRATED:
            calibration = self._folder / "calibration.npz"
            save_npz(calibration, to_arrays([tiny_models.sample()]))
        step = Step(source, out_dir, tiny.signature, tiny_models.sample(), dict(edge.settings), calibration=calibration)
        made = self._call(edge.name, "dlconv.workers.tasks:run_edge", module=edge.module, step=step.to_dict())
        entry = out_dir / made["made"]["entry"]
        if not entry.exists():
            raise DlconvError(f"{edge.name} says that it made {entry.name}, and did not")
        return f"{edge.source} -> {edge.target}: {edge.why}", {}

    def _write(self, tiny: _Tiny, path: Path) -> None:
        what = f"writing {tiny.file}"
        if tiny.toolchain in ("", self._toolchain.name):
            self._call(what, tiny.function, path=str(path))
            return
        where = locate(get(tiny.toolchain))
        if isinstance(where, Missing):
            raise where.error()
        log = self._folder / f"{tiny.toolchain}.log"
        with Worker(where.interpreter, tiny.toolchain, log, timeout_s=self._timeout_s) as worker:
            worker.call(tiny.function, what=what, path=str(path))

    def _call(self, what: str, function: str, **args: Any) -> Any:
        if self._worker is None or not self._worker.is_alive:
            log = self._folder / f"{self._toolchain.name}.log"
            self._worker = Worker(self._where.interpreter, self._toolchain.name, log, timeout_s=self._timeout_s)
        return self._worker.call(function, what=what, **args)


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "interpreter": sys.executable,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor()  # no Linux
    return platform.processor() or platform.machine()
