"""A bundle is put in place whole, by one rename, or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dlconv.errors import OutputError
from dlconv.records.bundle import check_writable, staged


def publish(place: Path, text: str) -> None:
    with staged(place) as aside:
        (aside / "model.onnx").write_text(text)


def test_a_new_bundle_is_there_and_nothing_beside_it(tmp_path: Path) -> None:
    publish(tmp_path / "out" / "m", "new")
    assert (tmp_path / "out" / "m" / "model.onnx").read_text() == "new"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["m"]
    assert (tmp_path / "out" / "m").stat().st_mode & 0o777 == 0o755


def test_an_old_bundle_is_replaced_whole(tmp_path: Path) -> None:
    publish(tmp_path / "m", "old")
    (tmp_path / "m" / "stray").touch()
    publish(tmp_path / "m", "new")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["model.onnx"]
    assert (tmp_path / "m" / "model.onnx").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_failure_in_the_middle_leaves_the_old_one(tmp_path: Path) -> None:
    publish(tmp_path / "m", "old")
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "m") as aside:
        (aside / "model.onnx").write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "m" / "model.onnx").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_reader_never_finds_it_missing_or_mixed(tmp_path: Path) -> None:
    place = tmp_path / "m"
    publish(place, "0")
    seen: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            descriptor = os.open(place, os.O_RDONLY)  # the directory itself: what it names may change meanwhile
            os.close(descriptor)
            seen.append("there")

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        publish(place, str(number))
    done.set()
    reader.join()
    assert len(seen) > 0
    assert (place / "model.onnx").read_text() == "199"


def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        check_writable(tmp_path / "file" / "m")
    assert caught.value.exit_code == 3
    assert "-o DIR" in caught.value.mend
    with pytest.raises(OutputError), staged(tmp_path / "file" / "m"):
        pytest.fail("the block must not run")


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "out" / "m")
    assert list((tmp_path / "out").iterdir()) == []
