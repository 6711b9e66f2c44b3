"""What a user of the published package does, on every Python that is supported and present here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dlconv import __version__
from dlconv.workers import interpreters

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_pip_install(version: str, tmp_path: Path) -> None:
    python, met = interpreters.find(f"=={version}.*", (version,), with_ensurepip=True)
    if python is None:
        pytest.skip(f"no Python {version} here: {'; '.join(met) or 'none was met'}")
    subprocess.run([python.path, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    own = tmp_path / "venv" / "bin"
    done = subprocess.run(
        [own / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr

    def ask(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([own / "dlconv", *words], capture_output=True, text=True, timeout=60, cwd=tmp_path)

    assert ask("--version").stdout == f"dlconv {__version__}\n"
    found = ask("inspect", ROOT / "models" / "digits" / "digits.pt")
    assert "a TorchScript archive" in found.stdout
    # No framework is here, which is said at once, each with its command.
    planned = ask("export", ROOT / "models" / "digits" / "digits.pt", "--to", "openvino")
    assert planned.returncode == 3
    for toolchain in ("torch", "onnx", "openvino"):
        assert f"dlconv toolchain install {toolchain}" in planned.stderr


@pytest.mark.slow
@pytest.mark.onnx
@pytest.mark.onnx2tf
@pytest.mark.tflite
def test_a_small_device_verifies_a_bundle(digits_bundle: Callable[[str], Path], tmp_path: Path) -> None:
    """Python 3.11 with dlconv, tflite-runtime and its NumPy 1, and nothing else."""
    python, met = interpreters.find("==3.11.*", ("3.11",), with_ensurepip=True)
    if python is None:
        pytest.skip(f"no Python 3.11 here: {'; '.join(met) or 'none was met'}")
    subprocess.run([python.path, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    own = tmp_path / "venv" / "bin"
    install = [own / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*install, f"{ROOT}[tflite-runtime]"], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    bundle = shutil.copytree(digits_bundle("tflite"), tmp_path / "carried")
    variables = {**os.environ, "DLCONV_HOME": str(tmp_path / "home")}

    def ask(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([own / "dlconv", *words], capture_output=True, text=True, timeout=60, env=variables)

    verified = ask("verify", bundle, "--json", tmp_path / "told.json")
    assert verified.returncode == 0, verified.stderr
    (outcome,) = json.loads((tmp_path / "told.json").read_text())["outcomes"]
    assert outcome["word"] == "PASS"
    assert "tflite-runtime 2.14" in ask("toolchain", "list").stdout
    (bundle / "model.tflite").write_bytes((bundle / "model.tflite").read_bytes()[:-64])
    assert ask("verify", bundle).returncode == 1
