"""StableHLO replayed operator by operator: as JAX answers, in the program's own precision and in float64."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dlconv.workers import toolchains

pytestmark = [pytest.mark.jax, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("stablehlo_cases.py")
SINGLE = 1e-6
_TOLD = runpy.run_path(str(SCRIPT))
CASES: dict[str, Any] = _TOLD["CASES"]
REFUSED: dict[str, tuple[Any, str]] = _TOLD["REFUSED"]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    located = toolchains.locate(toolchains.get("jax"))
    assert isinstance(located, toolchains.Located)
    path = tmp_path_factory.mktemp("stablehlo") / "findings.json"
    done = subprocess.run([located.interpreter, SCRIPT, path], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("name", CASES)
def test_an_operator_answers_as_jax_does(findings: dict[str, Any], name: str) -> None:
    case, found = CASES[name], findings[name]
    assert case.operator in found["operators"]
    assert isinstance(found["single"], float), found["single"]
    assert found["single"] <= SINGLE
    assert isinstance(found["double"], float), found["double"]
    assert found["double"] <= case.bar
    assert found["shapes"][0] == found["shapes"][1]


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_operator_is_seen(findings: dict[str, Any], name: str) -> None:
    planted = findings[name]["planted"]
    assert isinstance(planted, str) or planted > SINGLE


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_replayed_is_refused(findings: dict[str, Any], name: str) -> None:
    assert REFUSED[name][1] in findings[name]["refusal"]
