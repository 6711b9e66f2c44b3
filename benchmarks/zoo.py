"""Breadth: many architectures as TorchScript and .pt2 against every target, beside the same tools used by hand.

    python benchmarks/zoo.py run FOLDER [--what fixed,free,exported,hand] [--only WORD]
    python benchmarks/zoo.py table

FOLDER takes the models, which `zoo_models.py` makes where they are absent. What is run:

- fixed: NAME.pt with the traced sizes;
- free: NAME.pt with free dimensions (batch, sequence), where the architecture has them;
- exported: NAME.pt2, whose own free dimensions it brings along;
- fp16, int8: NAME.pt with the traced sizes in that precision; int8 is calibrated on random numbers, as nothing else is
  there, and may keep what has to stay (--search);
- hand: the usual commands in one script, without dlconv, from the model's Python source: torch.onnx.export and onnxsim,
  then ONNX Runtime, OpenVINO's converter or onnx2tf; right where every output lies within 1e-4 of the source's scale.

Results are kept in benchmarks/results/zoo.jsonl; what is there already is not run again. `table` writes the counts
into docs/compatibility.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from runs import TARGETS, Results, cell_text, counts, export, put_section

ROOT = Path(__file__).parents[1]
PRECISIONS = {
    "fp16": ("--fp16",),
    "int8": ("--int8", "--allow-random-calibration", "--search", "--search-budget", "60", "--draws", "32"),
}
RESULTS = ROOT / "benchmarks" / "results" / "zoo.jsonl"
HEADS = {
    "fixed": "TorchScript, the traced sizes",
    "free": "TorchScript, free dimensions",
    "exported": ".pt2, free dimensions",
    "fp16": "TorchScript, the traced sizes, --fp16",
    "int8": "TorchScript, the traced sizes, --int8 --search",
    "hand": "by hand from the Python source, the traced sizes",
}


def main() -> None:
    """Run, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("folder", type=Path)
    run.add_argument("--what", default=",".join(HEADS))
    run.add_argument("--only", default="")
    commands.add_parser("table")
    arguments = parser.parse_args()
    results = Results(RESULTS)
    if arguments.command == "run":
        if not any(arguments.folder.glob("*.json")):
            subprocess.run(
                [sys.executable, str(ROOT / "benchmarks" / "zoo_models.py"), str(arguments.folder)], check=False
            )
        for what in arguments.what.split(","):
            for described in sorted(arguments.folder.glob("*.json")):
                if arguments.only in described.stem and f"{described.stem}/{what}" not in results.rows:
                    _run(described, what, results)
    put_section(ROOT / "docs" / "compatibility.md", "architectures", _table(results))


def _run(described: Path, what: str, results: Results) -> None:
    specs = json.loads(described.read_text(encoding="utf-8"))
    model = described.with_suffix(".pt2" if what == "exported" else ".pt")
    is_free = any(isinstance(size, str) for spec in specs for size in spec["shape"])
    if not model.exists() or (what == "free" and not is_free):
        return
    with tempfile.TemporaryDirectory() as out:
        if what == "hand":
            cells = _by_hand(described, Path(out))
        else:
            words = () if what == "exported" else tuple(_flags(specs, what == "free"))
            cells = export(model, TARGETS, Path(out), ("--draws", "4", *PRECISIONS.get(what, ()), *words))
    results.add({"key": f"{described.stem}/{what}", "cells": cells})
    print(described.stem, what, {target: cell["word"] for target, cell in cells.items()}, flush=True)


def _flags(specs: list[dict[str, Any]], is_free: bool) -> list[str]:
    flags = []
    for spec in specs:
        shape = spec["shape"] if is_free else spec["traced"]
        text = ",".join(map(str, shape)) if shape else "scalar"
        flags += ["--input", f"{spec['name']}:{text}:{spec['dtype']}"]
    return flags


def _by_hand(described: Path, out: Path) -> dict[str, dict[str, Any]]:
    from dlconv.workers import toolchains

    located = toolchains.locate(toolchains.get("onnx2tf"))
    onnx2tf = str(located.interpreter) if isinstance(located, toolchains.Located) else ""
    command = [sys.executable, str(ROOT / "benchmarks" / "by_hand.py"), str(described), str(out), onnx2tf]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return {target: {"word": "ERROR", "reason": "not done in 600 s"} for target in TARGETS}
    cells = {target: {"word": "ERROR", "reason": _last(ran.stderr)} for target in TARGETS}
    for line in ran.stdout.splitlines():
        if line.startswith("{"):
            cell = json.loads(line)
            cells[cell.pop("target")] = cell
    return cells


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["ended without a word"])[-1][:300]


def _table(results: Results) -> str:
    names = sorted({key.partition("/")[0] for key in results.rows})
    lines = [
        "## Architectures",
        "",
        f"{len(names)} architectures from `transformers` configurations, small and randomly initialised",
        "(`benchmarks/zoo_models.py`), with weights so large that every layer shows. How many have a verdict of PASS",
        "(precisions were run for the first of them by name; int8 on random calibration, the search given a minute):",
        "",
        "| | " + " | ".join(TARGETS) + " | all |",
        "|---|" + "---|" * (len(TARGETS) + 1),
    ]
    by_hand = {key.partition("/")[0] for key in results.rows if key.endswith("/hand")}
    heads = [(what, head, set(names)) for what, head in HEADS.items()]
    heads.insert(1, ("fixed", "the same, those of the last row alone", by_hand))
    for what, head, models in heads:
        rows = [results.rows[f"{name}/{what}"]["cells"] for name in sorted(models) if f"{name}/{what}" in results.rows]
        if not rows:
            continue
        each = [sum(row[target]["word"] == "PASS" for row in rows) for target in TARGETS]
        total = len(rows) * len(TARGETS)
        parts = [f"{number} of {len(rows)}" for number in each]
        lines.append(f"| {head} | " + " | ".join(parts) + f" | {sum(each)} of {total} ({sum(each) / total:.1%}) |")
    lines += ["", "What did not pass:", "", "| model | run | target | what |", "|---|---|---|---|"]
    for key, row in sorted(results.rows.items()):
        name, _, what = key.partition("/")
        for target in TARGETS:
            if row["cells"][target]["word"] != "PASS":
                lines.append(f"| {name} | {what} | {target} | {cell_text(row['cells'][target])} |")
    cells = [cell for row in results.rows.values() for cell in row["cells"].values()]
    return "\n".join([*lines, "", f"All runs together: {counts(cells)}."])


if __name__ == "__main__":
    main()
