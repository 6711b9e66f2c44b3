"""The NVIDIA driver is asked in a worker; whatever its library does, the parent learns a line of it and lives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlconv.errors import DlconvError, HardwareMissing, MachineError, WorkerCrashed, WorkerTimedOut
from dlconv.runtimes.nvidia_driver import Driver, version_in
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library is planted by LD_LIBRARY_PATH")
WORKS, NO_GPU, FAILS, ABORTS, HANGS, EMPTY, NO_COUNT = range(7)


def asked(tmp_path: Path, timeout_s: float = 30) -> dict[str, Any]:
    with Worker(Path(sys.executable), "driver", tmp_path / "driver.log", timeout_s=timeout_s) as worker:
        found: dict[str, Any] = worker.call("dlconv.runtimes.nvidia_driver:probe")
    return found


def test_a_driver_tells_its_gpus(plant: Callable[..., Path], tmp_path: Path) -> None:
    plant("libcuda.c", "libcuda.so.1", WAY=WORKS)
    found = asked(tmp_path)
    assert found["devices"] == [
        "Planted A (compute capability 9.0, 80 GiB)",
        "Planted B (compute capability 8.6, 24 GiB)",
    ]
    driver = Driver.from_dict(found["driver"])
    assert driver.cuda == "12.4" and "12.4" in found["version"]
    assert [(gpu.name, gpu.compute_capability) for gpu in driver.gpus] == [("Planted A", "9.0"), ("Planted B", "8.6")]


@pytest.mark.parametrize(
    ("way", "error", "says"),
    [
        (NO_GPU, HardwareMissing, "sees no GPU"),
        (NO_COUNT, HardwareMissing, "sees no GPU"),
        (FAILS, MachineError, "cuInit answers CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"),
        (EMPTY, MachineError, "is no driver's library"),
        (ABORTS, WorkerCrashed, "SIGABRT"),
        (HANGS, WorkerTimedOut, "time limit"),
    ],
    ids=["no GPU", "none counted", "fails", "not a driver", "aborts", "hangs"],
)
def test_a_driver_that_does_not_serve_is_told_apart(
    way: int, error: type[DlconvError], says: str, plant: Callable[..., Path], tmp_path: Path
) -> None:
    plant("libcuda.c", "libcuda.so.1", WAY=way)
    with pytest.raises(error) as met:
        asked(tmp_path, timeout_s=2 if way == HANGS else 30)
    assert type(met.value) is error and says in met.value.met and met.value.mend


def test_without_a_driver_that_is_said(tmp_path: Path) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver")
    with pytest.raises(HardwareMissing) as met:
        asked(tmp_path)
    assert "libcuda.so.1 cannot be loaded" in met.value.met and "install NVIDIA's driver" in met.value.mend


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n", "535.104.05"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)  \n"
            "GCC version:  gcc version 13.3.0\n",
            "580.159.04",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n", "540.4.0"),
        ("no module\n", ""),
    ],
    ids=["closed", "open", "Jetson", "none"],
)
def test_the_version_is_read_of_either_module(text: str, version: str) -> None:
    assert version_in(text) == version
