"""How long `dlconv report` takes for ten bundles: python benchmarks/report_page.py

The bar is 2 s for the whole command. Beside it stands what no page with plots can do without: a Python that imports
Matplotlib's figures, run in turn with it, so that the ratio holds on a busy machine too.
"""

from __future__ import annotations

import json
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDS: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "reports" / "records.py"))
ROUNDS = 7


def seconds(words: list[str], folder: Path) -> float:
    """Of a whole process, on the clock."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Prints the medians, and the median of the pairs' ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(10):
            RECORDS["write"](folder / "out", f"net-openvino-{number}", RECORDS["receipt"](seed=number))
        report = ["-m", "dlconv", "report", "out", "-o", "page.html", "-q"]
        pairs = [(seconds(report, folder), seconds(["-c", "import matplotlib.figure"], folder)) for _ in range(ROUNDS)]
        told = {
            "report_s": statistics.median(pair[0] for pair in pairs),
            "matplotlib_s": statistics.median(pair[1] for pair in pairs),
            "ratio": statistics.median(one / other for one, other in pairs),
            "page_bytes": (folder / "page.html").stat().st_size,
        }
        print(json.dumps({key: round(value, 3) for key, value in told.items()}))


if __name__ == "__main__":
    main()
