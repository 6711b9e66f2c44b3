"""The bundle: the directory that an export leaves. Written aside, then put in place by one rename; and read back."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv.asked.bars import Bars
from dlconv.errors import DlconvError, OutputError, RequestError
from dlconv.files.jsonfile import read_json, write_json
from dlconv.model import Signature, digest_of, files_of
from dlconv.records import kept_task
from dlconv.records.receipt import SCHEMA, made
from dlconv.reference import kept
from dlconv.reference.source import Reference
from dlconv.samples import SampleSet, from_arrays, read_npz, save_npz, to_arrays
from dlconv.validators.quantised import grids_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlconv.asked.options import ExportOptions
    from dlconv.candidate import Candidate
    from dlconv.reference.source import Source

RECEIPT: Final = "dlconv.json"
SAMPLES: Final = "samples.npz"
REFERENCE: Final = "reference.npz"
LOGS: Final = "evidence"

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fs.h


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk. Its receipt has been read; whether the files are those of the receipt is not checked yet."""

    place: Path
    receipt: dict[str, Any]

    @property
    def entry(self) -> Path:
        return self.place / str(self.receipt["artifact"]["entry"])

    @property
    def target(self) -> str:
        return str(self.receipt["target"])

    @property
    def provider(self) -> str:
        """ONNX Runtime's, that it was made for; "" for the CPU, and for what ONNX Runtime does not run."""
        return str(self.receipt.get("provider", ""))

    @property
    def signature(self) -> Signature:
        """The artifact's, each tensor with its source's name and axes."""
        return Signature.from_dict(self.receipt["artifact"])

    @property
    def source_signature(self) -> Signature:
        return Signature.from_dict(self.receipt["source"]["signature"])

    @property
    def precision(self) -> str:
        return str(self.receipt["precision"])

    @property
    def noise(self) -> dict[str, float]:
        """The precision's noise of each output, which the bars below fp32 are a factor of."""
        return {output["name"]: float(output["floor"]) for output in self.receipt["evidence"]["outputs"]}

    @property
    def bars(self) -> Bars:
        return Bars.from_dict(self.receipt["bars"])

    def changes(self) -> tuple[str, ...]:
        """A line for each deployable file that is not what the receipt says."""
        told = []
        for file in self.receipt["artifact"]["files"]:
            path = self.place / file["path"]
            if not path.resolve().is_relative_to(self.place.resolve()):
                told.append(f"{file['path']} lies outside of the bundle")
            elif not path.is_file():
                told.append(f"{file['path']} is not there")
            elif digest_of(path) != file["digest"]:
                told.append(f"{file['path']} is not the file that was made: its digest differs from the receipt's")
        known = {file["path"] for file in self.receipt["artifact"]["files"]}
        if self.entry.is_dir():
            present = [path.relative_to(self.place).as_posix() for path in files_of(self.entry)]
            told += [f"{path} was added to what was made" for path in present if path not in known]
        return tuple(told)

    def reference(self) -> Reference:
        """The source's answers that lie in the bundle. Raises RequestError unless they are those of the receipt."""
        told = self.receipt["reference"]
        samples = SampleSet(
            from_arrays(read_npz(self.place / SAMPLES)), told["samples"]["origin"], told["samples"]["seed"]
        )
        answers = kept.from_arrays(read_npz(self.place / REFERENCE), grids_of(self.source_signature.outputs))
        outputs = self.receipt["evidence"]["outputs"]
        measured = {output["name"]: float(output["floor"]) for output in outputs if output["kind"] != "exact"}
        floors = measured if answers.floors is None else answers.floors
        reference = Reference(
            samples, answers, floors, told["runtime"], told["precision"], told["reason"], told["versions"]
        )
        # The digest is of the best answers; the others set the floor, and so the bar.
        # Below fp32 the bars are of the precision's noise, and the evidence tells that.
        is_changed = self.precision == "fp32" and any(
            not math.isclose(floor, measured.get(name, math.nan)) for name, floor in floors.items()
        )
        if samples.digest != told["samples"]["digest"] or reference.digest != told["digest"] or is_changed:
            raise RequestError(
                f"the samples or answers in {self.place} are not those of its receipt",
                mend="export the model again, or fetch the bundle whole",
            )
        return reference


def is_bundle(path: Path) -> bool:
    """Whether there is a receipt in the directory."""
    return (path / RECEIPT).is_file()


def bundles_in(path: Path) -> list[Path]:
    """The bundles that lie in the folder, by name; none where it is a bundle itself, or no folder."""
    if not path.is_dir() or is_bundle(path):
        return []
    return sorted(each for each in path.iterdir() if is_bundle(each))


def open_bundle(place: Path) -> Bundle:
    """The bundle at `place`. RequestError where there is none, or its receipt is damaged or of another schema."""
    place = place.absolute()  # workers have a directory of their own
    try:
        receipt = read_json(place / RECEIPT)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not place.exists():
            raise RequestError(f"there is no {place}", wanted="a bundle") from error
        met = f"{place} is no bundle: it is no folder with a {RECEIPT}"
        raise RequestError(met, mend="--against MODEL, to judge a model file by another's answers") from error
    except (OSError, ValueError) as error:
        raise RequestError(f"the receipt of {place} cannot be read: {error}", mend="export the model again") from error
    schema = receipt.get("schema") if isinstance(receipt, dict) else None
    if schema != SCHEMA:
        raise RequestError(
            f"the receipt of {place} is of schema {schema}", wanted=f"schema {SCHEMA}", mend="export the model again"
        )
    bundle = Bundle(place, receipt)
    try:
        _ = bundle.signature, bundle.source_signature, bundle.bars, bundle.entry, bundle.target
        _ = [file["digest"] for file in receipt["artifact"]["files"]], receipt["reference"]["digest"]
        if task := receipt.get("task"):
            _ = task["metric"] + task["labels"], [file["path"] + file["digest"] for file in task["files"]]
        paths, entry = [file["path"] for file in receipt["artifact"]["files"]], receipt["artifact"]["entry"]
        if entry not in paths and not any(path.startswith(f"{entry}/") for path in paths):
            raise ValueError("no digest stands for the artifact's entry")
    except DlconvError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestError(
            f"the receipt of {place} is damaged: {type(error).__name__}: {error}", mend="export the model again"
        ) from error
    return bundle


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
    place: Path,
    target: str,
    source: Source,
    reference: Reference,
    candidate: Candidate,
    routes: list[dict[str, Any]],
    options: ExportOptions,
    reduction: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the bundle and put it at `place`; its receipt. options: by which it was made."""
    with staged(place) as aside:
        for file in files_of(candidate.product.folder):
            to = aside / file.relative_to(candidate.product.folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
        deployed = [path.relative_to(aside) for path in files_of(aside)]
        save_npz(aside / SAMPLES, to_arrays(reference.samples.samples))
        save_npz(aside / REFERENCE, kept.to_arrays(reference.answers))
        (aside / LOGS).mkdir()
        for log in candidate.product.logs:
            shutil.copyfile(log, aside / LOGS / log.name)
        task = kept_task.keep(aside, options.metric, options.labels)
        written = made(target, source, reference, candidate, routes, aside, deployed, options, reduction, task)
        write_json(aside / RECEIPT, written)
    return written
