"""How benchmarks/gpu.py times calls on a GPU, whatever framework makes them: in blocks that alternate."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM_UP, _BLOCKS, _BLOCK_S = 50, 30, 0.03


def timed(
    runs: dict[str, Callable[[], Any]], wait: Callable[[], Any], gpu_ms: Callable[[Callable[[], Any]], float]
) -> dict[str, Any]:
    """By name, the medians over all blocks of the time of a run in milliseconds: "gpu_ms" by the GPU's own clock, back
    to back; "wall_ms" by the wall clock, each run awaited.

    wait: until the GPU is done. gpu_ms: calls, and tells the milliseconds that the GPU counts for it.
    """
    counts: dict[str, int] = {}
    for name, run in runs.items():
        for _ in range(_WARM_UP):
            run()
        wait()
        start = time.perf_counter()
        for _ in range(10):
            run()
        wait()
        counts[name] = max(3, int(_BLOCK_S * 10 / (time.perf_counter() - start)))
    found: dict[str, Any] = {name: {"gpu_ms": [], "wall_ms": []} for name in runs}
    for block in range(_BLOCKS):
        for name in list(runs) if block % 2 else list(runs)[::-1]:
            run, count = runs[name], counts[name]
            found[name]["gpu_ms"].append(gpu_ms(lambda run=run, count=count: _repeat(run, count)) / count)  # type: ignore[misc]
            start = time.perf_counter()
            for _ in range(count):
                run()
                wait()
            found[name]["wall_ms"].append((time.perf_counter() - start) * 1000 / count)
    return {
        name: {kind: statistics.median(values) for kind, values in both.items()} | {"runs": counts[name] * _BLOCKS}
        for name, both in found.items()
    }


def _repeat(run: Callable[[], Any], count: int) -> None:
    for _ in range(count):
        run()
