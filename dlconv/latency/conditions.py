"""The machine as times depend on it: a time that was measured under other conditions is another time."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, Final

import psutil

from dlconv.hardware.here import cpu_features, cpu_name
from dlconv.latency.benching import available_cpus
from dlconv.runtimes.nvidia_driver import Driver
from dlconv.workers import gates

_FILES: Final = {
    "machine": "/etc/machine-id",
    "boot": "/proc/sys/kernel/random/boot_id",  # after another start its settings may be others
    "quota": "/sys/fs/cgroup/cpu.max",
    "governor": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "turbo": "/sys/devices/system/cpu/intel_pstate/no_turbo",
}
_VARIABLES: Final = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "ORT_", "OV_", "TF_", "LD_PRELOAD", "MALLOC_")
"""How the names of variables begin that runtimes, their threads and their memory obey."""


def conditions() -> dict[str, Any]:
    """What tells this machine, as it is now, from another: JSON-able. What the system does not tell is "" or None."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    driver = gates.nvidia()
    return {
        **{name: _read(path) for name, path in _FILES.items()},
        "node": platform.node(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cpu_features": list(cpu_features()),
        "cpus": list(available_cpus()),
        "cores": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "is_plugged": None if battery is None else battery.power_plugged,
        "gpus": [f"{gpu.name}, driver {driver.version}" for gpu in driver.gpus] if isinstance(driver, Driver) else [],
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)},
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
