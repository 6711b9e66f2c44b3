"""Tables and sentences that fit a terminal: what has no room in a row goes below it, and nothing is cut off."""

from __future__ import annotations

import os
import textwrap
from typing import IO, TYPE_CHECKING, Any

from dlconv.reports.table import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


def width_of(stream: IO[Any]) -> int | None:
    """The columns of the terminal that a stream writes to; None where it is no terminal, and nothing has to fit."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def fitted(
    rows: Sequence[Mapping[str, str]], width: int | None, *, right: Sequence[str], below: Sequence[str], lead: str
) -> tuple[list[str], list[list[str]]]:
    """The lines of a table's head, and those of each of its rows, of which each has the same columns.

    Columns named in `below` leave the row for lines below it, one after the other, until the rest fits. Where it never
    does there is no head, and each row is a block of lines that begins with its column `lead`.
    """
    for count in range(len(below) + 1):
        gone = [head for head in below[:count] if head in rows[0]]
        drawn = table(*_without(rows, gone), right=right)
        if width is None or max(map(len, drawn)) <= width:
            told = [[line, *_pairs(row, gone[::-1], width)] for line, row in zip(drawn[2:], rows, strict=True)]
            return drawn[:2], told
    return [], [list(_block(row, lead, below, width or 0)) for row in rows]


def _without(rows: Sequence[Mapping[str, str]], gone: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    heads = tuple(head for head in rows[0] if head not in gone)
    return heads, [tuple(row[head] for head in heads) for row in rows]


def _block(row: Mapping[str, str], lead: str, below: Sequence[str], width: int) -> Iterator[str]:
    """A row on lines of its own: names in the first, figures after them."""
    rest = [head for head in row if head != lead]
    names = [head for head in rest if head not in below]
    yield from folded(f"{row[lead]}  {', '.join(row[head] for head in names)}", width, after=2)
    yield from _pairs(row, [head for head in rest if head in below], width)


def _pairs(row: Mapping[str, str], heads: Sequence[str], width: int | None) -> Iterator[str]:
    """Figures with their names, as many on a line as there is room for. What the row has nothing for is left out."""
    line = ""
    for pair in (f"{head} {row[head]}" for head in heads if row[head] != "-"):
        if line and width is not None and len(line) + len(pair) + 4 > width:
            yield f"  {line}"
            line = ""
        line = f"{line}  {pair}".lstrip()
    if line:
        yield f"  {line}"


def folded(line: str, width: int | None, *, after: int) -> Iterable[str]:
    """A sentence on lines of that width, those after the first indented; a word that is longer, a path, stays whole."""
    if width is None or len(line) <= width:
        return (line,)
    indent = " " * after
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
