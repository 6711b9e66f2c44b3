"""TensorRT on this machine's NVIDIA GPU: verdicts, and latency beside TensorRT by hand, PyTorch and ONNX Runtime.

    python benchmarks/gpu.py FOLDER [--only NAME] [--own-tactics] [--rounds 2] [--by-hand 2]
    python benchmarks/gpu.py FOLDER --write

The digits model, ResNet-50's shape and a six-layer encoder (random weights in which every layer matters) are exported
from TorchScript with `--to tensorrt` in float32 and float16, and verified. By hand: torch.onnx's model of the same, and
TensorRT's parser and builder with the same options, twice, which tells how far two builds differ. Processes alternate
(PyTorch, TensorRT, PyTorch, ...), and in a process all that is timed alternates in blocks; a figure is the median. The
time of a run is told twice: by the GPU's own clock, back to back, and by the wall clock, each run awaited. The inputs
lie on the GPU in both. All goes to FOLDER/results.json; --write keeps it in results/ and docs/tensorrt.md. Needs
dlconv[torch,onnx] with a torch for CUDA, transformers, and the toolchain tensorrt; onnxruntime-gpu for its row.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
INPUTS = {"digits": [], "resnet50": ["--input", "x:1x3x224x224"], "encoder": ["--input", "src:8x128x512"]}
"""The models, and what to say of their inputs."""
PRECISIONS = ("fp32", "fp16")


def main() -> None:
    """Measure, or write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--own-tactics", action="store_true", help="no kernels of cuBLAS and cuDNN, in both ways")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--by-hand", type=int, default=2, help="how often to build by hand")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.json"
    kept = HERE / "results" / "gpu.json"
    if arguments.write:
        from runs import put_section

        if results.exists():
            kept.write_text(results.read_text())
        put_section(ROOT / "docs" / "tensorrt.md", "gpu", table(json.loads(kept.read_text())))
        return
    found: dict[str, Any] = {"date": datetime.date.today().isoformat(), "models": {}}
    if results.exists():
        found["models"] = json.loads(results.read_text())["models"]
    for name in INPUTS:
        if arguments.only in name:
            told = found["models"][name] = {"precisions": {}, "latency": {}}
            for _ in measured(name, folder, told, arguments):  # what there is stays, whatever comes after
                results.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


def measured(name: str, folder: Path, told: dict[str, Any], arguments: argparse.Namespace) -> Iterator[None]:
    """Verdicts and latencies of one model into `told`, bit by bit."""
    archive, onnx = folder / f"{name}.pt", folder / f"{name}.onnx"
    _ran(sys.executable, HERE / "gpu_models.py", name, archive, onnx)
    plans: dict[str, Path] = {}
    more = ["--trt", "external-tactics=off"] if arguments.own_tactics else []
    for precision in PRECISIONS:
        bundle = folder / f"{name}-tensorrt-{precision}"
        words = [archive, "--to", "tensorrt", "--precision", precision, "--name", name, "--draws", "2", "-o", folder]
        start = time.monotonic()
        told["precisions"][precision] = _exported(bundle, [*words, *INPUTS[name], *more]) | {
            "export_s": time.monotonic() - start
        }
        if (bundle / "model.plan").exists():
            plans[f"dlconv {precision}"] = bundle / "model.plan"
        yield
        for number in range(1, arguments.by_hand + 1):
            plan = folder / f"{name}-{precision}-hand{number}.plan"
            _ran(_tensorrt(), HERE / "gpu_by_hand.py", onnx, plan, precision, "own" if arguments.own_tactics else "all")
            plans[f"by hand {precision} ({number})"] = plan
    for _ in range(arguments.rounds):
        for side in (
            (sys.executable, HERE / "gpu_torch.py", name, onnx),
            (_tensorrt(), HERE / "gpu_plans.py", *(f"{label}={plan}" for label, plan in plans.items())),
        ):
            for label, times in json.loads(_ran(*side).splitlines()[-1]).items():
                told["latency"].setdefault(label, []).append(times)
            yield


def _exported(bundle: Path, words: list[Any]) -> dict[str, Any]:
    """The receipt's words on the bundle, and whether it verifies again."""
    dlconv = [sys.executable, "-m", "dlconv", "-q"]
    ran = subprocess.run([*dlconv, "export", *map(str, words)], capture_output=True, text=True, check=False)
    if not (bundle / "dlconv.json").exists():
        return {"verdict": "none", "code": ran.returncode, "told": ran.stderr[-2000:]}
    receipt = json.loads((bundle / "dlconv.json").read_text())
    output, placed = receipt["evidence"]["outputs"][0], receipt["evidence"]["placement"]
    verified = subprocess.run([*dlconv, "verify", str(bundle)], capture_output=True, text=True, check=False)
    return {
        "verdict": receipt["verdict"]["word"],
        "error": output["error"],
        "bar": output["bar"],
        "verify_code": verified.returncode,
        "size_bytes": receipt["artifact"]["size_bytes"],
        "placement": placed,
    }


def _tensorrt() -> str:
    """The interpreter that has TensorRT."""
    from dlconv.workers import toolchains

    found = toolchains.locate(toolchains.get("tensorrt"))
    if isinstance(found, toolchains.Missing):
        raise found.error()
    return str(found.interpreter)


def _ran(*words: Any) -> str:
    ran = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{words[1]} ended with {ran.returncode}:\n{ran.stderr[-3000:]}")
    return ran.stdout


def table(found: dict[str, Any]) -> str:
    """Both tables, and what they were measured on."""
    placed = next(
        one["placement"] for model in found["models"].values() for one in model["precisions"].values() if "error" in one
    )
    lines = [
        f"{found['date']}: {placed['device']}, compute capability {placed['compute_capability']}, "
        f"driver {placed['driver']}, TensorRT {placed['version']}.",
        "",
        "| model | precision | verdict | error / bar | verify | layers (fused) | ran in |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, model in found["models"].items():
        for precision, one in model["precisions"].items():
            if "error" not in one:
                lines.append(f"| {name} | {precision} | none (exit {one['code']}) | | | | |")
                continue
            there = one["placement"]
            ran = ", ".join(f"{count} {kind}" for kind, count in sorted(there["account"]["ran"].items()))
            errors, layers = f"{one['error']:.1e} / {one['bar']:.1e}", f"{there['layers']} ({there['fused_layers']})"
            cells = (
                name,
                precision,
                one["verdict"],
                errors,
                f"exit {one['verify_code']}" if "verify_code" in one else "",
                layers,
                ran,
            )
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| model | what | GPU ms | wall ms | GPU / by hand, same precision |", "|---|---|---|---|---|"]
    for name, model in found["models"].items():
        middle = {
            label: {kind: statistics.median(one[kind] for one in rounds) for kind in ("gpu_ms", "wall_ms")}
            for label, rounds in model["latency"].items()
        }
        for label, times in middle.items():
            hand = middle.get(f"by hand {label[-4:]} (1)") or middle.get(f"by hand {label.split()[2]} (1)", {})
            ratio = f"{times['gpu_ms'] / hand['gpu_ms']:.3f}" if hand else ""
            lines.append(f"| {name} | {label} | {times['gpu_ms']:.4f} | {times['wall_ms']:.4f} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
