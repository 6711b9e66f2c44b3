"""What a lower precision costs and gives: accuracy on held-out data, size, and latency as ratios to float32.

    python benchmarks/precision.py FOLDER [--only NAME] [--time 4] [--again] [--targets tflite] [--precisions int8]

The digits model and its Keras twin are calibrated on 64 training images and judged on the 450 held-out ones and their
labels; the larger models of `precision_models.py` (ResNet-50, MobileNetV2 and MobileNetV3-Small at 96 x 96 and a
six-layer encoder, random weights in which every layer matters) on drawn inputs. For the MobileNets a keep-list is
searched for besides, and the rows tell the seconds that this took. Latency is measured by `dlconv bench`, the
artifacts of a target side by side. Rows are kept in benchmarks/results/precision.jsonl, and the table goes into
docs/precision.md. Needs dlconv[all], the onnx2tf toolchain, scikit-learn and transformers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from runs import Results, put_section

from dlconv.hardware.here import cpu_features, cpu_name

ROOT = Path(__file__).parents[1]
MAKE = Path(__file__).with_name("precision_models.py")
TARGETS = ("onnxruntime", "openvino", "tflite")
MODELS = ("digits", "digits-keras", "resnet50", "mobilenetv2", "mobilenetv3", "encoder")
SEARCHED = ("mobilenetv2", "mobilenetv3")
"""Models whose noise in int8 is beyond what a search wants of it."""
PRECISIONS = ("fp16", "int8")
BUDGET_S = 300
SPLIT = 20261122
"""The seed by which models/digits*/train.py held images out."""


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--time", type=float, default=4.0)
    parser.add_argument("--again", action="store_true", help="measure those of --only anew")
    parser.add_argument("--targets", default=",".join(TARGETS), help="their rows alone; the others stay")
    parser.add_argument("--precisions", default=",".join(PRECISIONS), help="their rows alone; the others stay")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    targets, precisions = tuple(arguments.targets.split(",")), tuple(arguments.precisions.split(","))
    results = Results(ROOT / "benchmarks" / "results" / "precision.jsonl")
    for name in MODELS:
        if arguments.only in name and (arguments.again or name not in results.rows):
            rows = measured(name, folder, arguments.time, targets, precisions)
            print(*rows, sep="\n", flush=True)
            kept = [each for each in _rows(results.rows.get(name)) if not _is_of(each["row"], targets, precisions)]
            here = {"date": f"{datetime.now(timezone.utc):%Y-%m-%d}", "cpu": _cpu()}
            results.add({"key": name, "rows": [*kept, *({"row": row, **here} for row in rows)]})
    put_section(ROOT / "docs" / "precision.md", "measured", _page(results))


def _cpu() -> str:
    """The CPU, and what it has for smaller numbers."""
    told = [name for name in cpu_features() if name.endswith(("vnni", "fp16", "bf16", "int8"))]
    return f"{cpu_name()} ({', '.join(told) or 'nothing for smaller numbers'})"


def _rows(record: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The rows that were kept of a model, each with the date and the CPU that it was measured on."""
    if record is None:
        return []
    return [row if isinstance(row, dict) else {"row": row, "date": record["date"], "cpu": record["cpu"]}
            for row in record["rows"]]  # fmt: skip


def _page(results: Results) -> str:
    kept = [row for name in MODELS for row in _rows(results.rows.get(name))]
    places = [f"{row['date']}, {row['cpu']}" for row in kept]
    marks = dict(zip(dict.fromkeys(places), "ABCDEFGH", strict=False))
    return "\n".join(
        (
            "## Measured",
            "",
            "By `benchmarks/precision.py`, on:",
            "",
            *(f"- {mark}: {place}" for place, mark in marks.items()),
            "",
            "Top-1 is on held-out labels, float32's beside it. Size, stored numbers and latency are ratios to the",
            "float32 artifact; latency has its 95% interval, both sides timed in one run: a wide one tells that the",
            "machine did other work too.",
            "",
            "| model | target | precision | verdict | error / bar | top-1 | size | numbers alone | latency | on |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(f"{row['row']} {marks[place]} |" for row, place in zip(kept, places, strict=True)),
            "",
            "A small model's size is not in its numbers: the digits models have 21,600, a byte each in int8. Around",
            "them TFLite keeps a scale and a zero point of eight bytes a channel, and OpenVINO describes the graph in",
            "XML, in int8 with four constants more a tensor. What could be left out is: the notes of the simplifier",
            "and the quantiser.",
        )
    )


def measured(
    name: str, folder: Path, seconds: float, targets: tuple[str, ...], precisions: tuple[str, ...]
) -> list[str]:
    """The rows of one model: each of the targets at each of the precisions below float32."""
    source, words, calibration = _source(name, folder)
    made: dict[str, dict[str, Any]] = {}
    for precision in ("fp32", *precisions):
        further = calibration if precision == "int8" else []
        made[precision] = _exported(name, folder, precision, targets, source, [*words, *further])
    rows = [_row(name, target, precision, made, folder, seconds) for target in targets for precision in precisions]
    if "int8" in made and name in SEARCHED:
        start = time.monotonic()
        asked = [*words, *calibration, "--search", "--search-budget", BUDGET_S]
        made["int8"] = _exported(name, folder, "int8", targets, source, asked)
        told = f"int8, searched {time.monotonic() - start:.0f} s"
        rows += [_row(name, target, "int8", made, folder, seconds, told) for target in targets]
    return rows


