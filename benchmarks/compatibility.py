"""Every TorchScript and ONNX model of a folder, against every target: the first table of docs/compatibility.md.

    python benchmarks/compatibility.py FOLDER [--only WORD]

FOLDER holds MANIFEST.tsv, whose columns `path` and `format` name the models. Results are kept in
benchmarks/results/compatibility.jsonl; what is there already is not run again (remove the file to begin anew).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

from runs import TARGETS, Results, cell_text, counts, export, put_section

ROOT = Path(__file__).parents[1]
FORMATS = ("TorchScript", "ONNX")


def models(folder: Path) -> list[tuple[str, str]]:
    """Path and format of each model that the table is about."""
    with (folder / "MANIFEST.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(row["path"], row["format"]) for row in rows if row["format"] in FORMATS]


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="models whose path holds this word")
    arguments = parser.parse_args()
    results = Results(ROOT / "benchmarks" / "results" / "compatibility.jsonl")
    todo = models(arguments.folder)
    for path, _ in todo:
        if path in results.rows or arguments.only not in path:
            continue
        with tempfile.TemporaryDirectory() as out:
            cells = export(arguments.folder / path, TARGETS, Path(out))
        results.add({"key": path, "cells": cells})
        print(path, {target: cell["word"] for target, cell in cells.items()}, flush=True)
    put_section(ROOT / "docs" / "compatibility.md", "real models", table(todo, results))


def table(todo: list[tuple[str, str]], results: Results) -> str:
    """The table, and the counts below it."""
    lines = [
        "## Real models",
        "",
        "Public models as their authors ship them, exported with no more than `dlconv export MODEL --to TARGET`: error",
        "and bar, both relative to the output's scale, or the reason why there is no artifact.",
        "",
        "| model | format | " + " | ".join(TARGETS) + " |",
        "|---|---|" + "---|" * len(TARGETS),
    ]
    cells = []
    for path, kind in todo:
        if path in results.rows:
            row = results.rows[path]["cells"]
            cells += [row[target] for target in TARGETS]
            lines.append(f"| {path} | {kind} | " + " | ".join(cell_text(row[target]) for target in TARGETS) + " |")
    return "\n".join([*lines, "", f"Of {len(cells)}: {counts(cells)}."])


if __name__ == "__main__":
    main()
