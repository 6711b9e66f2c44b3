"""The real command in a process of its own, with a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Ran:
    """What a command line left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class Command:
    """`python -m dlconv` with a cache and logs of its own."""

    environment: dict[str, str]

    def start(self, *words: object, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dlconv", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            **more,
        )

    def __call__(self, *words: object) -> Ran:
        process = self.start(*words)
        out, err = process.communicate(timeout=280)
        assert "Traceback" not in out + err, err
        return Ran(process.returncode, out, err)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for a session's tests: its cache is cold at first. Managed toolchains are those of the user."""
    from dlconv.workers.toolchains import home as toolchains_home

    folder = tmp_path_factory.mktemp("home")
    if toolchains_home().is_dir():
        (folder / "toolchains").symlink_to(toolchains_home(), target_is_directory=True)
    return folder


@pytest.fixture(scope="session")
def dlconv(home: Path) -> Command:
    return Command({**os.environ, "DLCONV_HOME": str(home), "NO_COLOR": "1"})
