"""Depth: every planted fault of tests/faults, and right conversions on many samples, as the tables of docs/faults.md.

    python benchmarks/faults.py planted
    python benchmarks/faults.py right

A minute each. Leaves with 1 if a fault was not found, or a right conversion was accused; then nothing is written.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from runs import put_section

ROOT = Path(__file__).parents[1]
PLANTED = ROOT / "tests" / "faults"
sys.path.insert(0, str(PLANTED))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PLANTED), os.environ.get("PYTHONPATH"))))

from artifact_table import ARTIFACT_FAULTS  # noqa: E402  the tables lie beside the tests that hold them
from fault_judge import Bench, Judged, judged_bundle, over_seeds  # noqa: E402
from fault_table import IN_GRAPH, IN_RUNTIME, IN_THE_DARK, IN_WEIGHTS  # noqa: E402

from dlconv.asked.options import ExportOptions  # noqa: E402
from dlconv.making.cache import Cache  # noqa: E402
from dlconv.pipeline import export  # noqa: E402
from dlconv.records.bundle import Bundle, open_bundle  # noqa: E402
from dlconv.workers.crew import Crew  # noqa: E402

DIGITS = ROOT / "models" / "digits"
TARGETS = ("onnxruntime", "openvino", "tflite")
Row = tuple[str, str, str, Judged]
"""A fault: where it was planted, its name, the word that was expected, and what was said."""


def main() -> int:
    """Write the section that is asked for."""
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    if what not in ("planted", "right"):
        print(__doc__)
        return 2
    return _planted() if what == "planted" else _right()


def _planted() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        rows = list(_rows(Path(scratch)))
    missed = [row for row in rows if row[3].verdict.word != row[2]]
    for _, name, expected, judged in missed:
        print(f"{name}: {judged.verdict.word}, expected {expected}: {judged.why}")
    if missed:
        return 1
    put_section(ROOT / "docs" / "faults.md", "planted", _table(rows))
    print(f"{len(rows)} faults, all found")
    return 0


def _right() -> int:
    """The sample model from its three formats in three targets, on samples of twenty seeds."""
    lines = ["| source | target | verdicts | furthest, as a share of the bar |", "|---|---|---|---|"]
    accused = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with Crew(scratch / "logs", slots=1, memory_limit_bytes=None, timeout_s=120) as crew:
            for name in ("digits.pt", "digits.pt2", "digits.onnx"):
                made = _exported(DIGITS / name, scratch / name, None)
                said = list(over_seeds(DIGITS / name, made, crew, Cache(scratch / "cache")))
                for target in TARGETS:
                    those = [judged for each, _, judged in said if each == target]
                    passed = [judged for judged in those if judged.verdict.word == "PASS"]
                    accused += len(those) - len(passed)
                    share = max((judged.error or 0.0) / (judged.bar or 1.0) for judged in passed)
                    lines.append(f"| {name} | {target} | {len(passed)} of {len(those)} PASS | {share:.2f} |")
    if accused:
        print("\n".join(lines))
        return 1
    put_section(ROOT / "docs" / "faults.md", "right", "\n".join(lines))
    return 0


def _rows(scratch: Path) -> Iterator[Row]:
    with Crew(scratch / "logs", slots=1, memory_limit_bytes=None, timeout_s=120) as crew:
        bench = Bench(scratch, crew)
        for where, faults in (
            ("in the weights", IN_WEIGHTS),
            ("in the graph", IN_GRAPH),
            ("in the runtime", IN_RUNTIME),
            ("where no input shows", IN_THE_DARK),
        ):
            for fault in faults:
                yield where, f"{fault.name} ({fault.model})", fault.expect, bench.judge(fault)
        bundles = _bundles(scratch)
        for planted in ARTIFACT_FAULTS:
            bundle = bundles[planted.target]
            kept = {path: path.read_bytes() for path in bundle.place.iterdir() if path.is_file()}
            planted.spoil(bundle.entry)
            yield "in a bundle's files", planted.name, "FAIL", judged_bundle(bundle, crew)
            for path, content in kept.items():
                path.write_bytes(content)


def _bundles(scratch: Path) -> dict[str, Bundle]:
    with np.load(DIGITS / "samples.npz") as images:
        np.savez(scratch / "samples.npz", image=images["image"][:12])
    made = _exported(DIGITS / "digits.onnx", scratch / "out", scratch / "samples.npz")
    return {bundle.target: bundle for bundle in made}


def _exported(model: Path, folder: Path, samples: Path | None) -> list[Bundle]:
    made = export(model, ExportOptions(TARGETS, folder, samples=samples)).outcomes
    return [open_bundle(outcome.path) for outcome in made if outcome.path is not None]


def _table(rows: list[Row]) -> str:
    lines = [f"{len(rows)} faults, all found.", ""]
    for where in dict.fromkeys(row[0] for row in rows):
        those = [row for row in rows if row[0] == where]
        lines += [f"### {where[0].upper()}{where[1:]}: {len(those)}", ""]
        lines += ["| fault | verdict | error | bar | times the bar |", "|---|---|---|---|---|"]
        lines += [_line(name, judged) for _, name, _, judged in those]
        lines.append("")
    return "\n".join(lines).rstrip()


def _line(name: str, judged: Judged) -> str:
    error, bar = judged.error, judged.bar
    if judged.verdict.word == "FAIL" and error is not None and bar is not None and np.isfinite(error) and error > bar:
        figures = f"{error:.1e} | {bar:.1e} | {_times(error / bar)} |" if bar else "elements differ | exact | |"
    else:
        figures = f"{_short(judged.why)} | | |"
    return f"| {name} | {judged.verdict.word} | {figures}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _short(reason: str) -> str:
    """What can be said in a cell: no paths, no long lists."""
    words = reason.replace("|", "/").split("; worst")[0].split(": [ONNXRuntimeError]")[0]
    words = " ".join(word for word in words.split() if not word.startswith("/"))
    return words if len(words) <= 110 else words[:107] + "..."


if __name__ == "__main__":
    sys.exit(main())
