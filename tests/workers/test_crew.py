"""Crews: the workers that warm up end with the run, silently."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlconv.errors import RunEnded
from dlconv.workers.crew import Crew
from dlconv.workers.worker import Worker


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(tmp_path, slots=2, memory_limit_bytes=None, timeout_s=60.0)


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.ExceptHookArgs]]:
    """What threads raised: Python would print it over the user's last line."""
    found: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    yield found


def test_a_crew_closed_while_its_workers_import_leaves_nothing_behind(
    crew: Crew, raised: list[threading.ExceptHookArgs], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Worker.call

    def slow_to_tell(*args: Any, **more: Any) -> Any:
        try:
            return call(*args, **more)
        finally:
            time.sleep(0.2)  # so late does a thread learn of its worker's end on a busy machine

    monkeypatch.setattr(Worker, "call", slow_to_tell)
    before = set(threading.enumerate())
    crew.warm(["onnx", "onnx"])
    crew.close()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join()
    assert not left
    assert not raised


def test_a_worker_that_was_started_can_be_leased_though_the_next_could_not_be(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = crew._start

    def start_one(toolchain: str, *, behind: bool) -> object:
        if crew._all:
            raise RunEnded("the run was ended")
        return start(toolchain, behind=behind)

    monkeypatch.setattr(crew, "_start", start_one)
    with crew, pytest.raises(RunEnded):
        crew.warm(["onnx", "onnx"])
    with crew._lock:
        [(_, ready)] = crew._idle["onnx", False]
    assert ready is not None and ready.wait(30)
