"""Every Keras model of `keras_models.py`, against every target: a section of docs/compatibility.md.

    python benchmarks/keras_runs.py FOLDER [NAME ...] [--again] [--keep DIR]

FOLDER is what `keras_models.py` wrote. Results are kept in benchmarks/results/keras.jsonl; what is there already is not
run again, but for what --again and NAME say.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from runs import TARGETS, Results, cell_text, counts, export, put_section

ROOT = Path(__file__).parents[1]
ALL = (*TARGETS, "saved-model")


def targets(name: str) -> tuple[str, ...]:
    """All, but for a SavedModel what it is already."""
    return ALL if Path(name).suffix else TARGETS


def models(folder: Path) -> list[str]:
    """Keras files and SavedModels, by name."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in (".keras", ".h5") or (path / "saved_model.pb").is_file()
    )


def table(rows: dict[str, dict[str, dict[str, object]]], names: list[str]) -> str:
    """How many pass, and what does not, the targets with one reason together."""
    kinds = {"Keras (.keras)": ".keras", "Keras (.h5)": ".h5", "SavedModel of model.export": ""}
    lines = ["| | " + " | ".join(ALL) + " |", "|---" * (len(ALL) + 1) + "|"]
    for kind, suffix in kinds.items():
        own = [name for name in names if Path(name).suffix == suffix]
        if not own:
            continue
        cells = []
        for target in ALL:
            met = [rows[name][target] for name in own if target in rows[name]]
            passed = sum(cell["word"] == "PASS" for cell in met)
            cells.append(f"{passed} of {len(met)}" if met else "")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += ["", "What did not pass:", "", "| model | target | what |", "|---|---|---|"]
    for name in names:
        bad: dict[str, list[str]] = {}
        for target, cell in rows[name].items():
            if cell["word"] != "PASS":
                bad.setdefault(cell_text(cell), []).append(target)
        lines += [f"| {name} | {', '.join(met) if len(met) < len(rows[name]) else 'all'} | {what} |"
                  for what, met in bad.items()]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="only these files")
    parser.add_argument("--again", action="store_true", help="run them anew")
    parser.add_argument("--keep", type=Path, help="a directory for the bundles")
    parser.add_argument("--timeout", type=float, default=400.0, help="of a model, in seconds")
    arguments = parser.parse_args()
    results = Results(ROOT / "benchmarks" / "results" / "keras.jsonl")
    for name in models(arguments.folder):
        if (arguments.names and name not in arguments.names) or (name in results.rows and not arguments.again):
            continue
        out = Path(tempfile.mkdtemp(prefix="dlconv-keras-", dir=arguments.keep))
        start = time.monotonic()
        cells = export(arguments.folder / name, targets(name), out, timeout_s=arguments.timeout)
        if arguments.keep is None:
            shutil.rmtree(out)
        results.add({"key": name, "cells": cells})
        told = "; ".join(f"{target} {cell_text(cell)}" for target, cell in cells.items())
        print(f"{name} ({time.monotonic() - start:.0f} s): {told}", flush=True)
    rows = {name: row["cells"] for name, row in sorted(results.rows.items())}
    cells = [cell for row in rows.values() for cell in row.values()]
    head = (
        "## Keras models\n\nA member of each family of keras.applications and typical models of many kinds of layers,"
        "\nsmall, with drawn weights (`benchmarks/keras_models.py`, Keras 3.15 on TensorFlow 2.21, 28 November 2026),"
        "\neach exported with no more than `dlconv export MODEL --to TARGET`. How many have a verdict of PASS,"
        "\nof the files that were run (not all that the maker writes). What takes strings, needs"
        "\n`--trust`, or code that is not in the file is refused by design:\n\n"
    )
    text = head + table(rows, list(rows)) + f"\n\nOf {len(cells)}: {counts(cells)}."
    put_section(ROOT / "docs" / "compatibility.md", "Keras models", text)


if __name__ == "__main__":
    main()
