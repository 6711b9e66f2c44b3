"""A child process in a toolchain's interpreter that answers calls, with limits; its end is classified.

POSIX only (pipes are passed by descriptor). One thread may use a worker at a time.
"""

from __future__ import annotations

import itertools
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from dlconv.errors import (
    DlconvError,
    InternalError,
    OutputError,
    RunEnded,
    StepError,
    WorkerCrashed,
    WorkerOutOfMemory,
    WorkerTimedOut,
    cause_of,
)
from dlconv.events import Event, Silence
from dlconv.workers.interpreters import environment_of_another
from dlconv.workers.protocol import pack, unpack

if TYPE_CHECKING:
    from types import TracebackType

    from dlconv.events import Listener

_CHILD = Path(__file__).with_name("child.py")
_TICK_S = 0.05
_GIB = 1 << 30
_BACK = 10
"""Niceness of what stands back: a tenth of a core where others want it all, so that it never comes to a halt."""


def default_memory_limit_bytes() -> int:
    """Nine tenths of this machine's memory, or of the control group's if that is less."""
    total = psutil.virtual_memory().total
    with suppress(OSError, ValueError):  # no control group, or "max": the machine's memory is the limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total * 9 // 10


class Worker:
    """A process that answers calls of `module:function`, started at once and closed by `close` or `with`.

    interpreter: the toolchain's Python. name: for messages and logs. log: file that takes what the process prints.
    memory_limit_bytes: resident memory, its own children included, beyond which it is ended.
    timeout_s: seconds that one call may take. told: who is told how far a call has come.
    """

    def __init__(
        self,
        interpreter: Path,
        name: str,
        log: Path,
        *,
        memory_limit_bytes: int | None = None,
        timeout_s: float = 1800.0,
        told: Listener | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.peak_memory_bytes = 0
        self._memory_limit_bytes = memory_limit_bytes or default_memory_limit_bytes()
        self._timeout_s = timeout_s
        self._told = told or Silence()
        self._numbers = itertools.count(1)
        self._verdict: DlconvError | None = None
        self._was_ended = False
        self._buffer = b""
        self._scratch = Path(tempfile.mkdtemp(prefix="dlconv-worker-"))
        self._start(interpreter)

    def _start(self, interpreter: Path) -> None:
        calls_read, self._calls = os.pipe()
        self._answers, answers_write = os.pipe()
        lifeline, self._lifeline = os.pipe()
        fds = (calls_read, answers_write, lifeline)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [str(interpreter), str(_CHILD), *map(str, fds), str(self._scratch)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._scratch,
                    env=_environment(interpreter),
                    pass_fds=fds,
                    start_new_session=True,  # Ctrl-C is for the parent, which ends its workers itself
                )
        except OSError as error:
            self.close()
            raise WorkerCrashed(
                f"the worker {self.name} could not be started: {error}", mend="dlconv doctor", log=str(self.log)
            ) from error
        finally:
            for fd in fds:
                os.close(fd)
        self._watched = psutil.Process(self._process.pid)

    def stand_back(self) -> None:
        """From now on take of the cores only what others leave: a worker beside it works as if it were alone."""
        if not self.is_alive:
            return
        self._watched.nice(_BACK)
        # A session of its own is scheduled as a group, among which alone its niceness counts: sched(7).
        group = Path(f"/proc/{self._process.pid}/autogroup")
        with suppress(OSError):  # not Linux, or no such groups: the niceness does it
            group.write_text(str(_BACK))

    @property
    def is_alive(self) -> bool:
        return self._verdict is None and self._process.poll() is None

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that the process has used, all its threads together; 0 once it has ended."""
        with suppress(psutil.Error):
            times = self._watched.cpu_times()
            return float(times.user + times.system)
        return 0.0

    def call(
        self, function: str, /, *, what: str = "", keep: bool = False, timeout_s: float | None = None, **args: Any
    ) -> Any:
        """What `function` returns in the worker; with `keep` a handle: `call(f"#{handle}.method", ...)`.

        what names the work in error messages.

        Raises what the worker raised, if it is one of dlconv's errors; StepError for a framework's exception;
        WorkerCrashed, WorkerOutOfMemory, WorkerTimedOut or RunEnded for the end of the process, after which it stays
        ended.
        """
        if self._verdict is not None:
            raise self._verdict
        number = next(self._numbers)
        what = what or f"{self.name}: {function.replace(':', '.')}"
        call = {"id": number, "call": function, "args": pack(args, self._scratch, f"c{number}"), "keep": keep}
        try:
            self._send((json.dumps(call) + "\n").encode())
        except BrokenPipeError:
            self._fail(self._classify(what))
        answer = self._answer(what, time.monotonic() + (timeout_s or self._timeout_s))
        self._note_peak()
        if "error" in answer:
            error = DlconvError.from_dict(answer["error"])
            error.log = error.log or str(self.log)
            raise error
        if "raised" in answer:
            raise self._translate(what, answer["raised"])
        if answer["id"] != number:
            self._fail(InternalError(f"the worker {self.name} answered call {answer['id']}, not {number}"))
        return unpack(answer["ok"])

    def end(self) -> None:
        """End the process and all its children. May be called from another thread: a call under way raises there."""
        self._was_ended = True
        if hasattr(self, "_process"):
            self._kill()

    def close(self) -> None:
        """End the process and all its children, and give everything back."""
        self.end()
        for name in ("_calls", "_answers", "_lifeline"):
            fd = self.__dict__.pop(name, None)
            if fd is not None:
                os.close(fd)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._verdict is None:
            self._verdict = WorkerCrashed(f"the worker {self.name} was closed", log=str(self.log))

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._calls, data) :]

    def _answer(self, what: str, deadline: float) -> dict[str, Any]:
        """What comes in the end; how far the call has come is told before."""
        has_told = False
        try:
            while "progress" in (message := json.loads(self._receive(what, deadline))):
                has_told = True
                self._told.on(Event("progress", "", what, data=message["progress"]))
        finally:
            if has_told:
                self._told.on(Event("progress", "", what))
        assert isinstance(message, dict)
        return message

    def _receive(self, what: str, deadline: float) -> bytes:
        with selectors.DefaultSelector() as ready:
            ready.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if ready.select(_TICK_S):
                    block = os.read(self._answers, 1 << 20)
                    if not block:
                        self._fail(self._classify(what))
                    self._buffer += block
                    continue
                self._check_memory(what)
                if time.monotonic() > deadline:
                    self._kill()
                    self._fail(
                        WorkerTimedOut(
                            f"{what} did not finish within its time limit",
                            mend="give it more with --timeout SECONDS",
                            log=str(self.log),
                        )
                    )
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _check_memory(self, what: str) -> None:
        used = 0
        with suppress(psutil.Error):  # it ended in between: the pipe will tell
            used = self._watched.memory_info().rss
            used += sum(child.memory_info().rss for child in self._watched.children(recursive=True))
        self.peak_memory_bytes = max(self.peak_memory_bytes, used)
        if used > self._memory_limit_bytes:
            self._kill()
            self._fail(self._out_of_memory(what, f"used {used / _GIB:.1f} GiB"))

    def _out_of_memory(self, what: str, how: str) -> WorkerOutOfMemory:
        return WorkerOutOfMemory(
            f"{what} ran out of memory ({how})",
            wanted=f"at most {self._memory_limit_bytes / _GIB:.1f} GiB",
            mend="raise --memory-limit, or use a machine with more memory",
            log=str(self.log),
        )

    def _note_peak(self) -> None:
        with suppress(OSError):  # only Linux tells the high-water mark; elsewhere the samples stand
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.peak_memory_bytes = max(self.peak_memory_bytes, int(line.split()[1]) * 1024)

    def _classify(self, what: str) -> DlconvError:
        # The pipe closed: the process is leaving by itself.
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._kill()
            status = self._process.returncode
        if self._was_ended:
            return RunEnded(f"{what}: the run was ended", log=str(self.log))
        tail = _tail(self.log)
        if status == -signal.SIGKILL:
            return self._out_of_memory(what, "the system ended it")
        if "bad_alloc" in tail or "MemoryError" in tail or "Cannot allocate memory" in tail:
            return self._out_of_memory(what, "an allocation was refused")
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"left with status {status}"
        return WorkerCrashed(
            f"{what}: the process {how}",
            mend="the full output is in the log; another route may work",
            log=str(self.log),
        )

    def _translate(self, what: str, raised: dict[str, Any]) -> DlconvError:
        if raised["memory"]:
            return WorkerOutOfMemory(
                f"{what}: out of memory: {cause_of(raised['message'])}",
                mend="use a machine with more memory",
                log=str(self.log),
            )
        if "No space left on device" in raised["message"]:
            return OutputError(f"{what}: no space left on the device", mend="free some space", log=str(self.log))
        return StepError(f"{what}: {raised['type']}: {cause_of(raised['message'])}", log=str(self.log))

    def _fail(self, error: DlconvError) -> None:
        self._verdict = error
        raise error

    def _kill(self) -> None:
        self._note_peak()
        # Its children are in its process group, unless they left it: those are found by their parent.
        strays: list[psutil.Process] = []
        with suppress(psutil.Error):
            strays = self._watched.children(recursive=True)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for stray in strays:
            with suppress(psutil.Error):
                stray.kill()
        self._process.wait()


def _environment(interpreter: Path) -> dict[str, str]:
    env = dict(os.environ) if Path(sys.executable) == interpreter else environment_of_another()
    # Threads of one product of NumPy's wait for each other, and where other workers hold the cores they wait long.
    threads = env.get("OPENBLAS_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // 2))
    return env | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "OPENBLAS_NUM_THREADS": threads}


def _tail(path: Path, size: int = 4096) -> str:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - size))
        return file.read().decode(errors="replace")
