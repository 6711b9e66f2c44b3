"""The NVIDIA driver, asked through its own C interface (`cuda.h`): is it here, does it start, which GPUs does it see?

Nothing of NVIDIA's is loaded but the driver's library. It is asked in a worker, and before whatever is built on it: a
runtime that is made without a working driver can end the process by a signal.
"""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlconv.errors import HardwareMissing, MachineError

LIBRARIES: Final = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
"""What the driver's library is called, by `sys.platform`. There is none for macOS."""
_PROC: Final = Path("/proc/driver/nvidia/version")
_MAJOR, _MINOR, _NAME_BYTES = 75, 76, 256  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NO_DEVICE: Final = (100, 101)  # CUDA_ERROR_NO_DEVICE, CUDA_ERROR_INVALID_DEVICE
_GET_DRIVER: Final = (
    "install NVIDIA's driver for the GPU, from the system's own packages or from NVIDIA's site; in a container start "
    "it with the GPUs: docker run --gpus all"
)
_SHOW: Final = "nvidia-smi tells what the driver itself says; in a container start it with the GPUs: --gpus all"
_RELOAD: Final = "restart the machine, so that the driver's module and its library are of one version; then nvidia-smi"


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver tells of it. compute_capability as NVIDIA writes it: "9.0"."""

    name: str
    compute_capability: str
    memory_bytes: int

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability}, {self.memory_bytes / (1 << 30):.0f} GiB)"


@dataclass(frozen=True)
class Driver:
    """The driver that answered. cuda: the newest CUDA that it serves ("12.4"); version: its own, "" if not told."""

    cuda: str
    version: str
    gpus: tuple[Gpu, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able data."""
        return {"cuda": self.cuda, "version": self.version, "gpus": [dict(vars(gpu)) for gpu in self.gpus]}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Driver:
        """The driver that `to_dict` wrote."""
        return Driver(data["cuda"], data["version"], tuple(Gpu(**gpu) for gpu in data["gpus"]))


def probe() -> dict[str, Any]:
    """{"version", "devices"} of the driver, and it as data: see `ask`, which raises what this raises."""
    driver = ask()
    named = f"driver {driver.version or 'of an unknown version'}, for CUDA up to {driver.cuda}"
    return {"version": named, "devices": [str(gpu) for gpu in driver.gpus], "driver": driver.to_dict()}


def ask() -> Driver:
    """What the driver says of itself and of its GPUs. To be called in a worker: the library is foreign code.

    Raises HardwareMissing without its library or without a GPU, MachineError where it is here and does not start.
    """
    name = LIBRARIES.get(sys.platform, LIBRARIES["linux"])
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        if "cannot open shared object file" not in str(error):  # it is there, and is none
            raise MachineError(f"the NVIDIA driver is broken: {error}", mend=_RELOAD) from error
        met = f"the NVIDIA driver is not here: {name} cannot be loaded ({error})"
        raise HardwareMissing(met, wanted="an NVIDIA GPU and its driver", mend=_GET_DRIVER) from error
    try:
        _call(library, "cuInit", 0)
        count, cuda = ctypes.c_int(), ctypes.c_int()
        _call(library, "cuDriverGetVersion", ctypes.byref(cuda))
        _call(library, "cuDeviceGetCount", ctypes.byref(count))
        gpus = tuple(_gpu(library, index) for index in range(count.value))
    except AttributeError as error:
        met = f"the NVIDIA driver is broken: {name} is no driver's library ({error})"
        raise MachineError(met, wanted="the library that NVIDIA's driver brings", mend=_GET_DRIVER) from error
    if not gpus:
        raise _no_gpu(name)
    return Driver(f"{cuda.value // 1000}.{cuda.value % 1000 // 10}", _own_version(), gpus)


def _no_gpu(name: str) -> HardwareMissing:
    return HardwareMissing(f"{name} is here and sees no GPU", wanted="an NVIDIA GPU that it may use", mend=_SHOW)


def _call(library: ctypes.CDLL, function: str, *arguments: Any) -> None:
    code = int(getattr(library, function)(*arguments))
    if code in _NO_DEVICE:
        raise _no_gpu(str(library._name))
    if code:
        met = f"the NVIDIA driver is broken: {function} answers {error_name(library, code)}"
        raise MachineError(met, wanted="CUDA_SUCCESS (0)", mend=_RELOAD)


def error_name(library: ctypes.CDLL, code: int) -> str:
    """What the driver calls one of its errors: "CUDA_ERROR_OUT_OF_MEMORY (2)"."""
    text = ctypes.c_char_p()
    if library.cuGetErrorName(code, ctypes.byref(text)) or not text.value:
        return str(code)
    return f"{text.value.decode(errors='replace')} ({code})"


def _gpu(library: ctypes.CDLL, index: int) -> Gpu:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
    _call(library, "cuDeviceGet", ctypes.byref(device), index)
    _call(library, "cuDeviceGetName", name, _NAME_BYTES, device)
    _call(library, "cuDeviceGetAttribute", ctypes.byref(major), _MAJOR, device)
    _call(library, "cuDeviceGetAttribute", ctypes.byref(minor), _MINOR, device)
    _call(library, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", memory.value)


def _own_version() -> str:
    """The version of the driver's module as the kernel tells it."""
    if not _PROC.exists():
        return ""
    return version_in(_PROC.read_text(encoding="utf-8", errors="replace"))


def version_in(text: str) -> str:
    """The version in what the module tells of itself, of the closed one or the open: "580.159.04"; "" if none is."""
    found = re.search(r"Kernel Module\b.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else ""
