"""Where OpenVINO spends the time of a model, by its own counters. Worker-side."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.runtimes.openvino_ports import import_openvino

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors


def spent(path: str, inputs: Tensors, least_s: float) -> dict[str, Any]:
    """{"runtime", "runs", "nodes": [[operator, node, milliseconds of a run], ...]} on the CPU in float32, the first run
    left out. Runs for `least_s` seconds, and ten times at the least."""
    ov = import_openvino()
    wishes = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    request: Any = ov.Core().compile_model(path, "CPU", wishes).create_infer_request()
    tensors = {name: ov.Tensor(np.require(value, requirements="C")) for name, value in inputs.items()}
    for name, tensor in tensors.items():
        request.set_tensor(name, tensor)
    request.infer()
    total: dict[tuple[str, str], float] = {}
    began_s, runs = time.perf_counter(), 0
    while runs < 10 or time.perf_counter() - began_s < least_s:
        request.infer()
        runs += 1
        for info in request.profiling_info:
            if info.status.name == "EXECUTED":
                key = str(info.node_type), str(info.node_name)
                total[key] = total.get(key, 0.0) + info.real_time.total_seconds() * 1000
    return {
        "runtime": f"OpenVINO {ov.get_version().partition('-')[0]}",
        "runs": runs,
        "nodes": [[operator, node, ms / runs] for (operator, node), ms in total.items()],
    }
