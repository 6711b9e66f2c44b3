"""Steps are kept whole or not at all, found by content, and removed when there are too many."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dlconv.making.cache import Cache, default_root, key_of


def keep(cache: Cache, key: str, size: int = 10, used: float | None = None) -> Path:
    folder = cache.begin()
    (folder / "model.onnx").write_bytes(b"x" * size)
    path = cache.put(key, folder, f"what {key} is")
    if used is not None:
        os.utime(path, (used, used))
    return path


def test_what_is_put_is_found_and_nothing_else(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.get("one") is None
    path = keep(cache, "one")
    assert Cache(tmp_path).get("one") == path
    assert (path / "model.onnx").read_bytes() == b"x" * 10
    assert Cache(tmp_path).get("other") is None


def test_a_folder_that_was_begun_and_not_put_is_never_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.begin()
    assert cache.entries() == []


def test_two_that_put_the_same_key_agree(tmp_path: Path) -> None:
    first, second = keep(Cache(tmp_path), "one"), keep(Cache(tmp_path), "one")
    assert first == second
    assert len(Cache(tmp_path).entries()) == 1
    assert not any((tmp_path / "unfinished").iterdir())


def test_the_least_recently_used_goes_first_and_what_is_in_use_stays(tmp_path: Path) -> None:
    old = Cache(tmp_path, limit_bytes=1 << 30)
    now = time.time()
    for index, key in enumerate("abc"):
        keep(old, key, 1000, now - 100 + index)
    small = Cache(tmp_path, limit_bytes=2500)
    keep(small, "d", 1000)
    assert {entry.key for entry in small.entries()} == {"c", "d"}
    tiny = Cache(tmp_path, limit_bytes=1)
    assert tiny.get("c") is not None
    keep(tiny, "e", 1000)
    assert {entry.key for entry in tiny.entries()} == {"c", "e"}


def test_clear_frees_everything(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    keep(cache, "one", 1000)
    assert cache.clear() >= 1000
    assert cache.entries() == []
    assert Cache(tmp_path).get("one") is None


def test_a_key_depends_on_every_part() -> None:
    one = key_of(source="a", settings={"opset": 17}, versions={"onnx": "1"})
    assert one == key_of(versions={"onnx": "1"}, settings={"opset": 17}, source="a")
    assert one != key_of(source="a", settings={"opset": 18}, versions={"onnx": "1"})
    assert one != key_of(source="a", settings={"opset": 17}, versions={"onnx": "2"})


def test_the_environment_says_where_and_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path))
    monkeypatch.setenv("DLCONV_CACHE_BYTES", "1234")
    assert default_root() == tmp_path / "cache"
    assert Cache().limit_bytes == 1234
