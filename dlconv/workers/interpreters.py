"""Python interpreters on this machine: found, and known to run, because a name on PATH may be a shim without one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ASK = (
    "import importlib.util as u, json, platform, sys;"
    "print(json.dumps([sys.executable, platform.python_version(), sys.implementation.name,"
    " u.find_spec('ensurepip') is not None]))"
)
_TIMEOUT_S = 30.0
_LETTING_IN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Interpreter:
    """A Python that ran. version is "3.12.1"; has_ensurepip: whether `venv` can put pip into an environment."""

    path: Path
    version: str
    has_ensurepip: bool


def find(python: str, wanted: tuple[str, ...], *, with_ensurepip: bool = False) -> tuple[Interpreter | None, list[str]]:
    """The first interpreter of the range `python` (">=3.11,<3.14"): this one, then by the versions `wanted`
    ("3.12", ...) on PATH and among pyenv's; and a line for each that was met and is of no use.
    """
    from packaging.specifiers import SpecifierSet

    versions = SpecifierSet(python)
    met: list[str] = []
    for candidate in dict.fromkeys(_candidates(wanted)):
        interpreter, problem = _asked(candidate)
        if interpreter is None:
            met.append(problem)
        elif not versions.contains(interpreter.version, prereleases=True):
            met.append(f"{candidate} is Python {interpreter.version}")
        elif with_ensurepip and not interpreter.has_ensurepip:
            met.append(f"{candidate} lacks ensurepip, which venv needs")
        else:
            return interpreter, met
    return None, met


def environment_of_another() -> dict[str, str]:
    """The environment's variables for an interpreter that is not this one: none that would let packages of this one's,
    or of the user's own folder, into it."""
    kept = {name: value for name, value in os.environ.items() if name not in _LETTING_IN}
    return {**kept, "PYTHONNOUSERSITE": "1"}


def _candidates(wanted: tuple[str, ...]) -> Iterator[str]:
    yield sys.executable
    names = [f"python{version}" for version in wanted] + ["python3", "python"]
    yield from (path for path in map(shutil.which, names) if path)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for version in wanted:
        found = root.glob(f"versions/{version}.*/bin/python{version}")
        yield from (str(path) for path in sorted(found, key=_release, reverse=True))


def _release(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parts[-3].split(".") if part.isdigit())


@lru_cache
def _asked(candidate: str) -> tuple[Interpreter | None, str]:
    command = [candidate, "-I", "-c", _ASK]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True, stdin=subprocess.DEVNULL
        )
        path, version, kind, has_ensurepip = json.loads(answer.stdout)
    except subprocess.CalledProcessError as error:
        return None, f"{candidate} does not run: exit code {error.returncode}"
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return None, f"{candidate} does not run: {type(error).__name__}"
    if kind != "cpython":
        return None, f"{candidate} is {kind}, not CPython"
    return Interpreter(Path(path), version, has_ensurepip), ""
