"""The bundle: the directory that an export leaves, and its receipt. Written aside, then put in place by one rename."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import OutputError
from dlconv.jsonfile import write_json
from dlconv.model import files_of
from dlconv.receipt import made
from dlconv.samples import save_npz, to_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.candidate import Candidate
    from dlconv.source import Reference, Source

RECEIPT: Final = "dlconv.json"
SAMPLES: Final = "samples.npz"
REFERENCE: Final = "reference.npz"
LOGS: Final = "evidence"

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fs.h


@contextmanager
def staged(place: Path) -> Iterator[Path]:
    """An empty directory beside `place` that takes its place, by one rename, when the block ends well.

    Raises OutputError where the directory cannot be written. What stood at `place` stays whole until then.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        raise _cannot_write(place, error) from error
    try:
        aside.chmod(0o755)  # mkdtemp's is private
        yield aside
        _put(aside, place)
    except OSError as error:
        raise _cannot_write(place, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_writable(place: Path) -> None:
    """Raises OutputError if a bundle could not be put at `place`: asked before any work."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent)).rmdir()
    except OSError as error:
        raise _cannot_write(place, error) from error


def _cannot_write(place: Path, error: OSError) -> OutputError:
    mend = "free some space" if error.errno == errno.ENOSPC else "choose another directory with -o DIR"
    return OutputError(f"{place} cannot be written: {error.strerror or error}", mend=mend)


def _put(aside: Path, place: Path) -> None:
    if not place.exists():
        aside.rename(place)
    elif _exchange(aside, place):
        return  # what was there is now aside, and removed with it
    else:
        old = Path(tempfile.mkdtemp(prefix=f".{place.name}.old.", dir=place.parent))
        place.rename(old / place.name)
        aside.rename(place)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, where the system can (Linux); False where it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(
        renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)) == 0
    )


def publish(
    place: Path, target: str, source: Source, reference: Reference, candidate: Candidate, routes: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the bundle and put it at `place`; its receipt."""
    with staged(place) as aside:
        for file in files_of(candidate.product.folder):
            to = aside / file.relative_to(candidate.product.folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
        deployed = [path.relative_to(aside) for path in files_of(aside)]
        save_npz(aside / SAMPLES, to_arrays(reference.samples.samples))
        answers = {f"y32.{key}": value for key, value in to_arrays(reference.answers.y32).items()}
        if reference.answers.y64 is not None:
            answers |= {f"y64.{key}": value for key, value in to_arrays(reference.answers.y64).items()}
        save_npz(aside / REFERENCE, answers)
        (aside / LOGS).mkdir()
        for log in candidate.product.logs:
            shutil.copyfile(log, aside / LOGS / log.name)
        written = made(target, source, reference, candidate, routes, aside, deployed)
        write_json(aside / RECEIPT, written)
    return written
