"""Latency of TensorRT plans, side by side in one process. Needs tensorrt and NumPy.

python benchmarks/gpu_plans.py NAME=PLAN...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorrt
from gpu_timing import timed

sys.path.append(str(Path(__file__).parents[1]))

from dlconv.runtimes.cuda import Clock, Device, Memory

if TYPE_CHECKING:
    from collections.abc import Callable


def main(*named: str) -> None:
    """Print the medians as JSON."""
    trt: Any = tensorrt
    device, log = Device(), trt.Logger(trt.Logger.WARNING)
    runtime = trt.Runtime(log)
    held: list[Any] = []
    runs: dict[str, Callable[[], Any]] = {}
    for name, path in (each.split("=", 1) for each in named):
        engine = runtime.deserialize_cuda_engine(Path(path).read_bytes())
        context = engine.create_execution_context()
        for index in range(engine.num_io_tensors):
            tensor = engine.get_tensor_name(index)
            shape = tuple(engine.get_tensor_shape(tensor))
            array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            memory = Memory(device, array.nbytes)
            memory.write(array)
            device.wait()
            context.set_tensor_address(tensor, memory.address)
            held.append((memory, engine))
        runs[name] = lambda context=context: context.execute_async_v3(device.stream)  # type: ignore[misc]

    clock = Clock(device, 2)

    def gpu_ms(call: Callable[[], Any]) -> float:
        clock.mark(0)
        call()
        clock.mark(1)
        device.wait()
        return clock.intervals_ms()[0]

    print(json.dumps(timed(runs, device.wait, gpu_ms)))


if __name__ == "__main__":
    main(*sys.argv[1:])