def _is_of(row: str, targets: tuple[str, ...], precisions: tuple[str, ...]) -> bool:
    """Whether the row is of one of the targets, at one of the precisions."""
    _, _, target, precision, *_ = (cell.strip() for cell in row.split("|"))
    return target in targets and precision.split(",")[0] in precisions


def _exported(
    name: str, folder: Path, precision: str, targets: tuple[str, ...], source: Path, words: list[Any]
) -> dict[str, Any]:
    asked = ["--to", ",".join(targets), "--precision", precision, "-o", folder, "--name", name]
    told = _dlconv("export", source, *asked, *words)
    made = {outcome["target"]: outcome for outcome in told.get("outcomes", [])}
    return made or {target: {"error": told["error"]} for target in targets}


def _source(name: str, folder: Path) -> tuple[Path, list[Any], list[Any]]:
    if not name.startswith("digits"):
        path = folder / f"{name}.pt"
        subprocess.run([sys.executable, MAKE, name, path], check=True, stderr=subprocess.DEVNULL)
        for file, seed, count in (("samples.npz", 0, 4), ("calibration.npz", 1, 32)):
            np.savez(folder / f"{name}-{file}", **_drawn(name, np.random.default_rng(seed), count))
        return (
            path,
            ["--samples", folder / f"{name}-samples.npz"],
            ["--calibration", folder / f"{name}-calibration.npz"],
        )
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    shape = (-1, 1, 8, 8) if name == "digits" else (-1, 8, 8, 1)
    images = (pixels / 16).astype(np.float32).reshape(shape)
    seen, held, _, right = train_test_split(images, labels, test_size=0.25, random_state=SPLIT, stratify=labels)
    source = ROOT / "models" / name / ("digits.onnx" if name == "digits" else "digits.keras")
    np.savez(folder / "held.npz", image=held)
    np.savez(folder / "seen.npz", image=seen[:64])
    np.savez(folder / "labels.npz", classes=np.asarray(right, np.int64))
    words = ["--samples", folder / "held.npz", "--labels", folder / "labels.npz"]
    return source, words, ["--calibration", folder / "seen.npz"]


def _drawn(name: str, random: np.random.Generator, count: int) -> dict[str, Any]:
    """Inputs of the larger models: of the encoder normal ones, of the others smooth pictures with noise, each of its
    own brightness and contrast: what was never trained gives nearly one answer to noise alone."""
    if name == "encoder":
        return {"src": random.standard_normal((count, 32, 128)).astype(np.float32)}
    coarse = random.standard_normal((count, 3, 3, 3)).repeat(32, 2).repeat(32, 3)
    noise = random.standard_normal((count, 3, 96, 96))
    contrast, brightness = random.uniform(0.3, 2.0, (count, 1, 1, 1)), random.normal(0, 0.5, (count, 3, 1, 1))
    return {"x": (contrast * (coarse + 0.3 * noise) + brightness).astype(np.float32)}


def _row(
    name: str,
    target: str,
    precision: str,
    made: dict[str, dict[str, Any]],
    folder: Path,
    seconds: float,
    told: str = "",
) -> str:
    outcome = made[precision][target]
    if outcome.get("verdict") is None:
        return f"| {name} | {target} | {told or precision} | refused: {outcome['error']['met']} | | | | | |"
    place, before = folder / f"{name}-{target}-{precision}", folder / f"{name}-{target}-fp32"
    receipt, of_whole = (json.loads((each / "dlconv.json").read_text()) for each in (place, before))
    output = receipt["evidence"]["outputs"][0]
    size = receipt["artifact"]["size_bytes"] / of_whole["artifact"]["size_bytes"]
    timed = _dlconv("bench", place, "--against", before, "--time", str(seconds))
    kept = len(receipt["reduction"]["keep"])
    return (
        f"| {name} | {target} | {told or precision}{f', {kept} nodes kept' if kept else ''} | "
        f"{receipt['verdict']['word']} | {output['error']:.1e} / {output['bar']:.1e} | {_top1(output)} | {size:.2f} | "
        f"{_numbers(receipt):.2f} | {_ratio(timed)} |"
    )


def _top1(output: dict[str, Any]) -> str:
    scored = output.get("accuracy")
    if scored is None:
        return ""
    mine, whole = (100 * scored[side] / scored["count"] for side in ("candidate", "reference"))
    return f"{mine:.1f}% of {whole:.1f}%"


def _numbers(receipt: dict[str, Any]) -> float:
    """Bytes of the stored numbers, scales among them, relative to as many in float32."""
    stored = receipt["evidence"]["account"]["weights"]
    return sum(count * np.dtype(dtype).itemsize for dtype, count in stored.items()) / (4 * sum(stored.values()))


def _ratio(timed: dict[str, Any]) -> str:
    for ratio in timed.get("evidence", {}).get("ratios", {}).values():
        return f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}): {ratio['word']}"
    return "not measured"


def _dlconv(*words: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "dlconv", "-q", *map(str, words), "--json", "-"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        told: dict[str, Any] = json.loads(ran.stdout)
    except ValueError:
        told = {"error": {"met": (ran.stderr.strip().splitlines() or ["no answer"])[0]}}
    return told


if __name__ == "__main__":
    main()
