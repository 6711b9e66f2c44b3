"""Results as JSON: a stable, versioned document for each command."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv import __version__
from dlconv.errors import OutputError

if TYPE_CHECKING:
    pass

VERSION = 1
"""Raised when a field changes its meaning or goes. New fields do not raise it."""


def document(command: str, body: dict[str, Any]) -> str:
    """The text of a result: `schema` says whose and which version, `dlconv` by which release."""
    whole = {"schema": f"dlconv.{command}/{VERSION}", "dlconv": __version__, **body}
    return json.dumps(plain(whole), indent=2, ensure_ascii=False, allow_nan=False)


def write(path: Path, text: str) -> None:
    """Write a report whole or not at all, its folder too where there is none. Raises OutputError.

    What has no UTF-8 (a file name of other bytes) is written as an escape.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the report {path} cannot be written: {error.strerror or error}", mend="give it another path"
        ) from error


def plain(value: Any) -> Any:
    """The value as strict JSON has it: no NaN or infinity (their names stand for them, as in a receipt), no paths."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value
