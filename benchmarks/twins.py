"""dlconv's artifact beside the one that a model's authors ship in the same format: the table of twins.

    python benchmarks/twins.py FOLDER [--only WORD] [--again]

Each pair of TWINS is a source and another format of the same model by the same authors. The source is exported by
dlconv to that format; then source, artifact and twin answer the same inputs (`real_inputs.py`: the authors' own where
they ship some, else draws), each in its plain interpreter (`plain_run.py`). dlconv takes part in no judgement here.

An error is the largest difference from the source's answers in its own framework, in units of the largest value of that
output; of several outputs the worst counts. Results are kept in benchmarks/results/twins.jsonl.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from by_hand_tensorflow import HERE, ToolFailure, answers, judged, python
from compatibility import ROOT
from plain_run import Tensors, load, save
from runs import Results, export, put_section

NOISE = 1e-5
"""Differences under this are roundings of float32 in another order, in which neither is the closer one."""


@dataclass(frozen=True)
class Twin:
    """A source with its kind, and what the authors ship besides. turned: the source takes channels first, and the
    inputs, which the twin takes as they are, come with channels last."""

    source: str
    kind: str
    other: str
    target: str
    turned: bool = False


TWINS = (
    Twin("basic-pitch/nmp", "saved-model", "basic-pitch/nmp.onnx", "onnx"),
    Twin("basic-pitch/nmp", "saved-model", "basic-pitch/nmp.tflite", "tflite"),
    Twin("tiny/pretrainedResnet.h5", "keras", "tiny/pretrainedResnet.tflite", "tflite"),
    Twin("tiny/vww_96.h5", "keras", "tiny/vww_96_float.tflite", "tflite"),
    Twin(
        "hand-gesture-recognition-using-mediapipe/keypoint_classifier.hdf5",
        "keras",
        "hand-gesture-recognition-using-mediapipe/keypoint_classifier.tflite",
        "tflite",
    ),
    Twin(
        "Ultra-Light-Fast-Generic-Face-Detector-1MB/version-RFB-320_without_postprocessing.onnx",
        "onnx",
        "Ultra-Light-Fast-Generic-Face-Detector-1MB/version-RFB-320_without_postprocessing.tflite",
        "tflite",
        turned=True,
    ),
    Twin(
        "home-assistant-wakewords-collection/computer_v2.onnx",
        "onnx",
        "home-assistant-wakewords-collection/computer_v2.tflite",
        "tflite",
    ),
    Twin(
        "home-assistant-wakewords-collection/alfred.onnx",
        "onnx",
        "home-assistant-wakewords-collection/alfred.tflite",
        "tflite",
    ),
)


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="sources whose path holds this word")
    parser.add_argument("--again", action="store_true", help="run those of --only anew")
    arguments = parser.parse_args()
    results = Results(ROOT / "benchmarks" / "results" / "twins.jsonl")
    for twin in TWINS:
        if arguments.only not in twin.source or (twin.other in results.rows and not arguments.again):
            continue
        with tempfile.TemporaryDirectory() as place:
            row = compared(arguments.folder, twin, Path(place))
        results.add({"key": twin.other, **row})
        print(twin.other, row, flush=True)
    put_section(ROOT / "docs" / "compatibility.md", "twins", table(results))


def compared(folder: Path, twin: Twin, place: Path) -> dict[str, Any]:
    """Where the inputs are from, dlconv's verdict, and the errors: dlconv's, the authors', and between the two."""
    row: dict[str, Any] = {"verdict": "ERROR", "dlconv": None, "authors": None, "apart": None}
    cell = export(folder / twin.source, (twin.target,), place / "out")[twin.target]
    row["verdict"] = cell["word"]
    try:
        inputs, turned = place / "inputs.npz", place / "turned.npz"
        row["inputs"] = python("tensorflow", HERE / "real_inputs.py", folder, twin.source, inputs).strip()
        own = turned if twin.turned else inputs
        save(turned, [{name: array.transpose(0, 3, 1, 2) for name, array in s.items()} if twin.turned else s
                      for s in load(inputs)])  # fmt: skip
        right = _answered(twin.kind, folder / twin.source, own, place / "source")
        theirs = _answered(twin.target, folder / twin.other, inputs, place / "twin")
        row["authors"] = _error(right, theirs)
        receipts = sorted((place / "out").glob("*/dlconv.json"))
        if receipts:
            receipt = json.loads(receipts[0].read_text(encoding="utf-8"))
            ours = _answered(twin.target, receipts[0].parent / receipt["artifact"]["entry"], own, place / "ours")
            row["dlconv"] = _error(right, ours)
            row["apart"] = _error(theirs, ours)
    except ToolFailure as failure:
        row["reason"] = str(failure)
    return row


def _answered(kind: str, model: Path, inputs: Path, place: Path) -> list[Tensors]:
    place.mkdir()
    return answers(kind, model, inputs, place)


def _error(right: list[Tensors], got: list[Tensors]) -> float | None:
    """Of the pairing of outputs that agrees best; None where none has the source's shapes and dtypes."""
    error = judged(right, got, None)["error"]
    return None if error is None else float(error)


def table(results: Results) -> str:
    """The table, and the count of those that are as close."""
    lines, close, all_of_them = [], 0, 0
    for twin in TWINS:
        row = results.rows.get(twin.other)
        if row is None:
            continue
        all_of_them += 1
        word = _word(row)
        close += word != "farther"
        lines.append(
            f"| {twin.source} | {twin.other.rpartition('/')[2]} | {row.get('inputs', '')} | {row['verdict']} | "
            f"{_shown(row['dlconv'])} | {_shown(row['authors'])} | {_shown(row['apart'])} | {word} |"
        )
    return "\n".join(
        [
            "## Beside what the authors ship",
            "",
            "Where a model's authors ship it in a second format too, dlconv's artifact of the first in that format is",
            "put beside theirs: both answer the same inputs in a plain interpreter, and so does the source in its own",
            "framework. The error is relative to the largest value of the output; under",
            f"{NOISE:.0e} it is rounding, in which neither is closer (`twins.py`).",
            "",
            "| source | twin | inputs | dlconv | its error | the authors' error | between the two | dlconv's is |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            f"{close} of {all_of_them} are as close to the source as the authors' own, or closer.",
        ]
    )


def _word(row: dict[str, Any]) -> str:
    ours, theirs = row["dlconv"], row["authors"]
    if ours is None:
        return "farther"
    if theirs is None or 1.1 * max(ours, NOISE) < max(theirs, NOISE):
        return "closer"
    return "as close" if max(ours, NOISE) <= 1.1 * max(theirs, NOISE) else "farther"


def _shown(error: float | None) -> str:
    return "not alike" if error is None else f"{error:.1e}"


if __name__ == "__main__":
    main()
