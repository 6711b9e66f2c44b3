"""The cache of steps: directories by key, each written whole or not at all. Failures are never kept.

A key is a digest of everything that determines the result: the input's content, the settings, the signature, the
versions of the packages, and the source text of dlconv's own worker-side code.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlconv.model import digest_of, files_of

DEFAULT_LIMIT_BYTES = 10 << 30
WORKER_SIDE = (
    "asked", "convert", "drawing", "errors", "files", "formats", "graphs", "model", "opening", "plugins", "progress",
    "runtimes", "samples", "workers",
)  # fmt: skip
"""The rooms whose code runs in workers, by which the results of steps come about."""


@dataclass(frozen=True)
class Entry:
    """One cached step: its key, what it is, and when it was last used (seconds since the epoch)."""

    key: str
    what: str
    path: Path
    size_bytes: int
    used: float


def code_digest() -> str:
    """Digest of the source text that runs in workers: a changed edge or adapter makes every older entry unfit."""
    return digest_of_code(WORKER_SIDE)


@functools.cache
def digest_of_code(rooms: tuple[str, ...]) -> str:
    """Digest of the source text of some of dlconv's rooms and modules."""
    root = Path(__file__).parents[1]
    whole = hashlib.sha256()
    for name in rooms:
        for path in sorted((root / name).rglob("*.py")) or [root / f"{name}.py"]:
            whole.update(path.relative_to(root).as_posix().encode() + b"\0" + digest_of(path).encode() + b"\n")
    return whole.hexdigest()


def key_of(**parts: Any) -> str:
    """The key of a step, of JSON-able parts."""
    text = json.dumps({"code": code_digest(), **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def default_root() -> Path:
    """$DLCONV_HOME/cache, else the user's cache folder."""
    base = os.environ.get("DLCONV_HOME")
    if base:
        return Path(base).expanduser().resolve() / "cache"
    from platformdirs import user_cache_path

    return user_cache_path("dlconv")


class Cache:
    """Cached steps under `root`, the least recently used removed beyond `limit_bytes` ($DLCONV_CACHE_BYTES)."""

    def __init__(self, root: Path | None = None, limit_bytes: int | None = None) -> None:
        self.root = root or default_root()
        self.limit_bytes = limit_bytes or int(os.environ.get("DLCONV_CACHE_BYTES", DEFAULT_LIMIT_BYTES))
        self._in_use: set[str] = set()

    @property
    def _steps(self) -> Path:
        return self.root / "steps"

    def get(self, key: str) -> Path | None:
        """The directory kept under the key, or None."""
        path = self._steps / key
        if not (path / "what.json").exists():
            return None
        self._in_use.add(key)
        os.utime(path)
        return path

    def begin(self) -> Path:
        """An empty directory on the cache's own file system, to be filled and given to `put`, or removed."""
        temporary = self.root / "unfinished"
        temporary.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=temporary))

    def put(self, key: str, filled: Path, what: str) -> Path:
        """Keep a directory made by `begin`, by one rename. If another process was faster, theirs stays."""
        self._in_use.add(key)
        (filled / "what.json").write_text(json.dumps({"what": what}), encoding="utf-8")
        self._steps.mkdir(parents=True, exist_ok=True)
        path = self._steps / key
        try:
            filled.rename(path)
        except OSError:
            if not (path / "what.json").exists():
                raise
            shutil.rmtree(filled, ignore_errors=True)
        self._shrink()
        return path

    def forget(self, key: str) -> None:
        """Remove what is kept under the key, if anything is."""
        shutil.rmtree(self._steps / key, ignore_errors=True)

    def entries(self) -> list[Entry]:
        """All that is kept, the most recently used first."""
        found: list[Entry] = []
        for path in self._steps.iterdir() if self._steps.exists() else ():
            try:
                what = json.loads((path / "what.json").read_text(encoding="utf-8"))["what"]
                size = sum(file.stat().st_size for file in files_of(path))
                found.append(Entry(path.name, what, path, size, path.stat().st_mtime))
            except FileNotFoundError:
                continue  # another process removed it in between
        return sorted(found, key=lambda entry: -entry.used)

    def clear(self) -> int:
        """Remove everything; the number of bytes that were freed."""
        freed = sum(entry.size_bytes for entry in self.entries())
        for folder in (self._steps, self.root / "unfinished"):
            shutil.rmtree(folder, ignore_errors=True)
        return freed

    def remove(self) -> None:
        """Remove the cache's root itself: for one that was made for a single run."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _shrink(self) -> None:
        kept = 0
        for entry in self.entries():
            kept += entry.size_bytes
            if kept > self.limit_bytes and entry.key not in self._in_use:
                shutil.rmtree(entry.path, ignore_errors=True)
        abandoned = time.time() - 24 * 3600
        for path in (self.root / "unfinished").iterdir():
            if path.stat().st_mtime < abandoned:  # a killed process left it
                shutil.rmtree(path, ignore_errors=True)
