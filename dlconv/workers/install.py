"""Managed environments made and removed.

One is made in a folder beside its place, marked when all is there, and moved to its place by one rename. Only its
interpreter is used, and that may be moved. An installer that was killed leaves a folder that nobody takes for an
environment; a child of its that lives on writes there and nowhere else.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from filelock import FileLock, Timeout

from dlconv.errors import MachineError, OutputError, RequestError, ToolchainMissing
from dlconv.files.jsonfile import write_json
from dlconv.model import files_of
from dlconv.workers import adopted, interpreters, toolchains
from dlconv.workers.pip_settings import for_uv
from dlconv.workers.toolchains import Located, Toolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TOLD_LINES = 12
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class Managed:
    """A managed environment on the disk. is_whole: it was installed to its end; is_current: and by today's lock."""

    name: str
    path: Path
    size_bytes: int
    is_whole: bool
    is_current: bool
    versions: dict[str, str]


def use(toolchain: Toolchain, python: str) -> Located:
    """Let an interpreter of the user's own serve a toolchain from now on, before any other: a path, or a name on PATH.

    Raises RequestError where there is none or it does not serve, with all that it lacks, OutputError where the disk
    refuses.
    """
    found = shutil.which(python)
    if found is None:
        raise RequestError(f"{python} is no program", wanted="the path of a Python that has the packages")
    judged = adopted.judge(Path(found).absolute(), toolchain.requirements)
    if judged.problems:
        raise RequestError(
            f"{found} does not serve as {toolchain.name}",
            mend="install into it what is missing, or name another",
            problems=judged.problems,
        )
    try:
        adopted.write(toolchains.home(), toolchain.name, judged.interpreter)
    except OSError as error:
        raise OutputError(
            f"{toolchains.home()} cannot be written: {error.strerror or error}",
            mend="set DLCONV_HOME to a folder that is writable",
        ) from error
    return Located(judged.interpreter, toolchains.ADOPTED, judged.versions)


def install(toolchain: Toolchain, on_line: Callable[[str], None]) -> Located:
    """The managed environment of `toolchain`, made if it is not there whole already.

    on_line is told what happens, a line each. Two installations of one toolchain wait for each other.
    Raises ToolchainMissing where no interpreter serves, MachineError where the packages cannot be had, OutputError
    where the disk refuses. Whatever ends it, what is left is not taken for a whole environment.
    """
    if not toolchain.lock:
        where = toolchains.locate(toolchain)
        if isinstance(where, toolchains.Missing):
            raise where.error()
        return where
    path = toolchains.environment_path(toolchain)
    try:
        with _alone(toolchain.name, on_line):
            present = toolchains.locate_managed(toolchain)
            if present is not None:
                on_line(f"{toolchain.name} is there already: {path}")
                return present
            _clear_unfinished(toolchain.name)
            _discard(path)
            _make(toolchain, path, on_line)
    except OSError as error:
        raise OutputError(
            f"the toolchain's environment {path} cannot be written: {error.strerror or error}",
            mend="free some space, or set DLCONV_HOME to a folder that is writable",
        ) from error
    made = toolchains.locate_managed(toolchain)
    if made is None:
        raise MachineError(f"the new environment {path} is gone", mend=f"dlconv toolchain install {toolchain.name}")
    return made


def remove(name: str, on_line: Callable[[str], None] | None = None) -> int:
    """Remove all managed environments of a toolchain, older locks' too; the bytes that were freed.

    An interpreter of the user's own serves no more, and stays as it is.
    """
    toolchains.get(name)
    adopted.forget(toolchains.home(), name)
    with _alone(name, on_line or (lambda line: None)):
        _clear_unfinished(name)
        gone = [environment for environment in managed() if environment.name == name]
        for environment in gone:
            _discard(environment.path)
    return sum(environment.size_bytes for environment in gone)


def managed() -> list[Managed]:
    """The managed environments on the disk, whole or not, by name."""
    folder = toolchains.home()
    found: list[Managed] = []
    for toolchain in (each for each in toolchains.TOOLCHAINS if each.lock):
        for path in sorted(folder.glob(f"{toolchain.name}-*")):
            if not path.is_dir() or path.name.rpartition("-")[0] != toolchain.name:
                continue
            marker = toolchains.read_marker(path)
            size_bytes = _size_of(path) if marker is None else marker.size_bytes
            is_current = marker is not None and path == toolchains.environment_path(toolchain)
            found.append(
                Managed(
                    toolchain.name, path, size_bytes, marker is not None, is_current, marker.versions if marker else {}
                )
            )
    return found


