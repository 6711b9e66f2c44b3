"""The larger models of `precision.py`: python benchmarks/precision_models.py NAME FILE.pt

Random weights, drawn so that every layer matters: each keeps the scale of what passes, and none is like another. Batch
statistics would not do: in a network that was never trained they blow up every difference, layer by layer.
"""

from __future__ import annotations

import sys

import torch  # noqa: TID253  (a script of its own)
import transformers  # noqa: TID253
from torch import nn  # noqa: TID253

BLOCKS = (
    (3, 16, 16, True, nn.ReLU, 2), (3, 72, 24, False, nn.ReLU, 2), (3, 88, 24, False, nn.ReLU, 1),
    (5, 96, 40, True, nn.Hardswish, 2), (5, 240, 40, True, nn.Hardswish, 1), (5, 240, 40, True, nn.Hardswish, 1),
    (5, 120, 48, True, nn.Hardswish, 1), (5, 144, 48, True, nn.Hardswish, 1), (5, 288, 96, True, nn.Hardswish, 2),
    (5, 576, 96, True, nn.Hardswish, 1), (5, 576, 96, True, nn.Hardswish, 1),
)  # fmt: skip
"""MobileNetV3-Small, Howard et al. 2019, table 2: kernel, expanded channels, channels, whether it squeezes and excites,
the activation, the stride."""
GAINS = {"encoder": 1.0}
"""By which the variance of a layer's weights is 1 / its inputs; 2 where half of what passes is cut off."""
EXCITED = 4.0
"""The same of a layer whose inputs were multiplied by about a half each."""


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, and its normalisation."""
    made = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(made, nn.BatchNorm2d(outputs))


class Excite(nn.Module):
    """Squeeze-and-excite: each channel by a factor between 0 and 1, which all channels' means decide on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(8, (channels // 4 + 4) // 8 * 8)
        self.squeeze, self.excite = nn.Conv2d(channels, narrow, 1), nn.Conv2d(narrow, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = nn.functional.relu(self.squeeze(nn.functional.adaptive_avg_pool2d(x, 1)))
        return x * nn.functional.hardsigmoid(self.excite(narrow))


class Block(nn.Module):
    """An inverted residual."""

    def __init__(self, inputs: int, row: tuple[int, int, int, bool, type[nn.Module], int]) -> None:
        super().__init__()
        kernel, wide, outputs, excites, activation, stride = row
        expand = [convolution(inputs, wide, 1), activation()] if wide != inputs else []
        depth = [convolution(wide, wide, kernel, stride, wide), activation()]
        self.inner = nn.Sequential(*expand, *depth, *([Excite(wide)] if excites else []))
        self.excited = convolution(wide, outputs, 1) if excites else nn.Identity()
        self.plain = nn.Identity() if excites else convolution(wide, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.plain(self.excited(self.inner(x)))
        return x + made if self.adds else made


class MobileNetV3(nn.Sequential):
    """MobileNetV3-Small with 1000 classes."""

    def __init__(self) -> None:
        widths = [16, *(row[2] for row in BLOCKS)]
        blocks = [Block(inputs, row) for inputs, row in zip(widths, BLOCKS, strict=False)]
        first, last = (convolution(3, 16, 3, 2), nn.Hardswish()), (convolution(96, 576, 1), nn.Hardswish())
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(576, 1024), nn.Hardswish(), nn.Linear(1024, 1000))
        super().__init__(*first, *blocks, *last, *head)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = super().forward(x)
        return answer


class Logits(nn.Module):
    """A classifier of transformers, its answer alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.inner(x).logits
        return answer


def built(name: str) -> nn.Module:
    """The model, before its weights are drawn."""
    if name == "encoder":
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4, 512, batch_first=True), 6)
    if name == "mobilenetv3":
        return MobileNetV3()
    if name == "resnet50":
        return Logits(transformers.ResNetForImageClassification(transformers.ResNetConfig()))
    return Logits(transformers.MobileNetV2ForImageClassification(transformers.MobileNetV2Config()))


def draw(name: str, model: nn.Module) -> None:
    """Its weights."""
    with torch.no_grad():
        for label, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                gain = EXCITED if ".excited." in label else GAINS.get(name, 2.0)
                parameter.normal_(0.0, (gain / parameter[0].numel()) ** 0.5)
            elif label.endswith("weight"):
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(0.0, 0.1)


if __name__ == "__main__":
    asked, path = sys.argv[1:]
    torch.manual_seed(0)
    network = built(asked)
    given = torch.randn((1, 32, 128) if asked == "encoder" else (1, 3, 96, 96))
    draw(asked, network)
    torch.jit.trace(network.eval(), given, check_trace=False).save(path)
