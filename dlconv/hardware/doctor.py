"""What works on this machine: proved by doing it, in workers, with a time limit; and how to mend the rest."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from dlconv import plugins
from dlconv.asked.precisions import CALIBRATED
from dlconv.convert.edge import Step
from dlconv.convert.edges import whole_graph
from dlconv.convert.graph import Converter
from dlconv.errors import DlconvError, HardwareMissing, PackagesMissing, ToolchainMissing
from dlconv.hardware.probes import PROBES, Kind, Probe
from dlconv.samples import save_npz, to_arrays
from dlconv.workers import gates, tiny_models
from dlconv.workers.toolchains import Located, Missing, Toolchain, every, get, locate, mend_of
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dlconv.model import Signature

Standing = Literal["works", "not here", "broken"]
"""What was found of a thing. "not here": a package, a device or an extension of the CPU is missing; "broken": it is
here, and failed the proof."""
_MISSING = (HardwareMissing, PackagesMissing, ToolchainMissing)
_OPTIONAL = ("provider", "delegate", "device")
_ORDER = ("toolchain", "runtime", "converter", *_OPTIONAL)
_Proof = tuple[str, dict[str, Any]]
"""How a thing works, and what is known of it."""


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
    "onnx-symmetric": _Tiny("tiny.onnx", "write_onnx", signature=_NAMED),
    "onnx-bfloat16": _Tiny("tiny.onnx", "write_onnx", signature=_NAMED),
    "onnx-as-given": _Tiny("tiny.onnx", "write_onnx", signature=_NAMED),
    "tflite-as-given": _Tiny("tiny.tflite", "write_tflite"),
    "saved-model": _Tiny("tiny_saved_model", "write_saved_model", "tensorflow", _NAMED),
    "frozen-graph": _Tiny("tiny.pb", "write_frozen_graph", "tensorflow", _NAMED),
    "keras": _Tiny("tiny.keras", "write_keras", "tensorflow", _NAMED),
    "jax": _Tiny("tiny.jax", "write_jax", "jax", _NAMED),
}


@dataclass(frozen=True)
class Check:
    """One thing that was proved or not. detail says how it works, problems why it does not, mend what to do.

    is_gated: it is of a toolchain that is for hardware of its own.
    """

    kind: Kind
    name: str
    standing: Standing
    detail: str = ""
    problems: tuple[str, ...] = ()
    mend: str = ""
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    is_gated: bool = False

    @property
    def works(self) -> bool:
        return self.standing == "works"

    @property
    def is_optional(self) -> bool:
        """Whether a machine may do without it. What is here and broken it does not do without."""
        return (self.kind in _OPTIONAL or self.is_gated) and self.standing != "broken"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        return {**vars(self), "works": self.works, "problems": list(self.problems)}


@dataclass(frozen=True)
class Diagnosis:
    """All checks, and the machine: processor, memory, Python, and the devices that the runtimes see."""

    machine: dict[str, Any]
    checks: tuple[Check, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is broken, and all is here but what a machine may do without."""
        return all(check.works or check.is_optional for check in self.checks)

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
    """Prove each toolchain, runtime, converter, delegate and device, each proof for at most `timeout_s` seconds.

    on_check is told of each as it is known, from any thread. Drivers are asked first; then two toolchains are proved
    side by side.
    """
    tell = on_check or (lambda check: None)
    drivers = _examine_drivers(timeout_s, tell)
    known = {check.name: check for check in drivers}
    with ThreadPoolExecutor(max_workers=2) as threads:
        groups = list(threads.map(lambda toolchain: _examine_toolchain(toolchain, timeout_s, tell, known), every()))
    checks = [check for group in groups for check in group] + drivers
    return Diagnosis(_machine(), tuple(sorted(checks, key=lambda check: _ORDER.index(check.kind))))


def _examine_drivers(timeout_s: float, tell: Callable[[Check], None]) -> list[Check]:
    """What needs no toolchain, in dlconv's own interpreter."""
    checks: dict[str, Check] = {}
    with _Bench("drivers", Path(sys.executable), timeout_s, "") as bench:
        for probe in (probe for probe in PROBES if not probe.toolchain):
            checks[probe.name] = bench.prove_after(probe, checks)
            tell(checks[probe.name])
    return list(checks.values())


