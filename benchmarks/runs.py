"""What the tables are made of: one export each, kept as a line of JSON, so that a run can be resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

TARGETS = ("onnx", "onnxruntime", "openvino", "tflite")


class Results:
    """Rows kept in a file of JSON lines, by key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.rows[row["key"]] = row

    def add(self, row: dict[str, Any]) -> None:
        self.rows[row["key"]] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def export(
    model: Path, targets: tuple[str, ...], out: Path, words: tuple[str, ...] = (), timeout_s: float = 900
) -> dict[str, Any]:
    """`dlconv export` in a process of its own; for each target its verdict, error, bar and reason."""
    command = [sys.executable, "-m", "dlconv", "-q", "export", str(model), "--to", ",".join(targets), "-o", str(out),
               "--json", "-", *words]  # fmt: skip
    start = time.perf_counter()
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, env={**os.environ, "NO_COLOR": "1"}
        )
    except subprocess.TimeoutExpired:
        return {target: {"word": "ERROR", "reason": f"not done in {timeout_s:.0f} s"} for target in targets}
    seconds = time.perf_counter() - start
    try:
        told = json.loads(ran.stdout)
    except ValueError:
        told = {}
    if "outcomes" not in told:
        reason = (ran.stderr.strip().splitlines() or ["no answer"])[0].removeprefix("error: ")
        return {target: {"word": "ERROR", "reason": reason, "seconds": seconds} for target in targets}
    return {bundle["target"]: {**_cell(bundle), "seconds": seconds} for bundle in told["outcomes"]}


def _cell(bundle: dict[str, Any]) -> dict[str, Any]:
    if bundle["error"] is not None:
        return {"word": "ERROR", "reason": bundle["error"]["met"]}
    outputs = bundle["receipt"]["evidence"]["outputs"]
    worst = max(outputs, key=lambda o: float(o["error"]) / max(float(o["bar"]), 1e-30), default=None)
    taken = next(route for route in bundle["receipt"]["routes"] if route["outcome"] == "taken")
    tried = [route for route in bundle["receipt"]["routes"] if route["outcome"] != "not-tried"]
    return {
        "word": bundle["verdict"]["word"],
        "reason": "; ".join(bundle["verdict"]["reasons"]),
        "error": None if worst is None else float(worst["error"]),
        "floor": None if worst is None else float(worst["floor"]),
        "bar": None if worst is None else float(worst["bar"]),
        "route": " -> ".join(taken["edges"]),
        "routes_tried": len(tried),
        "reference": bundle["receipt"]["reference"]["precision"],
        "stateful": bool(bundle["receipt"]["source"]["facts"].get("stateful")),
    }


def cell_text(cell: dict[str, Any]) -> str:
    """A cell of a Markdown table."""
    if cell["word"] == "ERROR":
        return "none: " + _short(cell["reason"])
    if cell["word"] != "PASS":
        return f"{cell['word']}: {_short(cell['reason'])}"
    if cell["error"] is None:
        return "PASS"
    if cell["bar"] == 0:
        return "PASS exact"
    return f"PASS {cell['error']:.0e} of {cell['bar']:.0e}"


def _short(text: str) -> str:
    line = " ".join(text.split()).replace("|", "/")
    return line if len(line) <= 110 else line[:107] + "..."


def counts(cells: list[dict[str, Any]]) -> str:
    """How often each word stands in the cells."""
    found = Counter(cell["word"] for cell in cells)
    return ", ".join(f"{number} {word}" for word, number in found.most_common())


def put_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of a section in a page, or append it."""
    begin, end = f"<!-- {name}: made by a script -->", f"<!-- end of {name} -->"
    whole = page.read_text(encoding="utf-8") if page.exists() else "# Compatibility\n"
    section = f"{begin}\n{text.strip()}\n{end}"
    if begin in whole:
        before, _, rest = whole.partition(begin)
        whole = before + section + rest.partition(end)[2]
    else:
        whole = whole.rstrip() + "\n\n" + section + "\n"
    page.write_text(whole, encoding="utf-8")
