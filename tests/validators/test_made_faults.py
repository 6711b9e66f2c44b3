"""Controls that the artifact makes itself: its answers without the state that it should carry."""

from __future__ import annotations

import numpy as np

from dlconv.validators.answers import Answers
from dlconv.validators.controls import with_controls
from dlconv.validators.judging import judge
from dlconv.validators.parity import measure

FLOORS = {"y": 1e-7}


def samples(*values: float) -> tuple[dict[str, np.ndarray], ...]:
    return tuple({"y": np.array([value, 2 * value, -value], np.float32)} for value in values)


def word(first_calls: tuple[dict[str, np.ndarray], ...]) -> tuple[str, dict[str, bool]]:
    answers = Answers(samples(1, 2, 3), None)
    evidence = measure(answers, samples(1, 2, 3), 40.0, FLOORS)
    judged = with_controls(evidence, answers, samples(1, 2, 3), FLOORS, made={"state lost": first_calls})
    return judge(judged).word, dict(judged.controls)


def test_answers_that_need_the_state_show_its_loss() -> None:
    told, controls = word(samples(1, 1.5, 2))
    assert told == "PASS" and controls["state lost"]


def test_answers_that_are_the_same_without_the_state_show_nothing() -> None:
    told, controls = word(samples(1, 2, 3))
    assert told == "INCONCLUSIVE" and not controls["state lost"]
