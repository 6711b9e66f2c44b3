"""The reference's answers as the arrays of one .npz, as the cache and a bundle keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv import samples
from dlconv.validators.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from dlconv.validators.quantised import Grid


def to_arrays(answers: Answers) -> dict[str, np.ndarray[Any, Any]]:
    """Keys `y32.NNN.name`, `y64.NNN.name` where there are such, and `y32+M.NNN.name` of the further answers."""
    kinds = {"y32": answers.y32, "y64": answers.y64 or ()}
    kinds |= {f"y32+{move}": further for move, further in enumerate(answers.further)}
    return {f"{kind}.{key}": array for kind, each in kinds.items() for key, array in samples.to_arrays(each).items()}


def from_arrays(arrays: Mapping[str, np.ndarray[Any, Any]], grids: Mapping[str, Grid]) -> Answers:
    """What `to_arrays` took apart. grids: of the quantised outputs. SamplesError where a number is missing."""
    kinds: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    for key, array in arrays.items():
        kind, _, rest = key.partition(".")
        kinds.setdefault(kind, {})[rest] = array
    found = {kind: samples.from_arrays(each) for kind, each in kinds.items()}
    y32, y64 = found.pop("y32", ()), found.pop("y64", None)
    return Answers(y32, y64, grids, tuple(found[kind] for kind in sorted(found)))
