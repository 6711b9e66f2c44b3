from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dlconv.convert.edges import GRAPH
from dlconv.hardware.doctor import Check, Diagnosis, examine
from dlconv.hardware.probes import PROBES, Probe
from dlconv.reports.diagnosis import lines
from dlconv.workers import gates
from dlconv.workers.toolchains import TOOLCHAINS, Located, get, locate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.slow
def test_everything_is_proved_or_has_a_mend() -> None:
    told: list[Check] = []
    diagnosis = examine(on_check=told.append)
    names = {(check.kind, check.name) for check in diagnosis.checks}
    assert {("toolchain", toolchain.name) for toolchain in TOOLCHAINS} <= names
    assert {("converter", edge.name) for edge in GRAPH.edges} <= names
    assert {("runtime", name) for name in ("torch", "onnxruntime", "openvino", "tflite")} <= names
    for check in diagnosis.checks:
        assert check.works or (check.problems and check.mend), check
    for check in diagnosis.checks:
        if check.kind == "toolchain":
            assert check.works == isinstance(locate(get(check.name)), Located)
    # What lacks nothing must work: a converter or a runtime that is broken here is a fault of ours.
    missing = {check.mend for check in diagnosis.checks if check.kind == "toolchain" and not check.works}
    amiss = [check for check in diagnosis.checks if not check.works and not check.is_optional]
    assert [check for check in amiss if check.standing == "broken" or check.mend not in missing] == []
    assert ("delegate", "xnnpack") in names
    assert {("device", probe.name) for probe in PROBES if probe.kind == "device"} <= names
    assert json.loads(json.dumps(diagnosis.to_dict()))["is_healthy"] == diagnosis.is_healthy
    assert told


@pytest.mark.onnx
def test_a_proof_that_fails_tells_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlconv.hardware import doctor

    monkeypatch.setattr(doctor, "every", lambda: (get("onnx"),))
    planted = Probe("runtime", "onnxruntime", "onnx", "dlconv.runtimes.onnxruntime:planted")
    monkeypatch.setattr(doctor, "PROBES", (planted,))
    monkeypatch.setattr(doctor, "whole_graph", lambda: type(GRAPH)(()))
    diagnosis = examine()
    (broken,) = [check for check in diagnosis.checks if not check.works]
    assert (broken.kind, broken.name, broken.standing) == ("runtime", "onnxruntime", "broken")
    assert "planted" in broken.problems[0]
    assert not diagnosis.is_healthy


def test_the_lines_tell_each_mend_once() -> None:
    checks = (
        Check("toolchain", "good", "works", "good 1.0"),
        Check("toolchain", "bad", "not here", problems=("bad is not installed",), mend="install bad"),
        Check("runtime", "worse", "not here", problems=("needs bad",), mend="install bad"),
    )
    machine = {"processor": "P", "cores": 2, "memory_bytes": 8e9, "system": "S", "python": "3", "interpreter": "/p"}
    told = list(lines(Diagnosis(machine, checks)))
    assert "toolchain  good   works     good 1.0" in told
    assert told[-4:] == ["bad, worse cannot work:", "  - bad is not installed", "  - needs bad", "  next: install bad"]
    assert list(lines(Diagnosis(machine, checks[:1])))[-1] == "all works"


def test_what_a_machine_may_do_without_is_no_fault_unless_it_is_broken() -> None:
    absent = Check("device", "gpu", "not here", problems=("none",), mend="buy one")
    broken = Check("device", "gpu", "broken", problems=("it ends the process",), mend="mend it")
    machine = {"processor": "P", "cores": 2, "memory_bytes": 8e9, "system": "S", "python": "3", "interpreter": "/p"}
    assert Diagnosis(machine, (absent,)).is_healthy
    assert "all works, but for what this machine may do without" in list(lines(Diagnosis(machine, (absent,))))
    assert not Diagnosis(machine, (broken,)).is_healthy
    assert "gpu cannot work:" in list(lines(Diagnosis(machine, (broken,))))
    assert Diagnosis(machine, (broken,)).to_dict()["checks"][0]["standing"] == "broken"


@pytest.mark.skipif(sys.platform != "linux", reason="the library is planted by LD_LIBRARY_PATH")
@pytest.mark.parametrize(
    ("way", "standing", "says"),
    [(0, "works", "Planted A"), (1, "not here", "sees no GPU"), (3, "broken", "SIGABRT"), (4, "broken", "time limit")],
    ids=["works", "no GPU", "aborts", "hangs"],
)
def test_a_driver_is_asked_before_what_is_built_on_it(
    way: int, standing: str, says: str, plant: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlconv.hardware import doctor

    plant("libcuda.c", "libcuda.so.1", WAY=way)
    monkeypatch.setattr(doctor, "every", tuple)
    monkeypatch.setattr(doctor, "PROBES", tuple(probe for probe in PROBES if probe.function.count("nvidia")))
    driver, *others = examine(timeout_s=2 if way == 4 else 60).checks
    assert (driver.name, driver.standing) == ("nvidia-driver", standing)
    assert says in f"{driver.detail} {driver.problems}"
    assert [check.name for check in others] == ["cublas", "cudnn", "libnvinfer"]
    for check in others:  # without a driver they are not even loaded
        assert check.problems[0].startswith("nvidia-driver is") is not driver.works
        assert check.works or check.mend


@pytest.mark.skipif(sys.platform != "linux", reason="the library is planted by LD_LIBRARY_PATH")
def test_the_command_outlives_a_driver_that_ends_its_process(
    plant: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from dlconv.cli.doctor import doctor as command
    from dlconv.hardware import doctor

    plant("libcuda.c", "libcuda.so.1", WAY=3)
    monkeypatch.setattr(doctor, "every", tuple)
    told = tmp_path / "doctor.json"
    done = CliRunner().invoke(command, ["--json", str(told)], standalone_mode=False)
    assert done.return_value == 3 and "nvidia-driver cannot work:" in done.output
    found = {check["name"]: check for check in json.loads(told.read_text())["checks"]}
    assert found["nvidia-driver"]["standing"] == "broken" and found["rocm"]["standing"] in ("works", "not here")


@pytest.mark.onnx
def test_a_toolchain_whose_hardware_is_not_here_is_not_even_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlconv.hardware import doctor

    gap = gates.Gap("a device", "none is here", "plug one in")
    monkeypatch.setattr(gates, "GATES", {"planted": lambda: (gap,)})
    monkeypatch.setattr(doctor, "every", lambda: (replace(get("onnx"), gate="planted"),))
    monkeypatch.setattr(doctor, "PROBES", (Probe("runtime", "crashes", "onnx", "os:abort"),))
    monkeypatch.setattr(doctor, "whole_graph", lambda: type(GRAPH)(()))
    diagnosis = examine()
    assert [(check.name, check.standing) for check in diagnosis.checks] == [
        ("onnx", "not here"),
        ("crashes", "not here"),
    ]
    assert diagnosis.checks[0].problems == ("a device: none is here",) and diagnosis.is_healthy
    assert all(check.mend == "plug one in" for check in diagnosis.checks)
