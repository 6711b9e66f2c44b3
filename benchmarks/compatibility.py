"""Every model of a folder, against every target: the tables of real models in docs/compatibility.md.

    python benchmarks/compatibility.py FOLDER [--table pytorch|tensorflow] [--only WORD] [--again] [--keep DIR]

FOLDER holds MANIFEST.tsv, whose columns `path` and `format` name the models. Results are kept in
benchmarks/results/NAME.jsonl; what is there already is not run again, but for what --again and --only name. --keep
takes the bundles, which `by_hand_tensorflow.py` reads.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runs import TARGETS, Results, cell_text, counts, export, put_section

ROOT = Path(__file__).parents[1]
WORDS: dict[str, tuple[str, ...]] = {
    # a recording goes in as a string, which no target's kernels take: cut behind the features
    "ML-KWS-for-MCU/CNN_S.pb": ("--input", "Mfcc:1x49x10"),
    "ML-KWS-for-MCU/DNN_S.pb": ("--input", "Mfcc:1x25x10"),
    "ML-KWS-for-MCU/DS_CNN_S.pb": ("--input", "Mfcc:1x49x10"),
    "ML-KWS-for-MCU/GRU_S.pb": ("--input", "Mfcc:1x25x10"),
    # the file does not say these ranks
    "tensorflow-onnx/gru_frozen.pb": ("--input", "X:Nx784", "--input", "keep_prob:scalar"),
}
"""What is said besides --to, of the models that cannot be exported without."""


@dataclass(frozen=True)
class Table:
    """A section of the page: which formats of the manifest, which targets, and where the results are kept."""

    section: str
    head: str
    formats: tuple[str, ...]
    targets: tuple[str, ...]
    results: str


TABLES = {
    "pytorch": Table("real models", "Real models", ("TorchScript", "ONNX"), TARGETS, "compatibility.jsonl"),
    "tensorflow": Table(
        "real models of TensorFlow",
        "Real models of TensorFlow, Keras and TFLite",
        ("SavedModel", "Keras HDF5", "TF1 frozen GraphDef", "TFLite"),
        (*TARGETS, "saved-model"),
        "compatibility_tensorflow.jsonl",
    ),
}


def models(folder: Path, formats: tuple[str, ...]) -> list[tuple[str, str]]:
    """Path and format of each model that a table is about; a SavedModel is its directory."""
    with (folder / "MANIFEST.tsv").open(encoding="utf-8") as file:
        rows = [(row["path"], row["format"]) for row in csv.DictReader(file, delimiter="\t")]
    found = [(path.removesuffix("/saved_model.pb"), kind) for path, kind in rows if kind in formats]
    return [
        (path, kind) for path, kind in found if kind != "SavedModel" or (folder / path / "saved_model.pb").is_file()
    ]


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", choices=TABLES, default="pytorch")
    parser.add_argument("--only", default="", help="models whose path holds this word")
    parser.add_argument("--again", action="store_true", help="run those of --only anew")
    parser.add_argument("--keep", type=Path, help="a directory for the bundles")
    arguments = parser.parse_args()
    about = TABLES[arguments.table]
    results = Results(ROOT / "benchmarks" / "results" / about.results)
    todo = models(arguments.folder, about.formats)
    for path, kind in todo:
        if arguments.only not in path or (path in results.rows and not arguments.again):
            continue
        targets = tuple(target for target in about.targets if (kind, target) != ("SavedModel", "saved-model"))
        with tempfile.TemporaryDirectory() as out:
            cells = export(arguments.folder / path, targets, Path(out), WORDS.get(path, ()), timeout_s=3600)
            if arguments.keep:
                shutil.copytree(out, arguments.keep / path, dirs_exist_ok=True)
        results.add({"key": path, "cells": cells})
        print(path, {target: cell["word"] for target, cell in cells.items()}, flush=True)
    put_section(ROOT / "docs" / "compatibility.md", about.section, table(about, todo, results))


def table(about: Table, todo: list[tuple[str, str]], results: Results) -> str:
    """The table, and the counts below it."""
    lines = [
        f"## {about.head}",
        "",
        "Public models as their authors ship them, exported with no more than `dlconv export MODEL --to TARGET`: error",
        "and bar, both relative to the output's scale, or the reason why there is no artifact.",
        "",
        "| model | format | " + " | ".join(about.targets) + " |",
        "|---|---|" + "---|" * len(about.targets),
    ]
    cells, said = [], []
    for path, kind in todo:
        if path not in results.rows:
            continue
        row = results.rows[path]["cells"]
        cells += row.values()
        shown = (cell_text(row[target]) if target in row else "" for target in about.targets)
        lines.append(f"| {path} | {kind} | " + " | ".join(shown) + " |")
        if path in WORDS:
            said.append(f"`{' '.join(WORDS[path])}` of {path}")
    if said:
        lines += ["", f"Said besides: {'; '.join(said)}."]
    return "\n".join([*lines, "", f"Of {len(cells)}: {counts(cells)}."])


if __name__ == "__main__":
    main()
