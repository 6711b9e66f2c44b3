"""Keep-lists: files that name the nodes of the ONNX graph that stay in float32 beside a lower precision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dlconv.errors import OutputError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_COMMENT = re.compile(r"(?:^|\s)#.*")  # a name may hold a "#"


def write_keep_list(path: Path, names: Sequence[str]) -> None:
    """Write a keep-list, the most sensitive node first. Raises OutputError."""
    head = "# Nodes of the ONNX graph that stay in float32, the most sensitive first.\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + "".join(f"{name}\n" for name in names), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}", mend="choose another directory with -o DIR") from error


def read_keep_list(path: Path) -> tuple[str, ...]:
    """The names in a keep-list: one a line; "# ..." is a comment. Raises RequestError where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"the keep-list {path} cannot be read: {error}", wanted="a text file") from error
    names = tuple(dict.fromkeys(name for line in lines if (name := _COMMENT.sub("", line).strip())))
    if not names:
        raise RequestError(f"the keep-list {path} names no node", wanted="a name a line")
    return names
