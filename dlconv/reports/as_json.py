"""Results as JSON: a stable, versioned document for each command."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv import __version__
from dlconv.errors import OutputError

if TYPE_CHECKING:
    from dlconv.pipeline import ExportResult

VERSION = 1
"""Raised when a field changes its meaning or goes. New fields do not raise it."""


def document(command: str, body: dict[str, Any]) -> str:
    """The text of a result: `schema` says whose and which version, `dlconv` by which release."""
    whole = {"schema": f"dlconv.{command}/{VERSION}", "dlconv": __version__, **body}
    return json.dumps(_plain(whole), indent=2, ensure_ascii=False, allow_nan=False)


def export_body(result: ExportResult, exit_code: int) -> dict[str, Any]:
    """An export's result: one entry a target, in the order that was asked for."""
    return {
        "exit_code": exit_code,
        "bundles": [
            {
                "target": bundle.target,
                "path": None if bundle.path is None else str(bundle.path),
                "verdict": None if bundle.verdict is None else bundle.verdict.to_dict(),
                "error": None if bundle.error is None else bundle.error.to_dict(),
                "seconds": bundle.seconds,
                "receipt": bundle.receipt,
            }
            for bundle in result.bundles
        ],
    }


def write(path: Path, text: str) -> None:
    """Write a report whole or not at all. Raises OutputError."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise OutputError(
            f"the report {path} cannot be written: {error.strerror or error}", mend="--json with another path"
        ) from error


def _plain(value: Any) -> Any:
    # JSON has no NaN or infinity: their names stand for them, as in a receipt.
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value
