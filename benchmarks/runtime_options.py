"""What options of runtimes do to the time of a run: each against the runtime's defaults, side by side, on this machine.

python benchmarks/runtime_options.py [--threads N[,N...]] [--time SECONDS] [--page docs/tune.md]

Three small models with drawn weights: convolutions with shortcuts, branches side by side, and a transformer's encoder.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch  # noqa: TID253  (a script of its own)
from runs import put_section
from torch import nn  # noqa: TID253

import dlconv
from dlconv.asked.runtime_options import OPTIONS
from dlconv.latency import benching
from dlconv.latency.benching import BenchSettings, measure
from dlconv.latency.sides import side_of_bundle
from dlconv.records.bundle import open_bundle
from dlconv.validators.latency import LatencyEvidence

TARGETS = {"onnx": "onnxruntime", "openvino": "openvino"}
WARM_UP_CAP_S = 3.0
"""Of each process: a restless machine does not settle, and there are many."""


class Shortcut(nn.Module):
    """Two convolutions, and the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, width, height, width of the picture], the same out."""
        return torch.relu(x + self.inner(x))


class Branches(nn.Module):
    """Four convolutions of the same input, side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(width, width // 4, size, padding=size // 2) for size in (1, 3, 5, 7)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As Shortcut."""
        return torch.relu(torch.cat([branch(x) for branch in self.branches], 1))


def models() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Each with the shape of its input."""
    torch.manual_seed(0)
    end = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
    return {
        "convolutions": (nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1), *map(Shortcut, [64] * 4), *end), (1, 3, 64, 64)),
        "branches": (nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), *map(Branches, [32] * 6), *end), (1, 3, 64, 64)),
        "transformer": (nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), (1, 64, 128)),
    }


def timed(bundle: Path, runtime: str, threads: int, time_s: float) -> LatencyEvidence:
    """All options of a runtime beside its defaults, in one measurement."""
    side = side_of_bundle(open_bundle(bundle), bundle.name)
    tried = [
        text
        for text, option in OPTIONS[runtime].items()
        if option.least_threads <= threads and not option.settings.items() <= side.runtime.settings.items()
    ]
    sides = [side, *(side.with_options((text,), threads) for text in tried)]
    return measure(sides, BenchSettings(time_s=time_s, cap_s=4 * time_s, threads=threads)).evidence


def rows(threads: tuple[int, ...], time_s: float) -> list[str]:
    """A row for each option and number of threads."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as name:
        for model, (module, shape) in models().items():
            path = Path(name) / f"{model}.pt"
            torch.jit.save(torch.jit.trace(module.eval(), torch.randn(shape), check_trace=False), path)
            for outcome in dlconv.export(path, dlconv.ExportOptions(tuple(TARGETS), Path(name))).outcomes:
                assert outcome.path is not None, outcome.reasons
                for count in threads:
                    evidence = timed(outcome.path, TARGETS[outcome.target], count, time_s)
                    for side, ratio in evidence.ratios.items():
                        told = f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
                        text = f"{outcome.target}, {side.rpartition(', ')[2]}"
                        found.setdefault((text, count), {})[model] = told
                        print(model, text, count, told, flush=True)
    return [
        f"| {text} | {count} | {' | '.join(each.get(model, '-') for model in models())} |"
        for (text, count), each in sorted(found.items())
    ]


def main() -> None:
    """Measure, and write the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--time", type=float, default=9.0)
    parser.add_argument("--page", type=Path)
    asked = parser.parse_args()
    benching.WARM_UP_CAP_S = WARM_UP_CAP_S
    lines = [
        f"| target, option | threads | {' | '.join(models())} |",
        "|---|---|---|---|---|",
        *rows(tuple(map(int, asked.threads.split(","))), asked.time),
    ]
    print("\n".join(lines))
    if asked.page is not None:
        put_section(asked.page, "options", "\n".join(lines))


if __name__ == "__main__":
    main()