def _make(toolchain: Toolchain, path: Path, on_line: Callable[[str], None]) -> None:
    uv = _uv()
    interpreter, met = interpreters.find(toolchain.python, toolchain.python_wanted, with_ensurepip=uv is None)
    if interpreter is None and uv is None:
        raise ToolchainMissing(
            f"no Python {toolchain.python} was found for the toolchain {toolchain.name}",
            wanted=f"Python {' or '.join(toolchain.python_wanted)} on PATH or in pyenv, or uv, which fetches one",
            mend="pip install uv",
            problems=tuple(met),
        )
    python = str(interpreter.path) if interpreter else toolchain.python_wanted[0]
    on_line(f"Python {interpreter.version} at {python}" if interpreter else f"uv looks for Python {python}")
    unfinished = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{toolchain.name}-", dir=path.parent))
    environment = toolchains.interpreter_of(unfinished)
    wanted = ["--requirement", str(toolchain.lock_path), *(["--no-deps"] if toolchain.is_complete else [])]
    if uv is not None:
        commands = [
            [*uv, "venv", "--no-project", "--python", python, str(unfinished)],
            [*uv, "pip", "install", "--python", str(environment), *wanted],
        ]
        variables = {**os.environ, **for_uv(os.environ)}
    else:
        commands = [
            [python, "-m", "venv", str(unfinished)],
            [str(environment), "-m", "pip", "install", "--disable-pip-version-check", *wanted],
        ]
        variables = dict(os.environ)
    log = _log_path(toolchain)
    try:
        with log.open("w", encoding="utf-8") as file:
            for command in commands:
                _run(command, variables, file, log, on_line, toolchain)
        _finish(toolchain, unfinished, log)
        unfinished.rename(path)
    finally:  # after Ctrl-C too nothing half-made stays
        shutil.rmtree(unfinished, ignore_errors=True)


def _run(
    command: list[str],
    variables: dict[str, str],
    file: TextIO,
    log: Path,
    on_line: Callable[[str], None],
    what: Toolchain,
) -> None:
    """Run a command, its output to the log and to on_line. Raises MachineError if it fails; its children end too."""
    variables = {name: value for name, value in variables.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    file.write("$ " + " ".join(command) + "\n")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=variables,
        cwd=toolchains.home(),
        start_new_session=True,
    )
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            lines.append(line.rstrip())
            on_line(line.rstrip())
        code = process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code != 0:
        raise MachineError(
            f"the toolchain {what.name} could not be installed: {Path(command[0]).name} ended with {code}",
            wanted="a package index, or find-links, that has the packages of the lock",
            mend=f"see the log, then: dlconv toolchain install {what.name}",
            problems=tuple(line for line in lines[-_TOLD_LINES:] if line.strip()),
            log=str(log),
        )


def _finish(toolchain: Toolchain, path: Path, log: Path) -> None:
    """Ask the new interpreter what it has, and write the marker into the environment at `path`."""
    answer = subprocess.run(
        [str(toolchains.interpreter_of(path)), "-I", "-c", adopted.VERSIONS],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise MachineError(f"the new environment's Python does not run: {answer.stderr.strip()[-300:]}", log=str(log))
    versions, problems = toolchains.satisfied(toolchain, json.loads(answer.stdout)[1])
    if problems:
        raise MachineError(
            f"the lock of {toolchain.name} gave other versions than it needs", problems=tuple(problems), log=str(log)
        )
    marker = {"lock": toolchain.lock_digest, "versions": versions, "size_bytes": _size_of(path)}
    write_json(path / toolchains.MARKER, marker)


@contextmanager
def _alone(name: str, on_line: Callable[[str], None]) -> Iterator[None]:
    """Hold the toolchain's lock file; the system frees it if this process dies."""
    toolchains.home().mkdir(parents=True, exist_ok=True)
    lock = FileLock(toolchains.home() / f".{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        on_line(f"another process installs or removes {name}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _discard(path: Path) -> None:
    """Remove an environment; from the first moment on it is not whole."""
    (path / toolchains.MARKER).unlink(missing_ok=True)
    if path.exists():
        shutil.rmtree(path)


def _clear_unfinished(name: str) -> None:
    for path in toolchains.home().glob(f"{_UNFINISHED}{name}-*"):
        # What a killed installer's child still writes there may stand in the way; the next installation comes by again.
        shutil.rmtree(path, ignore_errors=True)


def _uv() -> list[str] | None:
    if find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else None


def _log_path(toolchain: Toolchain) -> Path:
    return toolchains.home() / f"{toolchain.name}.log"


def _size_of(path: Path) -> int:
    return sum(file.lstat().st_size for file in files_of(path))
