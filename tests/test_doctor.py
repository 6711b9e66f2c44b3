from __future__ import annotations

import json

import pytest

from dlconv.convert.graph import GRAPH
from dlconv.doctor import Check, Diagnosis, examine
from dlconv.reports.diagnosis import lines
from dlconv.workers.toolchains import TOOLCHAINS, Located, get, locate


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
    needed = [check for check in diagnosis.checks if check.kind != "device"]
    assert [check for check in needed if not check.works and check.mend not in missing] == []
    assert json.loads(json.dumps(diagnosis.to_dict()))["is_healthy"] == diagnosis.is_healthy
    assert told


@pytest.mark.onnx
def test_a_proof_that_fails_tells_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlconv import doctor

    monkeypatch.setattr(doctor, "every", lambda: (get("onnx"),))
    monkeypatch.setattr(doctor, "_RUNTIMES", {"onnxruntime": ("onnx", "dlconv.runtimes.onnxruntime:planted")})
    monkeypatch.setattr(doctor, "whole_graph", lambda: type(GRAPH)(()))
    diagnosis = examine()
    (broken,) = [check for check in diagnosis.checks if not check.works]
    assert (broken.kind, broken.name) == ("runtime", "onnxruntime")
    assert "planted" in broken.problems[0]
    assert not diagnosis.is_healthy


def test_the_lines_tell_each_mend_once() -> None:
    checks = (
        Check("toolchain", "good", True, "good 1.0"),
        Check("toolchain", "bad", False, problems=("bad is not installed",), mend="install bad"),
        Check("runtime", "worse", False, problems=("needs bad",), mend="install bad"),
    )
    machine = {"processor": "P", "cores": 2, "memory_bytes": 8e9, "system": "S", "python": "3", "interpreter": "/p"}
    told = list(lines(Diagnosis(machine, checks)))
    assert "toolchain  good   works  good 1.0" in told
    assert told[-4:] == ["bad, worse cannot work:", "  - bad is not installed", "  - needs bad", "  next: install bad"]
    assert list(lines(Diagnosis(machine, checks[:1])))[-1] == "all works"
