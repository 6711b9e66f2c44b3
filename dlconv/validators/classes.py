"""Class scores: whether two models choose the same classes, and the right ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.errors import SamplesError
from dlconv.validators.evidence import Accuracy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Arrays = Sequence[np.ndarray[Any, Any]]

OTHER_SIZES: Final = 2
"""So many samples at the end may be draws that nobody has labels for: those at other sizes of free dimensions."""


def agreement(reference: Arrays, candidate: Arrays) -> dict[str, Any]:
    """top1 and top5 of an output that has the form of class scores, rows of two or more; {} of any other.

    top1: share of rows whose best class is the reference's. top5: share of rows whose best five hold it, of more than
    five classes.
    """
    if any(array.ndim != 2 or array.shape[1] < 2 or array.shape[0] == 0 for array in reference):
        return {}
    sure, got = np.concatenate([*_rows(reference)]), np.concatenate([*_rows(candidate)])
    wanted = sure.argmax(axis=1)
    five = np.argsort(-got, axis=1, kind="stable")[:, :5]
    return {
        "top1": float(np.mean(got.argmax(axis=1) == wanted)),
        "top5": float(np.mean((five == wanted[:, None]).any(axis=1))) if sure.shape[1] > 5 else None,
    }


def accuracy(labels: np.ndarray[Any, Any], reference: Arrays, candidate: Arrays, name: str) -> Accuracy:
    """How often each is right. labels: one class a row of scores, in the samples' order; none for the last samples,
    where those are draws of other sizes. SamplesError if they do not fit the output `name`."""
    right = np.asarray(labels).ravel()
    count = labelled([_predicted(array).size for array in reference], right.size, f"answers of '{name}'")
    sure, got = (np.concatenate([_predicted(array) for array in arrays[:count]]) for arrays in (reference, candidate))
    return Accuracy(int(np.count_nonzero(got == right)), int(np.count_nonzero(sure == right)), int(right.size))


def labelled(rows: Sequence[int], labels: int, what: str) -> int:
    """How many of the samples have labels: all, or all but the last, where those are draws of other sizes. rows: how
    many answers each sample has. SamplesError where that many labels fit neither."""
    ends = {sum(rows[:count]): count for count in range(len(rows) - OTHER_SIZES, len(rows) + 1) if count > 0}
    if labels not in ends:
        raise SamplesError(
            f"there are {labels} labels for {sum(rows)} {what}",
            mend="give as many labels as samples, in the samples' order",
        )
    return ends[labels]


def _rows(arrays: Arrays) -> Iterator[np.ndarray[Any, Any]]:
    width = max(array.shape[1] for array in arrays)  # a free number of classes: those that are not there never win
    for array in arrays:
        yield np.pad(array.astype(np.float64), ((0, 0), (0, width - array.shape[1])), constant_values=-np.inf)


def _predicted(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Classes: the best of the last axis' scores; integers are classes themselves."""
    if array.dtype.kind in "iub":
        return np.asarray(array).ravel()
    return np.asarray(np.argmax(array, axis=-1)).ravel()
