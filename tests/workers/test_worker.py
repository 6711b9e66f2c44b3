"""A worker's end is classified, its parent survives, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from dlconv.errors import (
    OutputError,
    RunEnded,
    SignatureError,
    StepError,
    WorkerCrashed,
    WorkerOutOfMemory,
    WorkerTimedOut,
)
from dlconv.events import Event
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(**limits: float) -> Worker:
        workers.append(Worker(Path(sys.executable), "test", tmp_path / "worker.log", **limits))  # type: ignore[arg-type]
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def run(worker: Worker, code: str) -> object:
    setup = "import os, signal, subprocess, sys, time"
    return worker.call("timeit:timeit", what="the code", stmt=code, number=1, setup=setup)


def test_arrays_of_every_dtype_travel_both_ways(start: Callable[..., Worker]) -> None:
    worker = start()
    sent = {
        "float": np.array([[1.5, np.nan, -np.inf]], np.float32),
        "integer": np.array(7, np.int64),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float16),
    }
    got = worker.call("dlconv.workers.protocol:unpack", value=sent)
    assert set(got) == set(sent)
    for name, array in sent.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)


def test_numpys_products_leave_cores_to_the_workers_beside(
    start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert start().call("os:getenv", key="OPENBLAS_NUM_THREADS") == str(max(1, (os.cpu_count() or 1) // 2))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    assert start().call("os:getenv", key="OPENBLAS_NUM_THREADS") == "7"


@pytest.mark.parametrize("ending", ["", "; raise RuntimeError('no')", "; os._exit(3)"])
def test_how_far_a_call_has_come_is_told_until_it_ends(start: Callable[..., Worker], ending: str) -> None:
    told: list[Event] = []

    class Told:
        def on(self, event: Event) -> None:
            told.append(event)

    worker = start(told=Told())
    code = f"for n in (1, 2): progress.tell('sample', n, 2); time.sleep(0.2)\nprogress.tell('sample', 2, 2){ending}"
    with nullcontext() if not ending else pytest.raises(StepError):
        worker.call(
            "timeit:timeit", what="the code", stmt=code, number=1, setup="import os, time; from dlconv import progress"
        )
    assert [event.data.get("done") for event in told] == [1, 2, 2, None], "in order, and at last that it is over"
    assert {(event.kind, event.text) for event in told} == {("progress", "the code")}


def test_strings_travel_without_pickle(start: Callable[..., Worker]) -> None:
    got = start().call("dlconv.workers.protocol:unpack", value={"words": np.array([["a", "ü"]], dtype=object)})
    assert got["words"].tolist() == [["a", "ü"]]


def test_a_frameworks_exception_is_a_step_error_with_its_log(start: Callable[..., Worker]) -> None:
    worker = start()
    with pytest.raises(StepError, match="the code: ZeroDivisionError: division by zero") as caught:
        run(worker, "1 / 0")
    assert "ZeroDivisionError" in Path(caught.value.log).read_text()
    assert run(worker, "1") is not None, "an exception does not end the worker"


def test_an_error_of_ours_crosses_as_itself(start: Callable[..., Worker]) -> None:
    code = "from dlconv.errors import SignatureError\nraise SignatureError('met', wanted='this', mend='do that')"
    with pytest.raises(SignatureError) as caught:
        run(start(), code)
    assert (caught.value.met, caught.value.wanted, caught.value.mend) == ("met", "this", "do that")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS])
def test_a_signal_is_a_crash_that_names_it(start: Callable[..., Worker], number: signal.Signals) -> None:
    worker = start()
    with pytest.raises(WorkerCrashed, match=f"was ended by {number.name}"):
        run(worker, f"os.kill(os.getpid(), {int(number)})")
    with pytest.raises(WorkerCrashed):
        run(worker, "1")


def test_leaving_without_an_answer_is_a_crash(start: Callable[..., Worker]) -> None:
    with pytest.raises(WorkerCrashed, match="left with status 3"):
        run(start(), "os._exit(3)")


def test_a_sigkill_from_outside_is_taken_for_want_of_memory(start: Callable[..., Worker]) -> None:
    with pytest.raises(WorkerOutOfMemory, match="the system ended it"):
        run(start(), f"os.kill(os.getpid(), {int(signal.SIGKILL)})")


def test_memory_beyond_the_limit_ends_it(start: Callable[..., Worker]) -> None:
    worker = start(memory_limit_bytes=300 << 20)
    with pytest.raises(WorkerOutOfMemory, match="ran out of memory"):
        run(worker, "kept = [bytearray(b'x' * (16 << 20)) for _ in range(200) if not time.sleep(0.01)]")
    assert worker.peak_memory_bytes > 300 << 20


def test_a_refused_allocation_is_want_of_memory(start: Callable[..., Worker]) -> None:
    with pytest.raises(WorkerOutOfMemory):
        run(start(), "bytearray(1 << 60)")


def test_a_childs_memory_counts(start: Callable[..., Worker]) -> None:
    eater = "import time; kept = b'x' * (400 << 20); time.sleep(60)"
    with pytest.raises(WorkerOutOfMemory):
        run(start(memory_limit_bytes=300 << 20), f"subprocess.run([sys.executable, '-c', {eater!r}])")


def test_a_time_out_ends_it_and_its_children(start: Callable[..., Worker], tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"p = subprocess.Popen(['sleep', '60']); open({str(note)!r}, 'w').write(str(p.pid)); time.sleep(60)"
    begun = time.monotonic()
    with pytest.raises(WorkerTimedOut, match="the code did not finish"):
        run(start(timeout_s=8), code)
    assert time.monotonic() - begun < 30
    assert not _is_running(int(note.read_text()))


def test_no_space_is_an_error_of_the_machine(start: Callable[..., Worker]) -> None:
    with pytest.raises(OutputError, match="no space left"):
        run(start(), "import errno; raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))")


def test_ending_it_from_another_thread_raises_in_the_call(start: Callable[..., Worker]) -> None:
    worker = start()
    threading.Timer(0.5, worker.end).start()
    with pytest.raises(RunEnded, match="the run was ended"):
        run(worker, "time.sleep(60)")


def test_it_leaves_when_its_parent_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    parent = (
        "import sys, os, signal; from pathlib import Path; from dlconv.workers.worker import Worker\n"
        f"worker = Worker(Path(sys.executable), 'test', Path({str(tmp_path / 'log')!r}))\n"
        f"Path({str(note)!r}).write_text(str(worker.call('os:getpid')))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", parent], check=False).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while _is_running(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(int(note.read_text()))


def test_what_it_prints_is_in_the_log_and_no_answer(
    start: Callable[..., Worker], capfd: pytest.CaptureFixture[str]
) -> None:
    worker = start()
    run(worker, "print('from python'); os.write(1, b'from below\\n'); os.write(2, b'a complaint\\n')")
    assert {"from python", "from below", "a complaint"} <= set(worker.log.read_text().splitlines())
    assert capfd.readouterr().out == ""


def test_kept_objects_answer_by_handle(start: Callable[..., Worker]) -> None:
    worker = start()
    handle = worker.call("collections:OrderedDict", keep=True, one=1)
    assert worker.call(f"#{handle}.__len__") == 1
    worker.call("drop", handle=handle)
    with pytest.raises(StepError, match="KeyError"):
        worker.call(f"#{handle}.__len__")


def test_close_leaves_no_process_no_descriptor_and_no_scratch(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    worker = Worker(Path(sys.executable), "test", tmp_path / "log")
    scratch, pid = Path(str(worker.call("os:getcwd"))), int(str(worker.call("os:getpid")))
    worker.close()
    assert not scratch.exists()
    assert not _is_running(pid)
    assert psutil.Process().num_fds() == before


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
