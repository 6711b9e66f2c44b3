"""A TFLite file as a reference: TFLite's interpreter with its reference kernels, the plain ones that define the format.

They share no code with XNNPACK and the optimised kernels that a candidate runs by. All of them compute in the file's
own numbers: there is no float64. Settings: {"threads": int}; "double" is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import Unsupported
from dlconv.runtimes import tflite

if TYPE_CHECKING:
    from dlconv.model import Signature


def probe() -> dict[str, Any]:
    """See `dlconv.runtimes.tflite.probe`."""
    return tflite.probe()


def open(path: Path | str, signature: Signature, settings: dict[str, Any]) -> tflite.TfliteSession:
    """Load the model at `path`; names as `dlconv.runtimes.tflite.open` takes them. Raises Unsupported for "double"."""
    if settings.get("double"):
        raise Unsupported("TFLite's kernels have no float64", wanted="the file's own precision")
    return tflite.TfliteSession(Path(path), threads=settings.get("threads"), signature=signature, reference=True)
