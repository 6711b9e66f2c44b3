"""Where ONNX Runtime spends the time of a model, by its own profile. Worker-side."""

from __future__ import annotations

import json
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.runtimes.onnxruntime import read_trace, session_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.runtimes.base import Tensors


def spent(path: str, inputs: Tensors, least_s: float) -> dict[str, Any]:
    """{"runtime", "runs", "nodes": [[operator, node, milliseconds of a run], ...]} on the CPU, optimised, the first run
    left out; fused operators go by the name of the fusion, one that holds a graph counts without it. Runs for `least_s`
    seconds, and ten times at the least."""
    ort: Any = import_module("onnxruntime")
    with tempfile.TemporaryDirectory(prefix="dlconv-") as folder:
        options = session_options("all", 0)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.run(None, inputs)
        began_s = time.perf_counter()
        runs = 0
        while runs < 10 or time.perf_counter() - began_s < least_s:
            session.run(None, inputs)
            runs += 1
        file = Path(session.end_profiling())
        events = read_trace(file)
        starts = [event["ts"] for event in json.loads(file.read_text(encoding="utf-8")) if event["name"] == "model_run"]
    warm = sorted(starts)[1]
    kernels = [event for event in events if event["ts"] >= warm]
    total: dict[tuple[str, str], float] = {}
    for event, own_us in zip(kernels, own_times(kernels), strict=True):
        node = str(event["name"]).removesuffix("_kernel_time")
        key = str(event["args"].get("op_name", "")), node
        total[key] = total.get(key, 0.0) + own_us / 1000
    return {
        "runtime": f"ONNX Runtime {ort.__version__}",
        "runs": runs,
        "nodes": [[operator, node, ms / runs] for (operator, node), ms in total.items()],
    }


def own_times(events: Sequence[Mapping[str, Any]]) -> list[float]:
    """What each event took in microseconds, without the events within it: If, Loop and Scan hold a graph, whose nodes
    have events of their own."""
    own = [float(event["dur"]) for event in events]
    begun: list[tuple[float, int]] = []  # those that have not ended: their ends and places
    for place in sorted(range(len(events)), key=lambda each: (events[each]["ts"], -events[each]["dur"])):
        end = events[place]["ts"] + events[place]["dur"]
        while begun and (begun[-1][0] < end or begun[-1][0] <= events[place]["ts"]):
            begun.pop()
        if begun:
            own[begun[-1][1]] -= events[place]["dur"]
        begun.append((end, place))
    return [max(each, 0.0) for each in own]
