"""Numbers of bytes, and ranges of free sizes, as people write them."""

from __future__ import annotations

import re
from typing import Final

from dlconv.errors import RequestError

_UNITS: Final = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY: Final = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
_RANGE: Final = re.compile(r"(?:([A-Za-z_]\w*)=)?(\d+)\.\.(\d+)", re.ASCII)


def parse_size(text: str) -> int:
    """A number of bytes, as "8G", "512MiB" or "1000000". Raises RequestError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text, re.IGNORECASE)
    factor = (_UNITS | _BINARY).get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise RequestError(
            f"{text!r} is no size", wanted="a number of bytes, with a unit if you like", mend="8G, 512MiB"
        )
    return int(float(match[1]) * factor)


class RangedDim(str):
    """The name of a free size of which the user said the least and the most that it will be."""

    least: int
    most: int

    @staticmethod
    def of(word: str) -> RangedDim | None:
        """What "1..32" or "N=1..32" says; None for another word. Equal ranges without a name are one size.

        Raises ValueError for a range that holds nothing.
        """
        match = _RANGE.fullmatch(word)
        if match is None:
            return None
        least, most = int(match[2]), int(match[3])
        if not 1 <= least <= most:
            raise ValueError(f"the range {word} holds no size")
        made = RangedDim(match[1] or f"from_{least}_to_{most}")
        made.least, made.most = least, most
        return made
