"""The hardware that is really here, as far as a model file can depend on it."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

from dlconv.runtimes.cpu_extensions import cpuinfo
from dlconv.runtimes.nvidia_driver import Driver
from dlconv.runtimes.tensorrt_plan import PlanFacts
from dlconv.workers import gates, toolchains

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TELLING: Final = (
    "avx", "avx2", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16",
    "amx_int8", "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve",
)  # fmt: skip
"""Extensions of x86 and ARM that runtimes choose their kernels, and with them layouts in saved models, by."""


def cpu_name() -> str:
    """What the CPU calls itself."""
    return cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """The architecture, then those of the CPU's extensions that kernels are chosen by, where the system tells them."""
    words = (cpuinfo("flags") or cpuinfo("Features")).split()
    return (platform.machine(), *(name for name in _TELLING if name in words))


def computes_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16, or OpenVINO's plugin has kernels for it (AVX-512 at the least)."""
    return bool({"avx512f", "avx512_bf16", "amx_bf16", "bf16"} & set(cpu_features()))


def misfit(target: str, made_on: Mapping[str, Any], entry: Path) -> str:
    """Why an artifact of `target` does not belong on this machine, "" if it may run. made_on: a receipt's environment.

    A model that ONNX Runtime optimised is laid out for the CPU's vector registers: another kind must not run it. A
    TensorRT plan is of a GPU and a version; what is missing here altogether is told by whoever runs it.
    """
    if target == "tensorrt":
        return _plan_misfit(entry)
    if target != "onnxruntime":
        return ""
    then, now = list(made_on["cpu_features"]), list(cpu_features())
    if then == now:
        return ""
    return (
        f"it is laid out for the CPU that made it ({made_on['cpu']}: {' '.join(then)}), and this one is "
        f"{cpu_name()}: {' '.join(now)}"
    )


def _plan_misfit(plan: Path) -> str:
    facts, driver = PlanFacts.of(plan), gates.nvidia()
    located = toolchains.locate(toolchains.get("tensorrt"))
    if facts is None or not isinstance(driver, Driver) or isinstance(located, toolchains.Missing):
        return ""
    version = next(version for name, version in located.versions.items() if name.startswith("tensorrt"))
    return facts.misfit(version, driver.gpus[0].name, driver.gpus[0].compute_capability)
