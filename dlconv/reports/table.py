"""Plain tables and figures as text: no terminal needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> list[str]:
    """Lines of aligned columns; those whose head is in `right` are aligned to the right."""
    cells = [tuple(heads), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    aligned = [
        [
            cell.rjust(width) if head in right else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        ]
        for row in cells
    ]
    aligned.insert(1, ["-" * width for width in widths])
    return ["  ".join(row).rstrip() for row in aligned]


def one_line(text: str) -> str:
    """The text on one line, without control characters: a model's names and a framework's messages are not trusted."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def size(count: float) -> str:
    """A number of bytes in the unit that suits it: "12.3 MB"."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """A time in the unit that suits it: "0.4 s", "3 min 20 s"."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
