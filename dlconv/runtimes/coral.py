"""The Coral Edge TPU: whether its library and a device are here, and its compiler. No model is run on it yet.

The library is asked through its own C interface (`edgetpu_c.h`), and then loaded as TFLite's delegate, in a worker:
a driver that is broken can end the process.
"""

from __future__ import annotations

import ctypes
import shutil
import sys
from typing import Any, Final

from dlconv.errors import HardwareMissing, MachineError, PackagesMissing
from dlconv.runtimes.tflite import load_package

LIBRARIES: Final = {"linux": "libedgetpu.so.1", "darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}
"""What the library is called, by `sys.platform`."""
COMPILER: Final = "edgetpu_compiler"
_KINDS: Final = {0: "PCI", 1: "USB"}
_MEND: Final = (
    "plug the device in; install the Debian package libedgetpu1-std from Coral's own package repository, or on another "
    "system the Edge TPU runtime from Coral's site; and for a PCI or M.2 module the package gasket-dkms"
)
_COMPILER_MEND: Final = (
    "install the Debian package edgetpu-compiler from Coral's own package repository: there is one for Linux on x86-64 "
    "alone; its file then runs on any machine with the device"
)


class _Device(ctypes.Structure):
    """struct edgetpu_device"""

    _fields_ = (("type", ctypes.c_int), ("path", ctypes.c_char_p))


def probe() -> dict[str, Any]:
    """{"version", "devices"} of the Edge TPU, proved by making TFLite's delegate for it.

    Raises MachineError that says which is missing, the library or a device, or that the delegate is broken.
    """
    name = LIBRARIES.get(sys.platform, LIBRARIES["linux"])
    try:
        library = ctypes.CDLL(name)
        devices, version = _devices(library), _version(library)
    except (OSError, AttributeError) as error:
        raise HardwareMissing(
            f"not here: {name} cannot be loaded ({error})", wanted="its runtime", mend=_MEND
        ) from error
    if not devices:
        raise HardwareMissing(f"not here: {version} sees no device", wanted="an Edge TPU on USB or PCI", mend=_MEND)
    package, package_version, interpreters = load_package()
    try:
        interpreters.load_delegate(name)
    except (ValueError, RuntimeError, OSError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise MachineError(
            f"broken: {version} sees {', '.join(devices)}, but {package} {package_version} gets no delegate: {why}",
            wanted="a library that was built for this runtime",
            mend="unplug the device and plug it in again; then put library and runtime at versions of one time",
        ) from error
    return {"version": version, "devices": devices, "package": package}


def probe_compiler() -> dict[str, Any]:
    """{"version", "devices"}: where `edgetpu_compiler` is. Raises MachineError with the way to get it."""
    found = shutil.which(COMPILER)
    if found is None:
        raise PackagesMissing(f"not here: there is no {COMPILER} on the PATH", wanted=COMPILER, mend=_COMPILER_MEND)
    return {"version": found, "devices": ["the compiler alone"]}


def _devices(library: ctypes.CDLL) -> list[str]:
    """Kind and path of each device that the library sees."""
    library.edgetpu_list_devices.restype = ctypes.POINTER(_Device)
    library.edgetpu_list_devices.argtypes = [ctypes.POINTER(ctypes.c_size_t)]
    library.edgetpu_free_devices.argtypes = [ctypes.POINTER(_Device)]
    count = ctypes.c_size_t(0)
    first = library.edgetpu_list_devices(ctypes.byref(count))
    if not first:
        return []
    try:
        return [_named(first[index]) for index in range(count.value)]
    finally:
        library.edgetpu_free_devices(first)


def _named(device: _Device) -> str:
    return f"{_KINDS.get(device.type, 'unknown')} {(device.path or b'').decode(errors='replace')}"


def _version(library: ctypes.CDLL) -> str:
    library.edgetpu_version.restype = ctypes.c_char_p
    return (library.edgetpu_version() or b"").decode(errors="replace")
