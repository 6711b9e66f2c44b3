"""Mean average precision of detections, as COCO defines it: at overlaps from 0.50 to 0.95, over all areas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

OVERLAPS: Final = np.linspace(0.5, 0.95, 10)
"""Intersections over unions from which on a box is found."""
_RECALLS: Final = np.linspace(0, 1, 101)
_MOST: Final = 100
"""Detections of a class in a picture: the best so many count."""


@dataclass(frozen=True)
class Detections:
    """The boxes in one picture: boxes float64 [n, 4] as x0, y0, x1, y1; classes int [n]; scores float64 [n], ones for
    what is really there."""

    boxes: Array
    classes: Array
    scores: Array


@dataclass(frozen=True)
class Matched:
    """One class in one picture: scores [n], the best first; hits bool [10, n], at each overlap; how many are there."""

    scores: Array
    hits: Array
    truths: int


def overlap(one: Array, other: Array) -> Array:
    """Intersection over union, [n, m], of boxes [n, 4] and [m, 4] by their corners; 0 of empty ones."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    found: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def matched(found: Detections, truth: Detections) -> dict[int, Matched]:
    """By class: each detection, from the best on, takes the box that it overlaps most of those not yet taken."""
    classes = {*found.classes.tolist(), *truth.classes.tolist()}
    return {each: _matched(found, truth, each) for each in classes}


def mean_average_precision(pictures: Sequence[dict[int, Matched]]) -> float:
    """The mean over overlaps and over the classes that are in any picture; NaN where none is."""
    classes = sorted({each for picture in pictures for each in picture if picture[each].truths})
    every = [_average_precision([picture[each] for picture in pictures if each in picture]) for each in classes]
    return float(np.mean(every)) if every else float("nan")


def _matched(found: Detections, truth: Detections, which: int) -> Matched:
    ours, theirs = found.classes == which, truth.classes == which
    order = np.argsort(-found.scores[ours], kind="stable")[:_MOST]
    overlaps = overlap(found.boxes[ours][order], truth.boxes[theirs])
    hits = np.zeros((len(OVERLAPS), len(order)), dtype=bool)
    for place, least in enumerate(OVERLAPS):
        free = np.ones(overlaps.shape[1], dtype=bool)
        for index, row in enumerate(overlaps):
            best = np.where(free, row, -1.0)
            if best.size and best.max() >= min(least, 1 - 1e-10):
                # Of two that are overlapped alike, the last, as COCO's own code takes it.
                free[best.size - 1 - int(np.argmax(best[::-1]))] = False
                hits[place, index] = True
    return Matched(found.scores[ours][order], hits, int(np.count_nonzero(theirs)))


def _average_precision(pictures: Sequence[Matched]) -> float:
    """Of one class, the mean over overlaps of the precision at 101 recalls, each the best at that recall or above."""
    truths = sum(picture.truths for picture in pictures)
    order = np.argsort(-np.concatenate([picture.scores for picture in pictures]), kind="stable")
    right = np.cumsum(np.concatenate([picture.hits for picture in pictures], axis=1)[:, order], axis=1)
    if not order.size:
        return 0.0
    precision = right / np.arange(1, order.size + 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    means = []
    for row, recall in zip(best, right / truths, strict=True):
        places = np.searchsorted(recall, _RECALLS, side="left")
        means.append(np.append(row, 0.0)[places].mean())
    return float(np.mean(means))
