"""Text that a model reads out of speech: greedy decoding, and errors of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def decoded(scores: np.ndarray[Any, Any], alphabet: Sequence[str], blank: int) -> str:
    """Text of scores [time, classes] by connectionist temporal classification (Graves et al., ICML 2006): the best
    class of each step, repetitions joined, blanks left out."""
    best = np.argmax(scores, axis=-1)
    starts = np.append(True, best[1:] != best[:-1]) if best.size else np.zeros(0, dtype=bool)
    return "".join(alphabet[int(each)] for each in best[starts] if each != blank)


def errors(said: str, read: str) -> tuple[int, int]:
    """The least number of words to replace, insert and leave out so that `read` is `said` (Levenshtein's distance of
    words), and the number of words of `said`. Words are what white space parts."""
    wanted, got = said.split(), read.split()
    row = list(range(len(got) + 1))
    for count, word in enumerate(wanted, 1):
        before, row = row, [count]
        for place, other in enumerate(got, 1):
            row.append(min(before[place] + 1, row[-1] + 1, before[place - 1] + (word != other)))
    return row[-1], len(wanted)
