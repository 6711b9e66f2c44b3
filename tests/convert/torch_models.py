"""TorchScript archives for the tests of more than one room."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def quantised(place: Path, *, tail: bool = False, dynamic: bool = False, script: bool = False) -> Path:
    """A small network, quantised with its ranges read from random pictures. tail: a softmax behind dequantising.
    script: scripted, not traced, so that nothing tells its shapes."""
    import torch
    import torch.ao.quantization as quantisation

    torch.manual_seed(0)
    parts = [torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamic:
            module: Any = quantisation.quantize_dynamic(torch.nn.Sequential(*parts).eval(), {torch.nn.Linear})
        else:
            ends = [quantisation.DeQuantStub(), *([torch.nn.Softmax(dim=-1)] if tail else [])]
            module = torch.nn.Sequential(quantisation.QuantStub(), *parts, *ends).eval()
            module.qconfig = quantisation.get_default_qconfig("x86")
            quantisation.prepare(module, inplace=True)
            module(torch.randn(16, 1, 8, 8))
            quantisation.convert(module, inplace=True)
        example = torch.randn(2, 1, 8, 8)
        made: Any = torch.jit.script(module) if script else torch.jit.trace(module, example, check_trace=False)
        made.save(str(place))
    return place
