"""The models that benchmarks/gpu.py measures, as modules of PyTorch. Needs torch; transformers for ResNet-50's shape.

python benchmarks/gpu_models.py NAME FILE.pt FILE.onnx    # the TorchScript archive, and torch.onnx's own model of it
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch

SHAPES = {"digits": (1, 1, 8, 8), "resnet50": (1, 3, 224, 224), "encoder": (8, 128, 512)}
DIGITS = Path(__file__).parents[1] / "models" / "digits"


def module(name: str) -> torch.nn.Module:
    """The trained digits model; or random weights from a seed, with statistics in which no layer's output vanishes."""
    torch.manual_seed(0)
    if name == "digits":
        spec = importlib.util.spec_from_file_location("train", DIGITS / "train.py")
        assert spec is not None and spec.loader is not None
        train: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(train)
        made: torch.nn.Module = train.Digits()
        made.load_state_dict(torch.jit.load(DIGITS / "digits.pt").state_dict())
        return made.eval()
    if name == "encoder":
        torch.backends.mha.set_fastpath_enabled(False)  # its operator has no counterpart in ONNX
        layer = torch.nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
        made = torch.nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        for weight in made.parameters():
            if weight.dim() > 1:  # its layers are copies of one
                torch.nn.init.xavier_uniform_(weight)
        return made.eval()
    made = _resnet50()
    for part in made.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # statistics are the mean over all batches
    made.train()
    with torch.no_grad():
        for _ in range(4):
            made(torch.randn(SHAPES[name]))
    return made.eval()


def _resnet50() -> torch.nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = ResNetForImageClassification(ResNetConfig())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner(x).logits
            return logits

    return Logits()


def main(name: str, archive: str, onnx: str) -> None:
    """Write both files."""
    made, given = module(name), torch.randn(SHAPES[name])
    traced = torch.jit.trace(made, given, check_trace=False)
    traced.save(archive)
    torch.onnx.export(made, (given,), onnx, dynamo=False, opset_version=16, input_names=["x"], output_names=["y"])


if __name__ == "__main__":
    main(*sys.argv[1:])
