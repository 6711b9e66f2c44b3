"""The example plugin, installed as a user would: a target, a converter, a runtime, a validator and a tracker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "dlconv-onnx-reference"

pytestmark = [pytest.mark.onnx, pytest.mark.slow]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment that sees what is installed here, and has the plugin."""
    pytest.importorskip("hatchling", reason="the build backend is in the group `test`")
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=False, symlinks=True)
    found = place / "bin" / "python"
    purelib = sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)})
    seen = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    Path(purelib, "seen.pth").write_text("\n".join(seen))
    words = ["-m", "pip", "--python", str(found), "install", "-qq", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([sys.executable, *words, str(EXAMPLE)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return found


@pytest.fixture
def run(python: Path, tmp_path: Path) -> Callable[[Sequence[str]], subprocess.CompletedProcess[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def command(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), "-m", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )

    return command


def test_it_exports_verifies_and_logs(
    run: Callable[[Sequence[str]], subprocess.CompletedProcess[str]], digits: Path, tmp_path: Path
) -> None:
    words = ["dlconv", "export", str(digits / "digits.onnx"), "--samples", str(digits / "samples.npz")]
    done = run([*words, "--to", "onnx,onnx-reference", "--json", "out.json", "--log-to", "jsonl:log.jsonl"])
    assert done.returncode == 0, done.stdout + done.stderr
    told = {each["target"]: each for each in json.loads((tmp_path / "out.json").read_text())["outcomes"]}
    assert {target: each["word"] for target, each in told.items()} == {"onnx": "PASS", "onnx-reference": "PASS"}
    asked = [check["subject"] for check in told["onnx-reference"]["checks"] if check["name"] == "ulps"]
    assert asked == ["probabilities"], "the validator was asked"
    receipt = told["onnx-reference"]["receipt"]
    assert receipt["evidence"]["runtime"] == "onnx-reference"
    assert receipt["environment"]["packages"]["dlconv-onnx-reference"] == "0.1.0"
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {each["target"]: each["verdict"] for each in logged} == {"onnx": "PASS", "onnx-reference": "PASS"}
    again = run(["dlconv", "verify", "digits-onnx-reference-fp32"])
    assert again.returncode == 0, again.stdout + again.stderr
    listed = run(["dlconv", "toolchain", "list"])
    assert re.search(r"^onnx-reference +this interpreter +dlconv-onnx-reference 0", listed.stdout, re.MULTILINE)


def test_its_own_tests_pass(run: Callable[[Sequence[str]], subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = run(["pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(EXAMPLE / "tests")])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_without_it_its_bundle_is_skipped_and_not_passed(
    run: Callable[[Sequence[str]], subprocess.CompletedProcess[str]], digits: Path, tmp_path: Path
) -> None:
    done = run(["dlconv", "export", str(digits / "digits.onnx"), "--to", "onnx-reference", "-q"])
    assert done.returncode == 0, done.stdout + done.stderr
    words = [sys.executable, "-m", "dlconv", "verify", "digits-onnx-reference-fp32"]
    bare = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert bare.returncode == 3 and "SKIPPED" in bare.stdout
    assert "no runtime for the target onnx-reference" in bare.stdout
