"""Interpreters of the user's own that serve a toolchain: a system's Python with its TensorRT, say, which no index has
for another.

Which one serves is one small file a toolchain, beside the managed environments. What it holds is asked of the
interpreter itself, each time: its packages are the user's, and change.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dlconv.files.jsonfile import write_json
from dlconv.workers.interpreters import environment_of_another
from dlconv.workers.requirements import judged

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_PYTHON: Final = (3, 10)
"""What runs dlconv's worker."""
VERSIONS: Final = (
    "import importlib.metadata as m, json, sys;"
    "print(json.dumps([sys.version_info[:2], {d.name: d.version for d in m.distributions() if d.name}]))"
)
"""What an interpreter is asked: its version, and those of all that is installed in it."""
_LIMIT_S: Final = 60.0


@dataclass(frozen=True)
class Adopted:
    """An interpreter, the versions in it that satisfy a toolchain, and why it does not serve (empty where it does)."""

    interpreter: Path
    versions: dict[str, str]
    problems: tuple[str, ...]


def judge(interpreter: Path, requirements: Sequence[str]) -> Adopted:
    """Whether an interpreter runs, can be a worker, and has what a toolchain requires."""
    python, installed, problem = _asked(str(interpreter))
    if problem:
        return Adopted(interpreter, {}, (problem,))
    versions, problems = judged((*requirements, "numpy"), installed)
    if python < LEAST_PYTHON:
        problems.append(f"it is Python {python[0]}.{python[1]}, and {LEAST_PYTHON[0]}.{LEAST_PYTHON[1]} is needed")
    versions.pop("numpy", "")
    return Adopted(interpreter, versions, tuple(f"{interpreter}: {each}" for each in problems))


def write(folder: Path, name: str, interpreter: Path) -> None:
    """Let an interpreter serve the toolchain of that name from now on. Raises OSError where the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(_file(folder, name), {"interpreter": str(interpreter)})


def read(folder: Path, name: str) -> Path | None:
    """The interpreter that serves the toolchain of that name; None where the user named none."""
    try:
        told = json.loads(_file(folder, name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Path(told["interpreter"])


def forget(folder: Path, name: str) -> Path | None:
    """Let it serve no more; which one that was."""
    was = read(folder, name)
    _file(folder, name).unlink(missing_ok=True)
    return was


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.adopted.json"


@lru_cache
def _asked(interpreter: str) -> tuple[tuple[int, ...], dict[str, str], str]:
    try:
        answer = subprocess.run(
            [interpreter, "-c", VERSIONS],
            capture_output=True, text=True, timeout=_LIMIT_S, check=True, stdin=subprocess.DEVNULL,
            env=environment_of_another(),
        )  # fmt: skip
        python, installed = json.loads(answer.stdout)
    except subprocess.CalledProcessError as error:
        told = (error.stderr.strip().splitlines() or [""])[-1]
        return (), {}, f"{interpreter} does not run: it ended with {error.returncode}: {told}"
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return (), {}, f"{interpreter} does not run: {error}"
    return tuple(python), dict(installed), ""
