"""cuBLAS, cuDNN, TensorRT's core and ROCm: libraries that are loaded and asked; planted ones, since few machines have
them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlconv.errors import HardwareMissing, MachineError, PackagesMissing
from dlconv.runtimes import nvidia_libraries, rocm
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the libraries are planted by LD_LIBRARY_PATH")
PLANTED = {"cublas": "libcublas.so.12", "cudnn": "libcudnn.so.9", "libnvinfer": "libnvinfer.so.8"}


def asked(tmp_path: Path, name: str) -> dict[str, Any]:
    with Worker(Path(sys.executable), "libraries", tmp_path / "libraries.log", timeout_s=30) as worker:
        found: dict[str, Any] = worker.call("dlconv.runtimes.nvidia_libraries:probe", name=name)
    return found


@pytest.mark.parametrize(
    ("name", "version"), [("cublas", "cuBLAS 12.3.4"), ("cudnn", "cuDNN 9.1.0"), ("libnvinfer", "TensorRT 8.5.3")]
)
def test_a_library_tells_its_version(name: str, version: str, plant: Callable[..., Path], tmp_path: Path) -> None:
    plant("accelerators.c", PLANTED[name], STATUS=0, GPUS=0)
    assert asked(tmp_path, name) == {"version": version, "devices": [PLANTED[name]]}


@pytest.mark.parametrize("name", ["cublas", "cudnn"])
def test_a_library_that_does_not_start_is_broken(name: str, plant: Callable[..., Path], tmp_path: Path) -> None:
    plant("accelerators.c", PLANTED[name], STATUS=1, GPUS=0)
    with pytest.raises(MachineError, match="Create answers 1") as met:
        asked(tmp_path, name)
    assert type(met.value) is MachineError


def test_a_library_of_something_else_is_broken(plant: Callable[..., Path], tmp_path: Path) -> None:
    plant("accelerators.c", PLANTED["cudnn"], BARE=1)
    with pytest.raises(MachineError, match="is broken: it is no library of cuDNN"):
        asked(tmp_path, "cudnn")


def test_a_library_in_nvidias_packages_is_found(
    plant: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plant("accelerators.c", PLANTED["cudnn"], STATUS=0, GPUS=0)
    place = tmp_path / "site-packages" / "nvidia" / "cudnn" / "lib" / made.name
    place.parent.mkdir(parents=True)
    made.rename(place)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site-packages")])
    assert nvidia_libraries.probe("cudnn") == {"version": "cuDNN 9.1.0", "devices": [str(place)]}


def test_what_is_not_here_says_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    absent = nvidia_libraries.Library("cuBLAS", ("libcublas.so.0",), "nvidia-cublas", lambda library: "")
    monkeypatch.setitem(nvidia_libraries.LIBRARIES, "cublas", absent)
    with pytest.raises(PackagesMissing, match=r"none of libcublas\.so\.0") as met:
        nvidia_libraries.probe("cublas")
    assert "pip install nvidia-cublas" in met.value.mend and met.value.problems


@pytest.mark.parametrize(
    ("defines", "error", "says"),
    [
        ({"STATUS": 0, "GPUS": 1}, None, ""),
        ({"STATUS": 0, "GPUS": 0}, HardwareMissing, "sees no GPU"),
        ({"STATUS": 100, "GPUS": 0}, HardwareMissing, "sees no GPU"),
        ({"STATUS": 3, "GPUS": 0}, MachineError, "hipInit answers 3"),
        ({"BARE": 1}, MachineError, "no library of HIP"),
    ],
    ids=["works", "none counted", "no GPU", "fails", "no HIP"],
)
def test_rocm_is_asked_by_hip(
    defines: dict[str, int],
    error: type[MachineError] | None,
    says: str,
    plant: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rocm, "_FILES", (str(plant("accelerators.c", "libamdhip64.so.6", **defines)),))
    monkeypatch.setattr(rocm, "DRIVER", tmp_path)
    if error is None:
        assert rocm.probe() == {"version": "HIP 6.3", "devices": ["Planted"]}
        return
    with pytest.raises(error, match=says) as met:
        rocm.probe()
    assert type(met.value) is error and met.value.mend


def test_without_amds_driver_no_library_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocm, "DRIVER", tmp_path / "kfd")
    with pytest.raises(HardwareMissing, match="there is no"):
        rocm.probe()
    monkeypatch.setattr(rocm, "DRIVER", tmp_path)
    monkeypatch.setattr(rocm, "_FILES", ("libamdhip64.so.none",))
    with pytest.raises(HardwareMissing, match="can be loaded") as met:
        rocm.probe()
    assert "libamdhip64.so.none" in met.value.problems[0]
