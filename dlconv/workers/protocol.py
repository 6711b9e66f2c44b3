"""What crosses the pipe between dlconv and a worker: JSON lines; arrays lie beside them as .npy files.

Standard library and NumPy alone: this module runs in every toolchain's interpreter.

A call is   {"id": 7, "call": "package.module:function", "args": {...}, "keep": false}
or          {"id": 8, "call": "#3.run", "args": {...}}       a method of the object that call 3 kept
An answer is {"id": 7, "ok": <value>}, or {"id": 7, "error": {...}} with the fields of `errors.DlconvError.to_dict`,
or {"id": 7, "raised": {"type": "ValueError", "message": "...", "memory": false}} for a foreign exception.
Before it may come, as often as the worker likes, {"id": 7, "progress": {"phase": "sample", "done": 3, "of": 64}}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_ARRAY = "$array"
_STRINGS = "$strings"


def pack(value: Any, scratch: Path, prefix: str) -> Any:
    """`value` with every array replaced by a reference to a file in `scratch`, and every path by its text."""
    count = 0

    def walk(node: Any) -> Any:
        nonlocal count
        if isinstance(node, (np.ndarray, np.generic)):
            array = np.asarray(node)
            if array.dtype.kind in "OUS":
                return {_STRINGS: array.astype(str).ravel().tolist(), "shape": list(array.shape)}
            path = scratch / f"{prefix}-{count}.npy"
            count += 1
            np.save(path, array, allow_pickle=False)
            return {_ARRAY: str(path)}
        if isinstance(node, dict):
            return {str(key): walk(item) for key, item in node.items()}
        if isinstance(node, (list, tuple)):
            return [walk(item) for item in node]
        if isinstance(node, Path):
            return str(node)
        return node

    return walk(value)


def unpack(value: Any) -> Any:
    """The inverse of `pack`; the files of arrays are read and removed."""
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            path = Path(value[_ARRAY])
            array = np.load(path, allow_pickle=False)
            path.unlink()
            return array
        if _STRINGS in value:
            return np.array(value[_STRINGS], dtype=object).reshape(value["shape"])
        return {key: unpack(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unpack(item) for item in value]
    return value
