"""dlconv: convert trained models, and prove that each file still is the same model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlconv.asked.options import ExportOptions
    from dlconv.comparing import compare
    from dlconv.diffing.diff import DiffOptions, diff
    from dlconv.errors import DlconvError
    from dlconv.inspection import inspect
    from dlconv.model import TensorSpec
    from dlconv.pipeline import export, plan
    from dlconv.tuning.front import Wish
    from dlconv.tuning.options import TuneOptions
    from dlconv.tuning.tune import tune
    from dlconv.verification import VerifyOptions, verify

__version__ = "0.1.0"

__all__ = [
    "DiffOptions",
    "DlconvError",
    "ExportOptions",
    "TensorSpec",
    "TuneOptions",
    "VerifyOptions",
    "Wish",
    "__version__",
    "compare",
    "diff",
    "export",
    "inspect",
    "plan",
    "tune",
    "verify",
]

# Loaded when first asked for: `import dlconv` alone costs nothing, also in a worker's interpreter.
_HOMES = {
    "DiffOptions": "dlconv.diffing.diff",
    "DlconvError": "dlconv.errors",
    "ExportOptions": "dlconv.asked.options",
    "TensorSpec": "dlconv.model",
    "TuneOptions": "dlconv.tuning.options",
    "VerifyOptions": "dlconv.verification",
    "Wish": "dlconv.tuning.front",
    "compare": "dlconv.comparing",
    "diff": "dlconv.diffing.diff",
    "export": "dlconv.pipeline",
    "inspect": "dlconv.inspection",
    "plan": "dlconv.pipeline",
    "tune": "dlconv.tuning.tune",
    "verify": "dlconv.verification",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dlconv' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
