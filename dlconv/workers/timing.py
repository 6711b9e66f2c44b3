"""A model kept open in a worker and timed on command. Worker-side; standard library and NumPy alone.

What is timed is the runtime's own call: inputs are checked and handed over beforehand (`Session.bound`), outputs are
freed and read outside of the interval. The clock is `time.perf_counter_ns`.
"""

from __future__ import annotations

import gc
import importlib
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.model import Signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.base import Session, Tensors

WINDOW_RUNS = 10
"""At least as many runs make a window of the warm-up."""
WINDOWS = 3
TRACE = 64
"""So many windows of the warm-up are told, the last ones."""


def opened(
    runtime: str,
    path: str,
    signature: dict[str, Any],
    settings: dict[str, Any],
    samples: list[Tensors],
    cpus: list[int] | None = None,
) -> Timed:
    """The model at `path`, opened by the adapter `runtime` and run once on each sample.

    samples: distinct inputs of one size, in the artifact's names. cpus: the CPUs that this process is pinned to.
    """
    if cpus:
        os.sched_setaffinity(0, cpus)
    adapter = importlib.import_module(runtime)
    start = time.perf_counter_ns()
    session: Session = adapter.open(path, Signature.from_dict(signature), settings)
    load_ms = (time.perf_counter_ns() - start) / 1e6
    return Timed(session, samples, load_ms)


class Timed:
    """A session and its bound calls, one a sample. Kept in the worker; its methods are called by handle."""

    def __init__(self, session: Session, samples: list[Tensors], load_ms: float) -> None:
        start = time.perf_counter_ns()
        session.run(samples[0])
        first_ms = (time.perf_counter_ns() - start) / 1e6
        self._facts = {
            "load_ms": load_ms,
            "compile_ms": getattr(session, "compile_ms", None),
            "first_ms": first_ms,
            "cpus": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        }
        self._untimed = [_copied(session.run(sample)) for sample in samples]
        bound = [_bound(session, sample) for sample in samples]
        self._calls = [call for call, _ in bound]
        self._reads = [read for _, read in bound]
        self._answers: dict[int, Tensors] = {}

    def facts(self) -> dict[str, Any]:
        """load_ms (reading and compiling), compile_ms (None where it is not apart), first_ms (the first run, its inputs
        handed over and its outputs read), cpus (those that this process may use)."""
        return self._facts

    def warm_up(self, least_s: float, cap_s: float, agree: float) -> dict[str, Any]:
        """Run until the medians of three windows in a row lie within the share `agree` of each other, for at least
        `least_s` seconds, at most `cap_s`.

        Returns {"runs", "seconds", "is_settled", "windows_ms" (medians, the last 64), "run_ms" (the last median)}.
        """
        start = time.perf_counter()
        runs, medians = 0, list[float]()
        window_s = least_s / (WINDOWS + 1)
        while True:
            times = self._window(runs, window_s, start + cap_s)
            runs += len(times)
            medians.append(float(np.median(times)) / 1e6)
            last = medians[-WINDOWS:]
            seconds = time.perf_counter() - start
            settled = len(last) == WINDOWS and max(last) <= (1 + agree) * min(last)
            if (settled and seconds >= least_s and runs >= WINDOW_RUNS) or seconds >= cap_s:
                return {
                    "runs": runs,
                    "seconds": seconds,
                    "is_settled": settled,
                    "windows_ms": medians[-TRACE:],
                    "run_ms": last[-1],
                }

    def burst(self, runs: int, offset: int, kept: int, rewarm_s: float) -> Any:
        """The times of `runs` runs in nanoseconds (int64), in order: run i is on sample (offset + i) % samples.

        Before them runs go untimed for `rewarm_s` seconds, at least one unless that is 0: another process had the
        caches. The answer of run `kept` is kept for `answers`.
        """
        was_collecting = gc.isenabled()
        gc.disable()
        try:
            end = time.perf_counter() + rewarm_s
            while time.perf_counter() < end:
                self._calls[offset % len(self._calls)]()
            return self._timed(runs, offset, kept)
        finally:
            if was_collecting:
                gc.enable()

    def answers(self) -> dict[str, Any]:
        """{"samples" (indices), "timed" (the outputs of the last timed run that was kept of each), "untimed" (of plain
        runs of the same samples)}: what was fast must be right as well."""
        indices = sorted(self._answers)
        return {
            "samples": indices,
            "timed": [self._answers[index] for index in indices],
            "untimed": [self._untimed[index] for index in indices],
        }

    def _timed(self, runs: int, offset: int, kept: int) -> np.ndarray[Any, Any]:
        clock, count = time.perf_counter_ns, len(self._calls)
        times = np.empty(runs, np.int64)
        for run in range(runs):
            index = (offset + run) % count
            call = self._calls[index]
            start = clock()
            answer = call()
            times[run] = clock() - start
            if run == kept:
                self._answers[index] = _copied(self._reads[index](answer))
            del answer  # what the runtime frees is not in the next run's time
        return times

    def _window(self, first: int, least_s: float, deadline: float) -> list[int]:
        clock, times = time.perf_counter_ns, list[int]()
        start = clock()
        while True:
            call = self._calls[(first + len(times)) % len(self._calls)]
            begun = clock()
            call()
            end = clock()
            times.append(end - begun)
            enough = end - start >= least_s * 1e9 and len(times) * WINDOWS >= WINDOW_RUNS
            if enough or end >= deadline * 1e9:
                return times


def _bound(session: Any, sample: Tensors) -> tuple[Callable[[], Any], Callable[[Any], Tensors]]:
    # A session without calls of its own to be timed is timed as it is called.
    if not hasattr(session, "bound"):
        return lambda: session.run(sample), lambda answer: answer
    call, read = session.bound(sample)
    return call, read


def _copied(tensors: Tensors) -> Tensors:
    return {name: np.array(array) for name, array in tensors.items()}
