"""The noise of precisions: emulated float16 and bfloat16 beside real ones, and float32 artifacts beside their floors.

    python benchmarks/noise.py run FOLDER [--only WORD]
    python benchmarks/noise.py table

FOLDER holds the models that `zoo_models.py` makes. For each the source's float64 answers to four samples are the
reference, and what lies how far from them is measured:

- float16, bfloat16: the emulation, from the model's ONNX form (`dlconv.precision.noise`);
- openvino-bfloat16: OpenVINO asked for bfloat16, where its own account says that bfloat16 operators ran;
- torch-float16, torch-bfloat16: the model's Python source in PyTorch, `.half()` and `.bfloat16()`, on the CPU: its
  kernels sum in float32 and round what they give.

Results are kept in benchmarks/results/noise.jsonl; what is there already is not run again. `table` writes quantiles
into docs/parity.md, and those of float32 artifacts, whose rows are in benchmarks/results/zoo.jsonl.
"""

from __future__ import annotations

import argparse
import copy
import gc
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253  (a script of its own)
from runs import Results, put_section
from zoo_models import Built, built, entries

from dlconv import opening
from dlconv.asked.options import ExportOptions, SourceOptions
from dlconv.candidate import RUNTIMES
from dlconv.convert.edges import GRAPH
from dlconv.errors import DlconvError
from dlconv.events import Silence
from dlconv.making.cache import Cache
from dlconv.making.steps import Product, StepRunner
from dlconv.model import TensorSpec
from dlconv.precision.noise import emulate
from dlconv.reference import answering, source
from dlconv.validators.parity import measure
from dlconv.workers.crew import Crew, logs_folder

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "noise.jsonl"
ZOO = ROOT / "benchmarks" / "results" / "zoo.jsonl"
REAL_MODELS = ROOT / "benchmarks" / "results" / "compatibility.jsonl"
EMULATED = ("float16", "bfloat16")
REAL = {"openvino-bfloat16": "bfloat16", "torch-bfloat16": "bfloat16", "torch-float16": "float16"}
RESOLUTION = 2.0**-23
_TORCH = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_SAME = 2e-3
"""Answers that are farther from the reference are another model's: a weight rounded to bfloat16 moves them more."""
_FAR = 3
_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def main() -> None:
    """Run, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("folder", type=Path)
    run.add_argument("--only", default="")
    commands.add_parser("table")
    arguments = parser.parse_args()
    results = Results(RESULTS)
    if arguments.command == "run":
        _run_all(arguments.folder.absolute(), arguments.only, results)
    put_section(ROOT / "docs" / "parity.md", "noise", _table(results))


def _run_all(folder: Path, only: str, results: Results) -> None:
    models = {entry.name: entry for entry in entries()}
    with Crew(logs_folder(), slots=2, memory_limit_bytes=None, timeout_s=300) as crew:
        for described in sorted(folder.glob("*.json")):
            name = described.stem
            if only not in name or name in results.rows or name not in models:
                continue
            start = time.perf_counter()
            try:
                row = _measured(described.with_suffix(".pt"), built(models[name]), crew)
            except (DlconvError, RuntimeError, ValueError, KeyError) as error:
                row = {"trouble": str(error).strip().splitlines()[0].replace(f"{folder}/", "")[:200]}
            results.add({"key": name, **row, "seconds": round(time.perf_counter() - start, 1)})
            print(name, row.get("trouble") or row["missing"], results.rows[name]["seconds"], "s", flush=True)
            gc.collect()


def _measured(path: Path, model: Built, crew: Crew) -> dict[str, Any]:
    given = tuple(
        TensorSpec(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for name, tensor in model.inputs.items()
    )
    options, cache = SourceOptions(inputs=given, draws=4), Cache()
    studied = source.study(opening.open_artifact(path), options, crew, cache)
    reference = answering.answer(studied, options, crew, cache)
    if reference.precision != "float64":
        raise ValueError(f"no float64 reference: {reference.reason}")
    runner = StepRunner(
        crew,
        cache,
        Product(path.parent, path.name, studied.signature, studied.artifact.digest),
        reference.samples.samples[0],
        Silence(),
        options=ExportOptions(("onnx",), path.parent),
    )
    product = runner.run(GRAPH.routes(studied.artifact.format, "onnx")[0].edges, "onnx")
    figures: dict[str, dict[str, list[float | None]]] = {
        "float32": {name: _short(floor) for name, floor in reference.floors.items()}
    }
    losses: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    missing: dict[str, str] = {}
    for precision in EMULATED:
        noise = emulate(product.path, product.signature, reference, precision, crew)
        figures[precision] = {
            each.name: _short(each.error, each.rms_error) for each in noise.outputs if each.name in reference.floors
        }
        totals = noise.to_dict()["losses"]
        losses[precision] = {**totals, "worst": totals["worst"][:1]}
        seconds[precision] = round(noise.seconds, 2)
    for witness, precision in REAL.items():
        try:
            ask = _openvino if witness.startswith("openvino") else _torch
            answers = ask(product, model, reference, precision, crew)
        except (DlconvError, RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            missing[witness] = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            continue
        figures[witness] = {
            each.name: _short(each.error, each.rms_error)
            for each in measure(reference.answers, answers, 0.0, {}).outputs
            if each.kind == "float"
        }
    return {"figures": figures, "losses": losses, "emulation_s": seconds, "missing": missing}


def _short(*figures: float | None) -> list[float | None]:
    """To four digits; None for what is not finite."""
    return [float(f"{figure or 0.0:.4g}") if math.isfinite(figure or 0.0) else None for figure in figures]


def _openvino(
    product: Product, model: Built, reference: source.Reference, precision: str, crew: Crew
) -> list[dict[str, np.ndarray]]:
    runtime = RUNTIMES["openvino"]
    with crew.lease(runtime.toolchain) as worker:
        got = worker.call(
            "dlconv.workers.tasks:answer",
            what="OpenVINO",
            runtime=runtime.adapter,
            path=str(product.path),
            signature=product.signature.to_dict(),
            settings={"precision": precision},
            samples=list(reference.samples.samples),
        )
    if got["placement"]["precision"] != precision:
        raise ValueError(f"it ran in {got['placement']['precision']}")
    return [*got["outputs"]]


def _torch(
    product: Product, model: Built, reference: source.Reference, precision: str, crew: Crew
) -> list[dict[str, np.ndarray]]:
    whole = _answers(model.module, reference, torch.float32)
    off = max(
        np.abs(mine[name] - wanted[name]).max() / np.abs(wanted[name]).max()
        for mine, wanted in zip(whole, reference.answers.best, strict=True)
        for name in reference.floors
    )
    if not off < _SAME:
        raise ValueError(f"the Python source is another model: it lies {off:.1e} from the reference")
    return _answers(copy.deepcopy(model.module).to(_TORCH[precision]), reference, _TORCH[precision])


def _answers(module: torch.nn.Module, reference: source.Reference, dtype: torch.dtype) -> list[dict[str, np.ndarray]]:
    answers = []
    for sample, single in zip(reference.samples.samples, reference.answers.y32, strict=True):
        given = {name: torch.from_numpy(array.copy()) for name, array in sample.items()}
        with torch.no_grad():
            found = module(**{name: x.to(dtype) if x.is_floating_point() else x for name, x in given.items()})
        named = found if isinstance(found, dict) else dict(zip(single, _flat(found), strict=True))
        answers.append({
            name: (value.float() if value.is_floating_point() else value).numpy() for name, value in named.items()
        })  # fmt: skip
    return answers


def _flat(found: Any) -> list[torch.Tensor]:
    if isinstance(found, torch.Tensor):
        return [found]
    return [tensor for part in found for tensor in _flat(part)]


def _table(results: Results) -> str:
    rows = [row["figures"] for row in results.rows.values() if "figures" in row]
    return "\n".join([*_float32_table(), "", *_emulated_table(rows, results), "", *_real_table(rows, results)])


def _float32_table() -> list[str]:
    lines = [
        "### Right float32 artifacts, in floors",
        "",
        "The architectures of `benchmarks/zoo_models.py` in all their forms, and the real models of",
        "`benchmarks/compatibility.py`; a floor below float32's epsilon is taken as that, as in a verdict.",
        "",
        "| models | target | artifacts | median | 90% | 99% | largest | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for what, path in (("architectures", ZOO), ("real", REAL_MODELS)):
        rows = [row["cells"] for key, row in Results(path).rows.items() if not key.endswith("/hand")]
        for target in ("onnx", "openvino", "tflite"):
            cells = [cell for row in rows if (cell := row[target]).get("error") is not None and cell["bar"]]
            right = [cell["error"] / max(cell["floor"], RESOLUTION) for cell in cells if cell["word"] != "FAIL"]
            told = " | ".join(f"{q:.1f}" for q in np.quantile(right, (0.5, 0.9, 0.99, 1.0)))
            lines.append(f"| {what} | {target} | {len(right)} | {told} | {len(cells) - len(right)} |")
    return lines


def _emulated_table(rows: list[dict[str, Any]], results: Results) -> list[str]:
    lines = [
        "### The noise of an ideal implementation",
        "",
        f"{len(rows)} architectures, each output on its own scale. least: of any output, in units of its noise floor.",
        "",
        "| precision | outputs | infinite | error, median | 10% to 90% | RMS, median | 10% to 90% | least | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for precision in EMULATED:
        pairs = [(row[precision][name], row["float32"][name][0]) for row in rows for name in row[precision]]
        finite = [(figure, floor) for figure, floor in pairs if figure[0] is not None]
        errors, rms = np.array([figure for figure, _ in finite], np.float64).T
        least = min(figure[0] / max(floor, RESOLUTION) for figure, floor in finite if figure[0])
        seconds = np.median([row["emulation_s"][precision] for row in results.rows.values() if "emulation_s" in row])
        counts = f"{len(pairs)} | {len(pairs) - len(finite)}"
        lines.append(f"| {precision} | {counts} | {_spread(errors)} | {_spread(rms)} | {least:.0f} | {seconds:.2f} |")
    return lines


def _spread(values: Any) -> str:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return f"{middle:.1e} | {low:.1e} to {high:.1e}"


def _real_table(rows: list[dict[str, Any]], results: Results) -> list[str]:
    lines = [
        "### Real runs, in units of the emulated noise",
        "",
        "| real | outputs | not finite | figure | least | 10% | median | 90% | largest |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for witness, precision in REAL.items():
        pairs = [
            (row[witness][name], row[precision][name])
            for row in rows
            for name in row.get(witness, {})
            if row[precision].get(name, (None,))[0]
        ]
        lost = sum(real[0] is None for real, _ in pairs)
        for place, figure in enumerate(("error", "RMS")):
            ratios = [real[place] / ideal[place] for real, ideal in pairs if real[0] is not None]
            if ratios:
                told = " | ".join(f"{q:.2f}" for q in np.quantile(ratios, _QUANTILES))
                lines.append(f"| {witness} | {len(ratios)} | {lost} | {figure} | {told} |")
    lines += ["", f"Not finite, or more than {_FAR} times the emulated error:", ""]
    for witness, precision in REAL.items():
        names = [
            f"{key} ({'not finite' if not real[0] else f'{real[0] / ideal[0]:.0f}'})"
            for key, row in results.rows.items()
            for name, real in row.get("figures", {}).get(witness, {}).items()
            if (ideal := row["figures"][precision].get(name, (None,)))[0] and not (real[0] or 1e9) <= _FAR * ideal[0]
        ]
        lines.append(f"- {witness}: {', '.join(names) or 'none'}")
    lines += ["", "What could not be compared:", ""]
    reasons: dict[str, list[str]] = {}
    for name, row in results.rows.items():
        for witness, reason in {
            **row.get("missing", {}),
            **({"all": row["trouble"]} if "trouble" in row else {}),
        }.items():
            reasons.setdefault(f"{witness}: {reason}", []).append(name)
    return [*lines, *(f"- {reason} ({', '.join(names)})" for reason, names in sorted(reasons.items()))]


if __name__ == "__main__":
    main()
