"""What a user of the published package does, on every Python that is supported and present here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dlconv import __version__
from dlconv.workers import interpreters

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
