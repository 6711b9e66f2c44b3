"""Latency of a model in PyTorch, eager and compiled, and in ONNX Runtime's CUDA provider. Needs torch for CUDA.

python benchmarks/gpu_torch.py NAME FILE.onnx
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpu_models import SHAPES, module
from gpu_timing import timed

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def main(name: str, onnx: str) -> None:
    """Print the medians as JSON. TF32 is off."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    given = np.random.default_rng(0).standard_normal(SHAPES[name]).astype(np.float32)
    runs: dict[str, Callable[[], Any]] = {}
    for word, dtype in DTYPES.items():
        made, x = module(name).to("cuda", dtype), torch.from_numpy(given).to("cuda", dtype)
        runs[f"PyTorch eager {word}"] = lambda made=made, x=x: made(x)  # type: ignore[misc]
        compiled = torch.compile(made, mode="reduce-overhead")
        runs[f"torch.compile {word}"] = lambda compiled=compiled, x=x: compiled(x)  # type: ignore[misc]
    runs.update(_onnxruntime(onnx, torch.from_numpy(given).to("cuda")))

    def gpu_ms(call: Callable[[], Any]) -> float:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        call()
        last.record()
        torch.cuda.synchronize()
        return float(first.elapsed_time(last))

    with torch.inference_mode():
        print(json.dumps(timed(runs, torch.cuda.synchronize, gpu_ms)))


def _onnxruntime(path: str, x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """Its stream is another than PyTorch's, so its time on the GPU is that of the wall clock."""
    try:
        import onnxruntime
    except ImportError:
        return {}
    provider = "CUDAExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        return {}
    session = onnxruntime.InferenceSession(path, providers=[(provider, {"use_tf32": "0"})])
    if provider not in session.get_providers():
        return {}
    binding = session.io_binding()
    binding.bind_input("x", "cuda", 0, "float32", list(x.shape), x.data_ptr())
    binding.bind_output("y", "cuda")
    return {"ONNX Runtime CUDA fp32": lambda: session.run_with_iobinding(binding)}


if __name__ == "__main__":
    main(*sys.argv[1:])
