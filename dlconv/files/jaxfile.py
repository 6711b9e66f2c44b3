"""Tells a serialized `jax.export` program, and bare StableHLO, by its bytes. Nothing is decoded, JAX is not needed.

A serialized program is a FlatBuffer without a file identifier, so its root table is looked at: the fields that every
version of JAX has written (the version, the name, the pytree of the inputs, the platforms, the module), and whether
the module's bytes begin as MLIR bytecode does. Field numbers are those of JAX's schema, `serialization.fbs`.
"""

from __future__ import annotations

import mmap
import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BYTECODE = b"ML\xefR"
"""How MLIR bytecode begins; JAX and TensorFlow write StableHLO so."""

_VERSION, _FUNCTION_NAME, _IN_TREE, _PLATFORMS, _MODULE = 0, 1, 2, 9, 13
_TEXT = re.compile(rb"(?:\s|//[^\n]*\n|#loc[^\n]*\n)*module\b[^\n]*\{")
_SAVE = 'jax.export.export(jax.jit(f), platforms=["cpu"])(*examples).serialize(), written to a file'

Buffer = bytes | mmap.mmap
Kind = tuple[str, str, str]
"""The value of a Format, then a title and advice where there is more to say than the format's own, else ""."""


def kind_of(path: Path) -> Kind | None:
    """What the file is if it is JAX's or bare StableHLO; None if it is neither."""
    if path.stat().st_size < 16:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:4] == BYTECODE:
            dialect = content[5:64].partition(b"\0")[0].partition(b"_v")[0].decode("ascii", "replace")
            told = "StableHLO" if dialect == "StableHLO" else "MLIR"
            return "unknown", f"{told} bytecode without names or a calling convention", f"export the program: {_SAVE}"
        if _TEXT.match(content[:4096]):
            return "unknown", "MLIR text without names or a calling convention", f"export the program: {_SAVE}"
        module = _module(content)
        if module is None:
            return None
        start, length = module
        if start + length > len(content):
            return "unknown", "a truncated JAX program", "copy or download it again, and compare its size"
        return "jax", "", ""


def _module(content: Buffer) -> tuple[int, int] | None:
    """Where the StableHLO module of a serialized program starts, and its length; None if it is no such program."""
    try:
        (root,) = struct.unpack_from("<I", content, 0)
        (back,) = struct.unpack_from("<i", content, root)
        vtable = root - back
        if vtable < 4:
            return None
        vtable_bytes, table_bytes = struct.unpack_from("<HH", content, vtable)
        known = range(4, vtable_bytes, 2)
        if vtable_bytes % 2 or len(known) <= _MODULE:
            return None
        fields = struct.unpack_from(f"<{len(known)}H", content, vtable + 4)
        wanted = (_VERSION, _FUNCTION_NAME, _IN_TREE, _PLATFORMS, _MODULE)
        if any(not 4 <= fields[field] < table_bytes for field in wanted):
            return None
        (version,) = struct.unpack_from("<H", content, root + fields[_VERSION])
        at = root + fields[_MODULE]
        (offset,) = struct.unpack_from("<I", content, at)
        (length,) = struct.unpack_from("<I", content, at + offset)
    except struct.error:
        return None
    start = at + offset + 4
    return (start, length) if version and content[start : start + 4] == BYTECODE else None
