"""How far a call has come is told as often as somebody can read it, and to whoever waits for that call alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dlconv import progress

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    sent: list[Any] = []
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    progress.begin(sent.append)
    yield sent
    progress.begin(None)


def test_each_of_several_samples_is_told_and_one_alone_is_not(told: list[Any]) -> None:
    assert list(progress.through("ab")) == ["a", "b"]
    assert list(progress.through("c")) == ["c"]
    assert told == [{"phase": "sample", "done": 1, "of": 2}, {"phase": "sample", "done": 2, "of": 2}]


def test_what_nobody_could_read_is_not_told(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_EVERY_S", 3600.0)
    for number in range(1000):
        progress.tell("sample", number, 1000)
    assert told == [{"phase": "sample", "done": 0, "of": 1000}]


def test_nobody_is_told_once_the_call_is_over(told: list[Any]) -> None:
    progress.begin(None)
    progress.tell("sample", 1, 2)
    assert told == []
