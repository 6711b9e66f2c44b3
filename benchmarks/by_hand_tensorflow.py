"""dlconv beside the usual commands, both by one plain measure: the second table of TensorFlow's models.

    python benchmarks/by_hand_tensorflow.py FOLDER BUNDLES [--only WORD] [--again] [--what hand,dlconv]

For each model of `compatibility.py --table tensorflow`: real inputs (`real_inputs.py`), what the source answers in its
own framework in float32, what the artifacts made by hand (`by_hand_steps.py`) answer, and what those of BUNDLES do
(`compatibility.py --keep BUNDLES`), each in an interpreter of a process of its own (`plain_run.py`). dlconv takes part
in no judgement here.

The measure: same shapes, and every float output within 1e-4 of the source's largest absolute value in that output;
every integer output within one step. Outputs made by hand are paired with the source's so that they agree best; those
of a bundle by the names of its receipt. Results are kept in benchmarks/results/by_hand_tensorflow.jsonl.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from compatibility import ROOT, TABLES, WORDS, models
from plain_run import Tensors, load
from runs import Results, put_section

BOUND, STEPS_BOUND, LIMIT_S = 1e-4, 1, 900
KINDS = {
    "SavedModel": "saved-model",
    "Keras HDF5": "keras",
    "TF1 frozen GraphDef": "frozen-graph",
    "TFLite": "tflite",
    "ONNX": "onnx",
}
HERE = Path(__file__).parent
Cell = dict[str, Any]


class ToolFailure(Exception):
    """A tool ended without what it was run for. Its last words."""


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("bundles", type=Path)
    parser.add_argument("--only", default="", help="models whose path holds this word")
    parser.add_argument("--again", action="store_true", help="run those of --only anew")
    parser.add_argument("--what", default="hand,dlconv")
    arguments = parser.parse_args()
    about = TABLES["tensorflow"]
    results = Results(ROOT / "benchmarks" / "results" / "by_hand_tensorflow.jsonl")
    todo = models(arguments.folder, about.formats)
    for path, kind in todo:
        missing = [what for what in arguments.what.split(",") if f"{path}/{what}" not in results.rows]
        chosen = arguments.what.split(",") if arguments.again else missing
        if arguments.only not in path or not chosen:
            continue
        targets = [target for target in about.targets if (kind, target) != ("SavedModel", "saved-model")]
        with tempfile.TemporaryDirectory() as place:
            for what, cells in compared(arguments, path, kind, targets, chosen, Path(place)).items():
                results.add({"key": f"{path}/{what}", "cells": cells})
                print(path, what, {target: _text(cell) for target, cell in cells.items()}, flush=True)
    put_section(ROOT / "docs" / "compatibility.md", "by hand of TensorFlow", table(todo, results))


def compared(
    arguments: argparse.Namespace, path: str, kind: str, targets: list[str], chosen: list[str], place: Path
) -> dict[str, dict[str, Cell]]:
    """The cells of a model, by hand and from its bundles."""
    source, inputs = arguments.folder / path, place / "inputs.npz"
    try:
        python("tensorflow", HERE / "real_inputs.py", arguments.folder, path, inputs)
        right = answers(KINDS[kind], source, inputs, place)
    except ToolFailure as failure:
        cell = {"word": "ERROR", "reason": f"the source itself: {failure}"}
        return {what: dict.fromkeys(targets, cell) for what in chosen}
    found: dict[str, dict[str, Cell]] = {what: {} for what in chosen}
    for what, target in itertools.product(chosen, targets):
        make = _by_hand if what == "hand" else _bundled
        try:
            where = place / f"{what}-{target}"
            where.mkdir()
            found[what][target] = make(arguments, path, kind, target, inputs, right, where)
        except ToolFailure as failure:
            found[what][target] = {"word": "ERROR", "reason": str(failure)}
    return found


def _by_hand(
    arguments: argparse.Namespace, path: str, kind: str, target: str, inputs: Path, right: list[Tensors], place: Path
) -> Cell:
    made = by_hand(arguments.folder / path, KINDS[kind], target, place, _entered(path))
    return judged(right, answers(target, made, inputs, place), None)


def by_hand(source: Path, kind: str, target: str, place: Path, entered: list[str]) -> Path:
    """The artifact of the usual commands. Raises ToolFailure."""
    name = kind.replace("-", "_")
    if target in ("onnx", "onnxruntime"):
        return step("tensorflow", f"{name}_to_onnx", source, place / "model.onnx", *entered)
    if target == "openvino":
        if kind in ("keras", "frozen-graph"):  # it reads no Keras file, and a graph from its placeholders alone
            source = step("tensorflow", f"{name}_to_saved_model", source, place / "saved", *entered)
        return step("here", "to_openvino", source, place / "model.xml")
    if kind == target:  # a TFLite file already
        return source
    if target == "tflite":
        return step("tensorflow", f"{name}_to_tflite", source, place / "model.tflite", *entered)
    if kind == "tflite":
        onnx = step("tensorflow", "tflite_to_onnx", source, place / "model.onnx")
        return step("onnx2tf-tensorflow", "onnx_to_saved_model", onnx, place / "saved")
    return step("tensorflow", f"{name}_to_saved_model", source, place / "saved", *entered)


def _bundled(
    arguments: argparse.Namespace, path: str, kind: str, target: str, inputs: Path, right: list[Tensors], place: Path
) -> Cell:
    found = sorted((arguments.bundles / path).glob(f"*-{target}-fp32/dlconv.json"))
    if not found:
        raise ToolFailure("no bundle")
    receipt = json.loads(found[0].read_text(encoding="utf-8"))
    got = answers(target, found[0].parent / receipt["artifact"]["entry"], inputs, place)
    names = {tensor["source"]: tensor["name"] for tensor in receipt["artifact"]["outputs"]}
    return {**judged(right, got, names), "verdict": receipt["verdict"]["word"]}


def step(toolchain: str, name: str, source: Path, out: Path, *words: str) -> Path:
    """A step of `by_hand_steps.py`. Raises ToolFailure."""
    python(toolchain, HERE / "by_hand_steps.py", name, source, out, *words)
    if not out.exists():
        raise ToolFailure(f"{name} made nothing")
    return out


def answers(kind: str, model: Path, inputs: Path, place: Path) -> list[Tensors]:
    """What a model answers in its plain interpreter. Raises ToolFailure."""
    out = place / "answers.npz"
    toolchain = "tensorflow" if kind in ("saved-model", "keras", "frozen-graph") else "here"
    python(toolchain, HERE / "plain_run.py", kind, model, inputs, out)
    return load(out)


def python(toolchain: str, *words: object) -> str:
    """Run a script in a toolchain's interpreter, with a time limit. Raises ToolFailure."""
    from dlconv.workers import toolchains

    interpreter = sys.executable
    if toolchain != "here":
        located = toolchains.locate(toolchains.get(toolchain))
        if not isinstance(located, toolchains.Located):
            raise SystemExit(f"the toolchain {toolchain} is not installed: dlconv toolchain install {toolchain}")
        interpreter = str(located.interpreter)
    try:
        command = [interpreter, *map(str, words)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ToolFailure(f"not done in {LIMIT_S} s") from None
    if ran.returncode:
        told = [line for line in ran.stderr.strip().splitlines() if line.strip()] or ["no word"]
        if ran.returncode < 0:
            raise ToolFailure(f"ended by signal {-ran.returncode}: {told[-1][:200]}")
        errors = [line for line in told if "Error" in line.partition(" ")[0] and "CalledProcess" not in line]
        raise ToolFailure((errors or told)[-1][:300])
    return ran.stdout


def judged(right: list[Tensors], got: list[Tensors], names: dict[str, str] | None) -> Cell:
    """The measure. `names` are the artifact's outputs, by the source's; without, the best pairing counts."""
    wanted, given = list(right[0]), list(got[0])
    if len(wanted) != len(given):
        return {"word": "FAIL", "reason": f"{len(given)} outputs instead of {len(wanted)}", "error": None}
    if len(wanted) == 1:
        pairings = [dict(zip(wanted, given, strict=True))]
    elif names is not None:
        pairings = [{name: _named(names[name], given) for name in wanted}]
    else:
        pairings = [dict(zip(wanted, order, strict=True)) for order in itertools.permutations(given)]
    return min((_measured(right, got, pairing) for pairing in pairings), key=lambda cell: float(cell["share"]))


def _named(name: str, given: list[str]) -> str:
    alike = [known for known in given if name in known.split("|")]
    if not alike:
        raise ToolFailure(f"no output is named {name}: there are {', '.join(given)}")
    return alike[0]


def _measured(right: list[Tensors], got: list[Tensors], pairing: dict[str, str]) -> Cell:
    """The worst output: its error, in units of the bound."""
    worst: Cell = {"word": "PASS", "reason": "", "error": 0.0, "share": 0.0}
    for name, other in pairing.items():
        pairs = [(a[name], b[other]) for a, b in zip(right, got, strict=True)]
        unlike = next(((a, b) for a, b in pairs if a.shape != b.shape or a.dtype != b.dtype), None)
        if unlike is not None:
            a, b = unlike
            reason = f"{other}: {b.dtype}{list(b.shape)} instead of {a.dtype}{list(a.shape)}"
            return {"word": "FAIL", "reason": reason, "error": None, "share": float("inf")}
        error = max(float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)))) for a, b in pairs)
        is_whole = pairs[0][0].dtype.kind in "iu"
        if not is_whole:
            error /= max(float(np.max(np.abs(a))) for a, _ in pairs)
        share = error / (STEPS_BOUND if is_whole else BOUND)
        if not share <= worst["share"]:
            share = share if share == share else float("inf")
            word = "PASS" if share <= 1 else "FAIL"
            worst = {"word": word, "reason": "", "error": error, "share": share, "steps": is_whole}
    return worst


