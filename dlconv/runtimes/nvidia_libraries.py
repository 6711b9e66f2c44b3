"""NVIDIA's libraries besides the driver: cuBLAS, cuDNN and TensorRT's core, each loaded and asked for what it is.

The driver is asked first, and by the caller: see `dlconv.hardware.probes`. A library that is made to work without one
can end the process by a signal.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlconv.errors import MachineError, PackagesMissing


@dataclass(frozen=True)
class Library:
    """files: what it is called, the newest first. ask: its version, proved by making what it works with."""

    title: str
    files: tuple[str, ...]
    package: str
    ask: Callable[[ctypes.CDLL], str]


def probe(name: str) -> dict[str, Any]:
    """{"version", "devices"}: the library's version, and the file that it is.

    Raises PackagesMissing where no such library can be loaded, MachineError where it does not start.
    """
    wanted = LIBRARIES[name]
    problems: list[str] = []
    for file in wanted.files:
        for path in (file, *_in_packages(file)):
            try:
                library = ctypes.CDLL(path)
            except OSError as error:
                problems.append(str(error))
                continue
            try:
                return {"version": f"{wanted.title} {wanted.ask(library)}", "devices": [path]}
            except AttributeError as error:
                met = f"{path} is broken: it is no library of {wanted.title} ({error})"
                raise MachineError(met, wanted=wanted.title, mend=_mend(wanted)) from error
    raise PackagesMissing(
        f"{wanted.title} is not here: none of {', '.join(wanted.files)} can be loaded",
        wanted="its library where the system's loader finds it, or NVIDIA's package of it",
        mend=_mend(wanted),
        problems=tuple(dict.fromkeys(problems)),
    )


def _mend(library: Library) -> str:
    return f"pip install {library.package}, of the CUDA that the driver serves; or NVIDIA's package for the system"


def _in_packages(file: str) -> list[str]:
    """Where NVIDIA's Python packages have the file: site-packages/nvidia/*/lib, or a folder of TensorRT's own."""
    roots = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
    places = ("nvidia/*/lib", "tensorrt_libs", "tensorrt")
    return [str(path) for root in roots for place in places for path in sorted(root.glob(f"{place}/{file}"))]


def _cublas(library: ctypes.CDLL) -> str:
    handle, version = ctypes.c_void_p(), ctypes.c_int()
    _check("cublasCreate", library.cublasCreate_v2(ctypes.byref(handle)))
    _check("cublasGetVersion", library.cublasGetVersion_v2(handle, ctypes.byref(version)))
    _check("cublasDestroy", library.cublasDestroy_v2(handle))
    return _dotted(version.value)


def _cudnn(library: ctypes.CDLL) -> str:
    library.cudnnGetVersion.restype = ctypes.c_size_t
    handle = ctypes.c_void_p()
    _check("cudnnCreate", library.cudnnCreate(ctypes.byref(handle)))
    _check("cudnnDestroy", library.cudnnDestroy(handle))
    return _dotted(library.cudnnGetVersion())


def _tensorrt(library: ctypes.CDLL) -> str:
    # No builder or runtime is made: without a device that it knows, that can end the process.
    return _dotted(library.getInferLibVersion())


def _check(function: str, status: int) -> None:
    if status:
        raise MachineError(f"broken: {function} answers {status}", wanted="0", mend="dlconv doctor: the driver")


def _dotted(number: int) -> str:
    """8503 is 8.5.3, as NVIDIA's libraries wrote it; 100300 is 10.3.0, as they do since they have major 10."""
    major, rest = (number // 10000, number % 10000) if number >= 90000 else (number // 1000, number % 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


LIBRARIES: Final = {
    "cublas": Library("cuBLAS", ("libcublas.so.13", "libcublas.so.12", "libcublas.so.11"), "nvidia-cublas", _cublas),
    "cudnn": Library("cuDNN", ("libcudnn.so.9", "libcudnn.so.8"), "nvidia-cudnn-cu12", _cudnn),
    "libnvinfer": Library(
        "TensorRT",
        ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.9", "libnvinfer.so.8"),
        "tensorrt",
        _tensorrt,
    ),
}
"""By the name that `dlconv doctor` shows."""