def _examine_toolchain(
    toolchain: Toolchain, timeout_s: float, tell: Callable[[Check], None], known: Mapping[str, Check]
) -> list[Check]:
    probes = [probe for probe in PROBES if probe.toolchain == toolchain.name]
    added = [each for each in plugins.runtimes().values() if each.toolchain == toolchain.name]
    probes += [Probe("runtime", each.name, each.toolchain, f"{each.adapter}:probe") for each in added]
    edges = [edge for edge in whole_graph().edges if edge.toolchain == toolchain.name]
    where, gaps = locate(toolchain), gates.gaps(toolchain.gate)
    is_gated = bool(toolchain.gate)
    checks = [replace(_check_toolchain(toolchain, where, gaps), is_gated=is_gated)]
    tell(checks[0])
    if gaps or isinstance(where, Missing):
        lacks = (f"the toolchain {toolchain.name} is missing",)
        names = [(probe.kind, probe.name) for probe in probes]
        names += [("converter", edge.name) for edge in edges]
        return checks + [replace(checks[0], kind=kind, name=name, problems=lacks) for kind, name in names]
    with _Bench(toolchain.name, where.interpreter, timeout_s, f"install it anew: {mend_of(toolchain)}") as bench:
        for probe in probes:
            checks.append(replace(bench.prove_after(probe, known), is_gated=is_gated))
            tell(checks[-1])
        for edge in edges:
            proved = bench.prove("converter", edge.name, partial(bench.convert, edge))
            checks.append(replace(proved, is_gated=is_gated))
            tell(checks[-1])
    return checks


def _check_toolchain(toolchain: Toolchain, where: Located | Missing, gaps: tuple[gates.Gap, ...]) -> Check:
    lacks, mends = tuple(f"{gap.name}: {gap.problem}" for gap in gaps), [gap.mend for gap in gaps]
    if isinstance(where, Missing):
        lacks, mends = (*lacks, *where.problems), [*mends, where.mend]
    if lacks or isinstance(where, Missing):
        mend = "; ".join(dict.fromkeys(mends))
        return Check("toolchain", toolchain.name, "not here", "", lacks, mend)
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    facts = {"origin": where.origin, "interpreter": str(where.interpreter), "versions": where.versions}
    return Check("toolchain", toolchain.name, "works", f"{versions} ({where.origin})", facts=facts)


class _Bench:
    """A worker of one toolchain, replaced when a proof ends it, and a directory with the tiny models.

    mend: what to do where a proof fails and does not say it itself.
    """

    def __init__(self, toolchain: str, interpreter: Path, timeout_s: float, mend: str) -> None:
        self._toolchain = toolchain
        self._interpreter = interpreter
        self._timeout_s = timeout_s
        self._mend = mend
        self._folder = Path(tempfile.mkdtemp(prefix="dlconv-doctor-"))
        self._worker: Worker | None = None
        self._is_log_told = False

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *exit: object) -> None:
        if self._worker is not None:
            self._worker.close()
        if not self._is_log_told:
            shutil.rmtree(self._folder, ignore_errors=True)

    def prove_after(self, probe: Probe, known: Mapping[str, Check]) -> Check:
        """As `prove`, unless what has to work before it does not: then it is not even tried."""
        first = known.get(probe.after)
        if first is not None and not first.works:
            why = (f"{first.name} is {first.standing}", *first.problems)
            return Check(probe.kind, probe.name, "not here", problems=why, mend=first.mend)
        return self.prove(probe.kind, probe.name, partial(self.probe, probe))

    def prove(self, kind: Kind, name: str, proof: Callable[[], _Proof]) -> Check:
        start = time.perf_counter()
        try:
            detail, facts = proof()
        except _MISSING as error:
            seconds, problems = time.perf_counter() - start, (error.met, *error.problems)
            return Check(kind, name, "not here", problems=problems, mend=error.mend or self._mend, seconds=seconds)
        except DlconvError as error:
            self._is_log_told = self._is_log_told or bool(error.log)
            reasons = (error.met, *error.problems, *((f"log: {error.log}",) if error.log else ()))
            mend, seconds = error.mend or self._mend, time.perf_counter() - start
            return Check(kind, name, "broken", problems=reasons, mend=mend, seconds=seconds)
        return Check(kind, name, "works", detail, seconds=time.perf_counter() - start, facts=facts)

    def probe(self, probe: Probe) -> _Proof:
        facts: dict[str, Any] = self._call(f"the proof of {probe.name}", probe.function, **dict(probe.settings))
        return f"{facts['version']} on {', '.join(facts['devices'])}", facts

    def convert(self, edge: Converter) -> _Proof:
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
        if tiny.toolchain in ("", self._toolchain):
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
            log = self._folder / f"{self._toolchain}.log"
            self._worker = Worker(self._interpreter, self._toolchain, log, timeout_s=self._timeout_s)
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
