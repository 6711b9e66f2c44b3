"""Gates: the driver is asked in a process that it may end; what is missing is told with what mends it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dlconv.errors import DlconvError, HardwareMissing
from dlconv.runtimes.nvidia_driver import Driver
from dlconv.workers import gates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKS, NO_GPU, FAILS, ABORTS, HANGS = range(5)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library is planted by LD_LIBRARY_PATH")


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    gates.nvidia.cache_clear()
    yield
    gates.nvidia.cache_clear()


def test_nothing_is_missing_where_there_is_a_gpu(plant: Callable[..., Path]) -> None:
    plant("libcuda.c", "libcuda.so.1", WAY=WORKS)
    driver = gates.nvidia()
    assert isinstance(driver, Driver) and driver.gpus[0].name == "Planted A"
    assert gates.gaps("nvidia") == () and gates.gaps("") == ()


@pytest.mark.parametrize(
    ("way", "says"), [(NO_GPU, "sees no GPU"), (FAILS, "(803)"), (ABORTS, "signal 6"), (HANGS, "did not answer")]
)
def test_a_driver_that_does_not_serve_is_a_gap(
    way: int, says: str, plant: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant("libcuda.c", "libcuda.so.1", WAY=way)
    monkeypatch.setattr(gates, "_LIMIT_S", 1.0 if way == HANGS else 30.0)
    driver, device = gates.gaps("nvidia")
    assert (driver.name, device.name) == (gates.DRIVER, gates.GPU)
    assert says in driver.problem and driver.mend and device.mend


def test_the_device_is_looked_for_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    absent: DlconvError = HardwareMissing("no driver", mend="install it")
    monkeypatch.setattr(gates, "nvidia", lambda: absent)
    monkeypatch.setattr(gates, "on_the_bus", list)
    assert [gap.problem for gap in gates.gaps("nvidia")] == ["no driver", "none is on the PCI bus"]
    monkeypatch.setattr(gates, "on_the_bus", lambda: ["0000:01:00.0"])
    driver, device = gates.gaps("nvidia")
    assert device.problem.startswith("one is on the PCI bus (0000:01:00.0)") and device.mend == driver.mend


def test_gpus_are_seen_on_the_bus(tmp_path: Path) -> None:
    kinds = {
        "0000:01:00.0": ("0x10de", "0x030200"),
        "0000:01:00.1": ("0x10de", "0x040300"),  # the same card's sound
        "0000:02:00.0": ("0x8086", "0x030000"),
    }
    for name, (vendor, kind) in kinds.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    assert gates.on_the_bus(tmp_path) == ["0000:01:00.0"]
    assert gates.on_the_bus(tmp_path / "none") == []
