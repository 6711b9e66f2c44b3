"""Task metrics with labels from files, of answers as samples have them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.asked.metric import parse
from dlconv.errors import RequestError, SamplesError
from dlconv.metrics.scoring import Task, class_labels, open_task
from dlconv.model import Signature, TensorSpec
from dlconv.validators.answers import Answers

SCORES = Signature((), (TensorSpec("y", "float32", ("N", 10)),))
BOXES = Signature((), tuple(TensorSpec(name, "float32", None) for name in ("B", "S", "C")))
COUNT = 40


def task_of(text: str, path: Path, signature: Signature = SCORES) -> Task:
    task = open_task(text, path, signature)
    assert task is not None
    return task


@pytest.fixture
def classified(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, COUNT)
    np.savez(tmp_path / "labels.npz", y=labels)
    return tmp_path / "labels.npz", [{"y": np.eye(10, dtype=np.float32)[[label]] * 3} for label in labels]


def measured(task: Task, reference: list[dict[str, Any]], candidate: list[dict[str, Any]]) -> Any:
    return task.measured(Answers(tuple(reference), None), candidate)


def test_shares_of_right_classes(classified: tuple[Path, list[dict[str, Any]]]) -> None:
    path, right = classified
    half = [{"y": sample["y"] if index % 2 else np.roll(sample["y"], 1, axis=1)} for index, sample in enumerate(right)]
    found = measured(task_of("top1", path), right, half)
    assert (found.candidate, found.reference, found.labels) == (0.5, 1.0, COUNT) and found.drop == 0.5
    assert 0.3 < found.interval[0] < 0.5 < found.interval[1] < 0.7 and found.method
    assert measured(task_of("top5 output=y", path), right, half).candidate > 0.5
    spoiled = [{"y": half[0]["y"] * np.float32("nan")}, *half[1:]]
    assert "sample 0 is NaN" in measured(task_of("top1", path), right, spoiled).problem
    assert measured(task_of("top1", path), right, half[:-1]).problem == f"{COUNT - 1} of {COUNT} samples were answered"
    assert "no 'y'" in measured(task_of("top1", path), right, [{}, *half[1:]]).problem
    with pytest.raises(SamplesError, match="40 labels for 30"):
        task_of("top1", path).check(right[:30])
    assert class_labels("top1", path, ["y"]) is not None and class_labels("os:getcwd", path, ["y"]) is None


def test_boxes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    low = random.uniform(0, 50, (COUNT, 3, 2))
    boxes = np.concatenate([low, low + 20], axis=2)
    kinds = random.integers(0, 3, (COUNT, 3))
    image = np.repeat(np.arange(COUNT), 3)
    np.savez(tmp_path / "boxes.npz", boxes=boxes.reshape(-1, 4), classes=kinds.ravel(), image=image, images=COUNT)

    def answers(by: float) -> list[dict[str, Any]]:
        padded = np.concatenate([boxes + by, np.zeros((COUNT, 2, 4))], axis=1).astype(np.float32)
        scores = np.array([[0.9, 0.8, 0.7, 0, 0]], np.float32)
        named = np.concatenate([kinds, np.zeros((COUNT, 2))], axis=1).astype(np.float32)  # as TFLite has them
        return [{"B": padded[[at]], "S": scores, "C": named[[at]]} for at in range(COUNT)]

    task = task_of("map boxes=B scores=S classes=C", tmp_path / "boxes.npz", BOXES)
    found = measured(task, answers(0), answers(4.0))
    assert found.reference == pytest.approx(1) and found.labels == 3 * COUNT
    assert found.candidate < 0.5 and found.interval[0] <= found.drop <= found.interval[1]
    broken = [{**each, "C": each["C"] + np.float32(0.5)} for each in answers(0)]
    assert "no whole numbers" in measured(task, answers(0), broken).problem
    with pytest.raises(SamplesError, match="40 labels for 39 pictures"):
        task.check(answers(0)[:-1])
    turned = task_of("map boxes=B scores=S classes=C form=yxyx", tmp_path / "boxes.npz", BOXES)
    assert measured(turned, answers(0), answers(0)).candidate == pytest.approx(1)
    np.savez(tmp_path / "few.npz", boxes=boxes.reshape(-1, 4), classes=kinds.ravel(), image=image, images=COUNT - 1)
    with pytest.raises(SamplesError, match="are no boxes"):
        task_of("map boxes=B scores=S classes=C", tmp_path / "few.npz", BOXES)
    with pytest.raises(RequestError, match="boxes, scores, classes, which is no output"):
        task_of("map", tmp_path / "boxes.npz", BOXES)


def test_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "alphabet.txt").write_text("_\n \na\nb\n")
    (tmp_path / "said.txt").write_text("ab a\n" * COUNT)
    clear = np.eye(4, dtype=np.float32)[[2, 3, 1, 2, 0]][None]  # "ab a"
    wrong = np.eye(4, dtype=np.float32)[[2, 0, 1, 2, 0]][None]  # "a a"
    right = [{"y": clear}] * COUNT
    task = task_of(f"wer alphabet={tmp_path / 'alphabet.txt'}", tmp_path / "said.txt")
    found = measured(task, right, [{"y": wrong}] * 10 + [{"y": clear}] * (COUNT - 10))
    assert found.reference == 0 and found.candidate == 10 / (2 * COUNT) and found.labels == 2 * COUNT
    assert found.is_lower_better and found.drop == found.candidate and found.interval[0] > 0
    (tmp_path / "reading.py").write_text(
        "def text(outputs):\n    return 'ab a' if outputs['y'][0, 1, 3] else 'x y z'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = task_of("wer decode=reading:text", tmp_path / "said.txt")
    assert measured(own, right, [{"y": wrong}] * COUNT).candidate == 1.5
    with pytest.raises(RequestError) as refused:
        parse("wer alphabets=x decode=a:b")
    assert "'alphabets' is no word of wer" in refused.value.problems[0]


def test_a_function_of_the_users(
    classified: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, right = classified
    (tmp_path / "judging_mine.py").write_text(
        "import numpy as np\n"
        "def share(outputs, labels):\n    return np.mean(outputs['y'].argmax(1) == labels)\n"
        "def error(outputs, labels):\n    return 1 - share(outputs, labels)\nerror.lower = True\n"
        "def fails(outputs, labels):\n    return None\n"
        "def fails_later(outputs, labels):\n"
        "    if outputs['y'].max() < 3: raise ValueError('no')\n    return 1.0\n"
        "def nothing(outputs, labels):\n    return float('nan') if outputs['y'].max() < 3 else 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("judging_mine", None)
    half = [{"y": np.roll(each["y"], index % 2, axis=1)} for index, each in enumerate(right)]
    found = measured(task_of("judging_mine:share", path), right, half)
    assert found.candidate == 0.5 and found.interval[0] < 0.5 < found.interval[1] and found.labels == COUNT
    lower = measured(task_of("judging_mine:error", path), right, half)
    assert lower.drop == found.drop and lower.interval == pytest.approx(found.interval)
    small = [{"y": each["y"] / 2} for each in right]
    assert "raised ValueError: no" in measured(task_of("judging_mine:fails_later", path), right, small).problem
    assert measured(task_of("judging_mine:nothing", path), right, small).problem == "it is no number"
    with pytest.raises(SamplesError, match="gives NoneType, wanted a number"):
        task_of("judging_mine:fails", path).check(right)
    with pytest.raises(RequestError, match="judging_mine"):
        task_of("judging_mine:absent", path)


@pytest.mark.parametrize(
    "text", ["", "top", "top1 outputs=y", "map form=xyz", "wer", "a:", ":f", "wer blank=x alphabet=f"]
)
def test_what_is_no_metric_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        parse(text)
