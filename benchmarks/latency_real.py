"""A/A on this machine: `dlconv bench` of the digits model against a copy of itself, several times.

python benchmarks/latency_real.py [--runs N] [--time SECONDS] [--page docs/latency.md]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from runs import put_section

DIGITS = Path(__file__).parents[1] / "models" / "digits"


def measured(folder: Path, seed: int, time_s: float) -> dict[str, Any]:
    """The evidence of one run."""
    command = [sys.executable, "-m", "dlconv", "-qq", "bench", str(folder / "copy.onnx"), "--against",
               str(folder / "model.onnx"), "--samples", str(DIGITS / "samples.npz"), "--threads", "1", "--time",
               str(time_s), "--seed", str(seed), "--json", "-"]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    evidence: dict[str, Any] = json.loads(ran.stdout)["evidence"]
    return evidence


def row(evidence: dict[str, Any]) -> str:
    """A row of the table."""
    ratio = evidence["ratios"]["copy.onnx"]
    others = "unknown" if evidence["others"] is None else f"{100 * evidence['others']:.0f}%"
    return (
        f"| {evidence['seed']} | {ratio['ratio']:.3f} | {ratio['low']:.3f} to {ratio['high']:.3f} | {ratio['word']} "
        f"| {100 * evidence['noise']:.1f}% | {evidence['rounds']} | {evidence['seconds']:.0f} s | {others} |"
    )


def main() -> None:
    """Measure, and write the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--time", type=float, default=15.0)
    parser.add_argument("--page", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for copy in ("model.onnx", "copy.onnx"):
            shutil.copy(DIGITS / "digits.onnx", folder / copy)
        rows = [row(measured(folder, seed, asked.time)) for seed in range(asked.runs)]
    lines = [
        "The digits model against a copy of itself, in ONNX Runtime with one thread, some 30 µs a run:",
        "",
        "| run | ratio | interval | word | noise floor | rounds | took | CPUs used by others |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    print("\n".join(lines))
    if asked.page is not None:
        put_section(asked.page, "real", "\n".join(lines))


if __name__ == "__main__":
    main()
