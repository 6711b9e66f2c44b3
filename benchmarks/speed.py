"""Speed and memory as ratios, measured side by side in one run on this machine.

    python benchmarks/speed.py [--rounds 3] [--write]

- cold `export --to openvino` of ResNet-50 as TorchScript, up to its last conversion step, against the same steps by
  hand in one Python process; and the peak memory of the largest process of each;
- three targets together against the three one by one;
- a repeat from the cache against the cold run;
- CPU time of `dlconv --help`.

The two sides alternate (A B B A ...); the figure is the ratio of the medians. --write puts them into
docs/speed.md. Needs dlconv[all], the onnx2tf toolchain and transformers (for ResNet-50's architecture: random weights).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

MAKE = """
import sys, torch
from transformers import ResNetConfig, ResNetForImageClassification
torch.manual_seed(0)
model = ResNetForImageClassification(ResNetConfig()).eval()
class Logits(torch.nn.Module):
    def __init__(self): super().__init__(); self.model = model
    def forward(self, x): return self.model(x).logits
torch.jit.trace(Logits(), torch.randn(1, 3, 224, 224)).save(sys.argv[1])
"""

BY_HAND = """
import sys, torch, onnx, onnxsim, openvino
source, out = sys.argv[1:]
model = torch.jit.load(source, map_location="cpu").eval()
torch.onnx.export(model, (torch.randn(1, 3, 224, 224),), out + "/a.onnx", dynamo=False, opset_version=17,
                  input_names=["x"], output_names=["output"])
simple, right = onnxsim.simplify(out + "/a.onnx")
assert right
onnx.save(simple, out + "/b.onnx")
openvino.save_model(openvino.convert_model(out + "/b.onnx"), out + "/model.xml", compress_to_fp16=False)
"""

DLCONV = """
import json, sys, time
from pathlib import Path
start = time.monotonic()
from dlconv.asked.options import ExportOptions
from dlconv.pipeline import export
class Watch:
    converted = 0.0
    def on(self, event):
        if event.kind in ("step-ended", "cached"): self.converted = time.monotonic() - start
source, out, targets, cache, given = sys.argv[1:]
from dlconv.asked.inputs import parse_inputs
watch = Watch()
inputs = parse_inputs(tuple(given.split()))[0]
options = ExportOptions(tuple(targets.split(",")), Path(out), inputs=inputs, use_cache=cache == "1")
result = export(Path(source), options, watch)
assert all(bundle.verdict is not None and bundle.verdict.word == "PASS" for bundle in result.outcomes), result
peaks = [s["peak_memory_bytes"] for b in result.outcomes for r in b.body["routes"] for s in r["steps"]]
print(json.dumps({"converted_s": watch.converted, "total_s": time.monotonic() - start, "peak_bytes": max(peaks)}))
"""


def timed(code: str, *words: str, home: Path) -> dict[str, Any]:
    """Wall time, the peak memory of the process itself, and what it printed as JSON."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "DLCONV_HOME": str(home)},
        text=True,
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"a side of the measurement failed with status {status}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1]) if out.strip() else {}
    return {"wall_s": time.monotonic() - start, "peak_self_bytes": used.ru_maxrss * 1024, **found}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    from dlconv.workers.toolchains import home as toolchains_home

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        (home / "toolchains").symlink_to(toolchains_home(), target_is_directory=True)
        rows = measure(Path(folder), home, arguments.rounds)
    lines = ["| what | measured | bound |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    print("\n".join(lines))
    if arguments.write:
        from runs import put_section

        put_section(ROOT / "docs" / "speed.md", "speed", "\n".join(lines))


def measure(folder: Path, home: Path, rounds: int) -> list[tuple[str, str, str]]:
    """Rows of a table: what, the figure, the bound."""
    model = folder / "resnet50.pt"
    subprocess.run([sys.executable, "-c", MAKE, str(model)], check=True, stderr=subprocess.DEVNULL)
    hand: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    given = "x:1x3x224x224"
    for number in range(rounds):
        sides = [
            lambda: hand.append(timed(BY_HAND, str(model), _folder_in(folder), home=home)),
            lambda: ours.append(timed(DLCONV, str(model), _folder_in(folder), "openvino", "0", given, home=home)),
        ]
        for side in sides if number % 2 == 0 else reversed(sides):
            side()
    rows = [
        _row("cold `export --to openvino`, to the last conversion step / by hand",
            _median(ours, "converted_s") / _median(hand, "wall_s"), 1.15,
            f"{_median(ours, 'converted_s'):.1f} s / {_median(hand, 'wall_s'):.1f} s; "
            f"with verification {_median(ours, 'wall_s'):.1f} s"),
        _row("peak memory of the largest process of a step / by hand",
            _median(ours, "peak_bytes") / _median(hand, "peak_self_bytes"), 1.2,
            f"{_median(ours, 'peak_bytes') / 1e9:.2f} GB / {_median(hand, 'peak_self_bytes') / 1e9:.2f} GB"),
    ]  # fmt: skip
    targets = ("onnx", "openvino", "tflite")
    together = timed(DLCONV, str(model), _folder_in(folder), ",".join(targets), "0", given, home=home)["wall_s"]
    single = [
        timed(DLCONV, str(model), _folder_in(folder), target, "0", given, home=home)["wall_s"] for target in targets
    ]
    rows.append(
        _row(
            "three targets together / one by one",
            together / sum(single),
            0.75,
            f"{together:.1f} s / {sum(single):.1f} s",
        )
    )
    cold = timed(DLCONV, str(model), _folder_in(folder), "openvino", "1", given, home=home)["wall_s"]
    warm = timed(DLCONV, str(model), _folder_in(folder), "openvino", "1", given, home=home)["wall_s"]
    rows.append(_row("a repeat from the cache / cold", warm / cold, 0.2, f"{warm:.1f} s / {cold:.1f} s"))
    rows.append(("CPU time of `dlconv --help`", f"{_help_s():.3f} s", "0.15 s"))
    return rows


def _folder_in(folder: Path) -> str:
    return tempfile.mkdtemp(dir=folder)


def _median(side: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in side)


def _row(what: str, ratio: float, bound: float, figures: str) -> tuple[str, str, str]:
    return what, f"{ratio:.2f} ({figures})", f"{bound}"


def _help_s() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(10):
        subprocess.run([Path(sys.executable).with_name("dlconv"), "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 10


if __name__ == "__main__":
    main()
