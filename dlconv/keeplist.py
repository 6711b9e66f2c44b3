"""Keep-lists: files that name the nodes of the ONNX graph that stay in float32 beside a lower precision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dlconv.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

_COMMENT = re.compile(r"(?:^|\s)#.*")  # a name may hold a "#"


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
