"""The bundle: the directory that an export leaves, and its receipt. Written aside, then put in place by one rename."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import sys
import tempfile
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv import __version__
from dlconv.errors import OutputError
from dlconv.jsonfile import write_json
from dlconv.model import digest_of, files_of
from dlconv.samples import save_npz, to_arrays
from dlconv.validators.parity import Evidence, bar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.candidate import Candidate
    from dlconv.model import TensorSpec
    from dlconv.source import Reference, Source

SCHEMA: Final = 1
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
        written = receipt(target, source, reference, candidate, routes, aside, deployed)
        write_json(aside / RECEIPT, written)
    return written


def receipt(
    target: str,
    source: Source,
    reference: Reference,
    candidate: Candidate,
    routes: list[dict[str, Any]],
    folder: Path,
    deployed: list[Path],
) -> dict[str, Any]:
    """The receipt as data; `receipt.schema.json` describes it."""
    files: list[dict[str, Any]] = [
        {"path": path.as_posix(), "digest": digest_of(folder / path), "size_bytes": (folder / path).stat().st_size}
        for path in deployed
    ]
    product = candidate.product
    return {
        "schema": SCHEMA,
        "dlconv": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": {
            "name": source.artifact.path.name,
            "digest": source.artifact.digest,
            "format": source.artifact.format.value,
            "signature": source.signature.to_dict(),
            "facts": source.facts,
            "notes": list(source.notes),
            "input_flag": source.flag,
        },
        "target": target,
        "precision": "fp32",
        "routes": routes,
        "artifact": {
            "entry": product.entry,
            "files": files,
            "size_bytes": sum(file["size_bytes"] for file in files),
            "inputs": [_tensor(spec) for spec in product.signature.inputs],
            "outputs": [_tensor(spec) for spec in product.signature.outputs],
        },
        "reference": {
            "runtime": reference.runtime,
            "precision": reference.precision,
            "reason": reference.reason,
            "versions": reference.versions,
            "digest": reference.digest,
            "notes": list(reference.notes),
            "samples": {
                "count": len(reference.samples.samples),
                "origin": reference.samples.origin,
                "seed": reference.samples.seed,
                "digest": reference.samples.digest,
            },
        },
        "evidence": _evidence(candidate),
        "verdict": candidate.verdict.to_dict(),
        "environment": environment(candidate.versions),
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    layout = "as the source"
    if spec.permutation:
        layout = "source axes " + ",".join(map(str, spec.permutation))
    return {**spec.to_dict(), "layout": layout}


def _evidence(candidate: Candidate) -> dict[str, Any]:
    evidence: Evidence = candidate.evidence
    return {
        "runtime": candidate.runtime,
        "versions": candidate.versions,
        "placement": candidate.placement,
        "seconds": round(candidate.seconds, 3),
        "samples": evidence.samples,
        "factor": evidence.factor,
        "outputs": [{**output.to_dict(), "bar": bar_of(output, evidence.factor)} for output in evidence.outputs],
        "problems": list(evidence.problems),
        "controls": dict(evidence.controls),
        "limits": list(candidate.limits),
    }


def environment(versions: dict[str, str]) -> dict[str, Any]:
    """Where this was done: CPU, cores, system, Python, and the packages that took part."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {"dlconv": __version__, "numpy": np.__version__, **versions},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
