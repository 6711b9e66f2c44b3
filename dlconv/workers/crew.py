"""The workers of one run: leased by toolchain, warmed ahead, and all ended together."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dlconv.errors import DlconvError, RunEnded
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dlconv.events import Listener

WARM: dict[str, list[str]] = {
    "torch": ["torch", "torch.onnx", "onnx"],
    "onnx": ["onnx", "onnxruntime", "onnxsim"],
    "openvino": ["dlconv.runtimes.openvino_ports:import_openvino"],
    "onnx2tf": ["onnx", "onnxruntime", "onnx2tf.tflite_builder"],
}
"""What a toolchain's workers will import anyway, and what takes long."""


class Crew:
    """Workers of one run. At most `slots` of them work at a time.

    logs: directory for one log a worker. told: who is told how far their calls have come. A worker that raised is not
    used again: nobody knows its state.
    """

    def __init__(
        self,
        logs: Path,
        *,
        slots: int,
        memory_limit_bytes: int | None,
        timeout_s: float,
        told: Listener | None = None,
    ) -> None:
        self._logs = logs
        self._memory_limit_bytes = memory_limit_bytes
        self._timeout_s = timeout_s
        self._told = told
        self._slots = threading.BoundedSemaphore(slots)
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, bool], list[tuple[Worker, threading.Event | None]]] = defaultdict(list)
        self._all: list[Worker] = []
        self._warming: list[threading.Thread] = []
        self._closed = False

    def warm(self, toolchains: Iterable[str], *, behind: bool = False) -> None:
        """Start a worker of each now, which is leased first; their slow imports go on one after the other, so that
        they take one core together.

        behind: as of `lease`.
        """
        waiting: list[tuple[Worker, threading.Event, list[str]]] = []
        try:
            for name in toolchains:
                worker, ready = self._start(name, behind=behind), threading.Event()
                waiting.append((worker, ready, WARM.get(name, [])))
                with self._lock:
                    self._idle[name, behind].append((worker, ready))
        finally:  # whoever leases one that was started waits for its imports, whatever became of the next
            thread = threading.Thread(target=_import_all, args=(waiting,), daemon=True)
            self._warming.append(thread)
            thread.start()

    @contextmanager
    def lease(self, toolchain: str, *, behind: bool = False) -> Iterator[Worker]:
        """A worker of the toolchain, this thread's alone, once a slot is free.

        behind: its work goes on beside the others' and is waited for last: it takes of the cores what they leave.
        """
        with self._slots:
            worker = self._next(toolchain, behind=behind)
            try:
                yield worker
            except BaseException:
                worker.close()
                raise
            with self._lock:
                self._idle[toolchain, behind].append((worker, None))

    def end(self) -> None:
        """End every worker, working or not. A call under way raises in its thread, and no worker is started again."""
        with self._lock:
            self._closed = True
            everyone = list(self._all)
        for worker in everyone:
            worker.end()

    def close(self) -> None:
        """End every worker and give everything back. No call may be under way."""
        self.end()
        for thread in self._warming:  # their calls have ended with the workers; what those hold is not theirs any more
            thread.join()
        for worker in self._all:
            worker.close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self, toolchain: str, *, behind: bool) -> Worker:
        while True:
            with self._lock:
                if not self._idle[toolchain, behind]:
                    break
                worker, ready = self._idle[toolchain, behind].pop(0)
            if ready is not None:
                ready.wait()
            if worker.is_alive:
                return worker
            worker.close()
        return self._start(toolchain, behind=behind)

    def _start(self, toolchain: str, *, behind: bool) -> Worker:
        located = toolchains.locate(toolchains.get(toolchain))
        if isinstance(located, toolchains.Missing):
            raise located.error()
        with self._lock:
            if self._closed:
                raise RunEnded("the run was ended")
            number = len(self._all)
            worker = Worker(
                located.interpreter,
                toolchain,
                self._logs / f"{number:02d}-{toolchain}.log",
                memory_limit_bytes=self._memory_limit_bytes,
                timeout_s=self._timeout_s,
                told=self._told,
            )
            self._all.append(worker)
        if behind:
            worker.stand_back()
        return worker


def _import_all(waiting: list[tuple[Worker, threading.Event, list[str]]]) -> None:
    for worker, ready, imports in waiting:
        try:
            worker.call("dlconv.workers.tasks:warm", imports=imports)
        except DlconvError:
            worker.close()  # the first real call meets the same trouble in a new worker, and tells it
        finally:
            ready.set()


def logs_folder() -> Path:
    """Where the workers of a run that begins now keep their logs."""
    from platformdirs import user_log_path

    base = os.environ.get("DLCONV_HOME")
    root = Path(base).expanduser().resolve() / "logs" if base else user_log_path("dlconv")
    return root / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
