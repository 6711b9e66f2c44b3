"""Figures of tasks: mean average precision, word errors, and how sure a drop is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlconv.asked.bars import Bars, OutputBars
from dlconv.validators.detections import Detections, matched, mean_average_precision
from dlconv.validators.drops import LEAST_LABELS, bootstrapped, judged, newcombe
from dlconv.validators.evidence import Evidence, OutputEvidence, TaskEvidence
from dlconv.validators.judging import checks
from dlconv.validators.words import decoded, errors

Scene = list[tuple[Detections, Detections]]
TEXTS = st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join)


def scene(seed: int) -> Scene:
    """Twelve pictures with boxes of four classes, found roughly; scores with two digits, so that some are alike."""
    random = np.random.default_rng(seed)

    def drawn(count: int) -> np.ndarray[Any, Any]:
        low = random.uniform(0, 80, (count, 2))
        return np.concatenate([low, low + random.uniform(5, 40, (count, 2))], 1)

    pictures = []
    for _ in range(12):
        count = int(random.integers(0, 7))
        boxes, kinds = drawn(count), random.integers(0, 4, count)
        others = int(random.integers(0, 5))
        extra = drawn(others)
        near = np.concatenate([boxes + random.normal(0, 2.5, boxes.shape), extra])
        near = np.concatenate([np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])], 1)
        right = np.where(random.random(count) < 0.85, kinds, random.integers(0, 4, count))
        found = np.concatenate([right, random.integers(0, 4, others)])
        scores = np.round(random.random(count + others), 2) + 0.001
        pictures.append((Detections(near, found, scores), Detections(boxes, kinds, np.ones(count))))
    return pictures


def precision_of(pictures: Scene) -> float:
    return mean_average_precision([matched(found, truth) for found, truth in pictures])


@pytest.mark.parametrize(
    ("seed", "wanted"),
    # By pycocotools 2.0.11, COCOeval.stats[0], on the same boxes.
    [(0, 0.19820819925399133), (1, 0.26000306280628066), (2, 0.13584766649741897), (3, 0.10692527114702421),
     (4, 0.16474460576309732), (5, 0.20527445011792708), (6, 0.1658518665780605), (7, 0.17413946553834442)],
)  # fmt: skip
def test_the_mean_average_precision_is_that_of_coco(seed: int, wanted: float) -> None:
    assert precision_of(scene(seed)) == pytest.approx(wanted, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_what_is_found_exactly_is_perfect_and_nothing_is_worse_than_nothing(seed: int) -> None:
    pictures = scene(seed)
    if sum(len(truth.boxes) for _, truth in pictures) == 0:
        return
    assert 0 <= precision_of(pictures) <= 1
    assert precision_of([(truth, truth) for _, truth in pictures]) == pytest.approx(1)
    none = Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    assert precision_of([(none, truth) for _, truth in pictures]) == 0
    low = [
        Detections(
            np.concatenate([found.boxes, found.boxes + 500]),
            np.concatenate([found.classes, found.classes]),
            np.concatenate([found.scores, found.scores - 2]),
        )
        for found, _ in pictures
    ]  # boxes that are nowhere, and less sure than all others, cost nothing
    assert precision_of([(more, truth) for more, (_, truth) in zip(low, pictures, strict=True)]) == pytest.approx(
        precision_of(pictures)
    )
    moved = [
        (Detections(3 * f.boxes + 7, f.classes, f.scores / 9), Detections(3 * t.boxes + 7, t.classes, t.scores))
        for f, t in pictures
    ]
    assert precision_of(moved) == pytest.approx(precision_of(pictures))
    assert math.isnan(precision_of([(found, none) for found, _ in pictures]))


@given(TEXTS, TEXTS, TEXTS)
def test_errors_of_words_are_a_distance(one: str, other: str, third: str) -> None:
    assert errors(one, one)[0] == 0
    far = errors(one, other)[0]
    assert far == errors(other, one)[0] and (far > 0) == (one != other)
    counts = len(one.split()), len(other.split())
    assert abs(counts[0] - counts[1]) <= far <= max(counts)
    assert errors(one, third)[0] <= far + errors(other, third)[0]


def test_errors_of_words_are_counted_by_what_was_said() -> None:
    assert errors("the cat sat on the mat", "the cat sit on mat") == (2, 6)
    assert errors("", "a b") == (2, 0)


def test_repetitions_are_joined_and_blanks_left_out() -> None:
    steps = [1, 1, 0, 1, 2, 2, 0, 0, 3]
    assert decoded(np.eye(4)[steps], ("_", "a", "b", "c"), 0) == "aabc"
    assert decoded(np.zeros((0, 4)), ("_", "a", "b", "c"), 0) == ""


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_interval_holds_the_difference_and_turns_with_the_sides(rows: list[tuple[bool, bool]]) -> None:
    one, other = np.array(rows).T
    low, high = newcombe(one, other)
    difference = one.mean() - other.mean()
    assert -1 - 1e-9 <= low <= difference + 1e-9 and difference - 1e-9 <= high <= 1 + 1e-9 and high > low
    assert newcombe(other, one) == pytest.approx((-high, -low))


def test_the_interval_holds_what_is_true_in_95_of_100() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        one = random.random(200) < 0.9
        other = np.where(random.random(200) < 0.1, ~one, one)  # 0.9 - (0.9 * 0.9 + 0.1 * 0.1) = 0.08
        low, high = newcombe(one, other)
        held += low <= 0.08 <= high
    assert 0.93 <= held / 400 <= 0.995


def test_a_bootstrap_draws_both_sides_alike() -> None:
    hits = np.random.default_rng(1).random(300) < 0.8
    assert bootstrapped(lambda d: hits[d].mean(), lambda d: hits[d].mean(), 300, 50, 1) == (0, 0)
    worse = hits & (np.random.default_rng(2).random(300) < 0.9)
    low, high = bootstrapped(lambda d: hits[d].mean(), lambda d: worse[d].mean(), 300, 400, 1)
    assert low < hits.mean() - worse.mean() < high
    assert (low, high) == pytest.approx(newcombe(hits, worse), abs=0.02)


def task(candidate: float, reference: float, labels: int = 1000, **more: Any) -> TaskEvidence:
    return TaskEvidence("top1", candidate, reference, labels, interval=(-0.01, 0.02), **more)


@pytest.mark.parametrize(
    ("evidence", "word"),
    [
        (task(0.960, 0.964), "PASS"),
        (task(0.958, 0.964), "FAIL"),
        (task(0.990, 0.964), "PASS"),  # better
        (task(0.9, 0.9, labels=LEAST_LABELS - 1), "INCONCLUSIVE"),
        (task(0.9, 0.9, labels=199), "INCONCLUSIVE"),  # one answer is more than 0.5%
        (task(0.9, 0.9, labels=200), "PASS"),
        (task(math.nan, 0.9), "FAIL"),
        (task(0.9, 0.9, problem="'y' of sample 3 is NaN"), "FAIL"),
        (task(0.12, 0.10, is_lower_better=True), "FAIL"),
        (task(0.10, 0.12, is_lower_better=True), "PASS"),
    ],
)
def test_a_drop_is_judged_and_fails_closed(evidence: TaskEvidence, word: str) -> None:
    assert judged(evidence, 0.005).verdict.word == word
    again = TaskEvidence.from_dict(evidence.to_dict())
    assert judged(again, 0.005) == judged(evidence, 0.005)


def test_the_bar_of_every_output_judges_the_metric_and_without_a_metric_the_accuracy() -> None:
    output = OutputEvidence("y", "float32", "float", 10, 1.0, 1e-3, 1e-3)
    asked = Bars(outputs={"*": OutputBars(max_drop=0.005)})
    found = {check.name: check for check in checks(Evidence((output,), 2, 3.0, task=task(0.5, 0.9)), asked)}
    assert found["metric"].verdict.word == "FAIL" and found["parity"].verdict.word == "PASS"
    assert "0.4" in found["metric"].verdict.reasons[0]
    without = {check.name: check.verdict.word for check in checks(Evidence((output,), 2, 3.0), asked)}
    assert without["parity"] == "FAIL" and "metric" not in without
