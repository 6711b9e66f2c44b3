"""AMD's ROCm, asked through HIP's own C interface (`hip_runtime_api.h`): is it here, does it start, which GPUs?"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Final

from dlconv.errors import HardwareMissing, MachineError

DRIVER: Final = Path("/dev/kfd")
_FILES: Final = ("libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so")
_NO_DEVICE: Final = 100  # hipErrorNoDevice
_NAME_BYTES: Final = 256
GET: Final = "install ROCm and AMD's kernel driver (amdgpu-dkms) from AMD's package repository"


def probe() -> dict[str, Any]:
    """{"version", "devices"} of HIP and the GPUs that it sees.

    Raises HardwareMissing without the driver, the library or a GPU, MachineError where it does not start.
    """
    if not DRIVER.exists():
        raise HardwareMissing(f"ROCm is not here: there is no {DRIVER}", wanted="an AMD GPU and ROCm", mend=GET)
    library = _loaded()
    try:
        _call(library, "hipInit", 0)
        version, count = ctypes.c_int(), ctypes.c_int()
        _call(library, "hipRuntimeGetVersion", ctypes.byref(version))
        _call(library, "hipGetDeviceCount", ctypes.byref(count))
        devices = [_name(library, index) for index in range(count.value)]
    except AttributeError as error:
        met = f"ROCm is broken: {library._name} is no library of HIP ({error})"
        raise MachineError(met, wanted="AMD's library", mend=GET) from error
    if not devices:
        raise HardwareMissing(f"{library._name} is here and sees no GPU", wanted="an AMD GPU", mend="rocminfo")
    number = version.value
    return {"version": f"HIP {number // 10**7}.{number // 10**5 % 100}", "devices": devices}


def _loaded() -> ctypes.CDLL:
    problems: list[str] = []
    for name in _FILES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            problems.append(str(error))
    raise HardwareMissing(
        f"ROCm is not here: none of {', '.join(_FILES)} can be loaded",
        wanted="HIP's library",
        mend=GET,
        problems=tuple(problems),
    )


def _call(library: ctypes.CDLL, function: str, *arguments: Any) -> None:
    code = int(getattr(library, function)(*arguments))
    if code == _NO_DEVICE:
        raise HardwareMissing(f"{library._name} is here and sees no GPU", wanted="an AMD GPU", mend="rocminfo")
    if code:
        met = f"ROCm is broken: {function} answers {code}"
        raise MachineError(met, wanted="hipSuccess (0)", mend="rocminfo tells what ROCm itself says")


def _name(library: ctypes.CDLL, index: int) -> str:
    name, device = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_int()
    _call(library, "hipDeviceGet", ctypes.byref(device), index)
    _call(library, "hipDeviceGetName", name, _NAME_BYTES, device)
    return name.value.decode(errors="replace")