def _entered(path: str) -> list[str]:
    """Where a frozen graph is entered: the same words as dlconv's."""
    if not path.endswith(".pb"):
        return []
    words = [word for word in WORDS.get(path, ()) if word != "--input"] or ["X:1x784"]
    return [word.replace("scalar", "").replace("N", "1") for word in words]


def _text(cell: Cell) -> str:
    if cell["word"] == "ERROR":
        return "none"
    if cell.get("error") is None:
        return f"FAIL {cell['reason']}"
    if cell.get("steps"):
        return f"{cell['word']} {cell['error']:.0f} steps"
    return f"{cell['word']} {cell['error']:.0e}"


def table(todo: list[tuple[str, str]], results: Results) -> str:
    """How many hold by the measure, by hand and of dlconv's bundles; and where a verdict and the measure part."""
    rows = {what: {path: results.rows.get(f"{path}/{what}", {}).get("cells", {}) for path, _ in todo} for what in
            ("hand", "dlconv")}  # fmt: skip
    targets = list(dict.fromkeys(target for cells in rows["hand"].values() for target in cells))
    lines = ["| | " + " | ".join(targets) + " | all |", "|---|" + "---|" * (len(targets) + 1)]
    for what, label in (("hand", "the usual commands"), ("dlconv", "dlconv's bundles")):
        counts = [_held([cells[target] for cells in rows[what].values() if target in cells]) for target in targets]
        held, tried = (sum(count[place] for count in counts) for place in (0, 1))
        lines.append(f"| {label} | " + " | ".join(f"{a} of {b}" for a, b in (*counts, (held, tried))) + " |")
    parted = [
        f"| {path} | {target} | {_text(cell)} | {_text(rows['hand'][path][target])} |"
        for path, cells in rows["dlconv"].items()
        for target, cell in cells.items()
        if cell.get("verdict") == "PASS" and cell["word"] != "PASS"
    ]
    about = (
        "Real inputs where the authors ship some; each file in its plain interpreter. It holds where every float output"
        " lies within 1e-4 of the source's scale and every integer output within one step (`by_hand_tensorflow.py`)."
    )
    told = ["## The same models by hand", "", about, "", *lines, ""]
    if parted:
        told += [
            "Verdicts of PASS that this measure does not share, for it knows no noise of the model's own (a step of a",
            "quantised layer is several at its end):",
            "",
            "| model | target | dlconv | by hand |",
            "|---|---|---|---|",
            *parted,
        ]
    else:
        told.append("No verdict of PASS is one that this measure refuses.")
    return "\n".join(told)


def _held(cells: list[Cell]) -> tuple[int, int]:
    return sum(cell["word"] == "PASS" for cell in cells), len(cells)


if __name__ == "__main__":
    main()
