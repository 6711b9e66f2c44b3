"""What a bundle keeps of its task: labels and an alphabet, and what a receipt cannot make `verify` read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlconv.asked.metric import parse
from dlconv.errors import RequestError
from dlconv.records.bundle import open_bundle
from dlconv.records.kept_task import keep, kept

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    """The user's folder, with a space in its name, the bundle, and the receipt of a task of speech."""
    theirs, place = tmp_path / "my data", tmp_path / "bundle"
    theirs.mkdir()
    place.mkdir()
    (theirs / "said.txt").write_text("one\n")
    (theirs / "letters.txt").write_text("a\nb\n")
    task = keep(place, f"wer 'alphabet={theirs / 'letters.txt'}' blank=1", theirs / "said.txt")
    return theirs, place, {"task": task}


def test_labels_and_alphabet_go_with_the_bundle(given: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    theirs, place, receipt = given
    assert receipt["task"]["metric"] == "wer alphabet=alphabet.txt blank=1"
    shutil.rmtree(theirs)
    elsewhere = Path(shutil.move(place, tmp_path / "some where"))
    metric, labels = kept(elsewhere, receipt)
    assert labels is not None and labels.read_text() == "one\n"
    assert Path(parse(metric).words["alphabet"]).read_text() == "a\nb\n" and parse(metric).words["blank"] == "1"


def test_nothing_is_kept_without_labels_and_others_take_their_place(
    given: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert keep(tmp_path, "", None) is None and kept(tmp_path, {}) == ("", None)
    _, place, receipt = given
    (place / "labels.txt").unlink()
    assert kept(place, receipt, tmp_path / "mine.txt")[1] == tmp_path / "mine.txt"


@pytest.mark.parametrize(
    "wrong", ["spoiled", "lacking", "outside", "absolute", "without a digest", "alphabet elsewhere"]
)
def test_what_is_not_the_receipts_is_not_read(given: tuple[Path, Path, dict[str, Any]], wrong: str) -> None:
    theirs, place, receipt = given
    task = receipt["task"]
    if wrong == "spoiled":
        (place / "labels.txt").write_text("two\n")
    elif wrong == "lacking":
        (place / "alphabet.txt").unlink()
    elif wrong == "without a digest":
        task["files"] = task["files"][1:]
    elif wrong == "alphabet elsewhere":
        task["metric"] = f"wer 'alphabet={theirs / 'letters.txt'}'"
    else:
        name = str(theirs / "said.txt") if wrong == "absolute" else "../my data/said.txt"
        task["files"][0]["path"] = task["labels"] = name
    with pytest.raises(RequestError, match="not that of its receipt"):
        kept(place, receipt)


@pytest.mark.onnx
def test_a_damaged_task_is_a_damaged_receipt(digits_bundle: Callable[[str], Path], tmp_path: Path) -> None:
    place = Path(shutil.copytree(digits_bundle("onnx"), tmp_path / "bundle"))
    receipt = json.loads((place / "dlconv.json").read_text())
    (place / "dlconv.json").write_text(json.dumps({**receipt, "task": {"metric": 1, "labels": "x", "files": []}}))
    with pytest.raises(RequestError, match="is damaged"):
        open_bundle(place)
