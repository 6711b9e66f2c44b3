"""Gates: hardware that a toolchain needs besides its packages, asked for before any work. No framework is imported.

The driver is asked in a process of its own, with a time limit, once a run: one that is broken can end the process that
loads it. That process loads the standard library alone, so that the answer takes no time where there is no driver.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dlconv.errors import DlconvError, HardwareMissing, MachineError
from dlconv.runtimes.nvidia_driver import Driver
from dlconv.runtimes.rocm import DRIVER as ROCM
from dlconv.runtimes.rocm import GET as GET_ROCM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DRIVER, GPU = "NVIDIA driver", "NVIDIA GPU"
_LIMIT_S: Final = 30.0
_ASK: Final = """
import json, sys
sys.path.append(sys.argv[1])
from dlconv.errors import DlconvError
from dlconv.runtimes.nvidia_driver import ask
try:
    print(json.dumps({"driver": ask().to_dict()}))
except DlconvError as error:
    print(json.dumps({"error": error.to_dict()}))
"""
_PACKAGE_ROOT: Final = Path(__file__).parents[2]
_VENDOR, _DISPLAY = "0x10de", "0x03"
"""NVIDIA's number on the PCI bus, and how the classes of what draws or computes begin."""
_GPU_MEND: Final = "use a machine with an NVIDIA GPU"


@dataclass(frozen=True)
class Gap:
    """A device or its driver that is not here, or does not work: which, how that was seen, and what to do."""

    name: str
    problem: str
    mend: str


def gaps(gate: str) -> tuple[Gap, ...]:
    """What a gate finds missing on this machine; () for the name of no gate, ""."""
    return GATES[gate]() if gate else ()


def check(gate: str) -> None:
    """Raises HardwareMissing with all that a gate finds missing."""
    found = gaps(gate)
    if found:
        raise HardwareMissing(
            f"this machine lacks {' and '.join(gap.name for gap in found)}",
            mend="\n".join(dict.fromkeys(gap.mend for gap in found)),
            problems=tuple(f"{gap.name}: {gap.problem}" for gap in found),
        )


@cache
def nvidia() -> Driver | DlconvError:
    """NVIDIA's driver as it tells of itself, or why it does not."""
    asked = [sys.executable, "-I", "-S", "-c", _ASK, str(_PACKAGE_ROOT)]
    mend = "nvidia-smi tells what the driver itself says; restart the machine"
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return MachineError(f"the NVIDIA driver is broken: it did not answer in {_LIMIT_S:.0f} s", mend=mend)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        how = f"by signal {-done.returncode}" if done.returncode < 0 else f"with status {done.returncode}"
        return MachineError(f"the NVIDIA driver is broken: the process that asked it was ended {how}", mend=mend)
    return Driver.from_dict(answer["driver"]) if "driver" in answer else DlconvError.from_dict(answer["error"])


def on_the_bus(root: Path = Path("/sys/bus/pci/devices")) -> list[str]:
    """The PCI addresses of NVIDIA's GPUs, whether there is a driver or not."""
    found: list[str] = []
    for device in sorted(root.iterdir()) if root.is_dir() else ():
        vendor, kind = device / "vendor", device / "class"
        if vendor.is_file() and kind.is_file() and vendor.read_text().strip() == _VENDOR:
            found += [device.name] if kind.read_text().startswith(_DISPLAY) else []
    return found


def _nvidia() -> tuple[Gap, ...]:
    answer = nvidia()
    if isinstance(answer, Driver):
        return ()
    seen, mend = "none is on the PCI bus", _GPU_MEND
    if addresses := on_the_bus():
        seen, mend = f"one is on the PCI bus ({', '.join(addresses)}), and no driver serves it", answer.mend
    return (Gap(DRIVER, answer.met, answer.mend), Gap(GPU, seen, mend))


def _rocm() -> tuple[Gap, ...]:
    # Without the kernel's driver HIP has nothing to ask; with it the provider's own proof does.
    if ROCM.exists():
        return ()
    return (Gap("AMD GPU", f"its driver is not here: there is no {ROCM}", GET_ROCM),)


GATES: Final[Mapping[str, Callable[[], tuple[Gap, ...]]]] = {"nvidia": _nvidia, "rocm": _rocm}
"""Each gate's question, by the name that toolchains know it by."""
