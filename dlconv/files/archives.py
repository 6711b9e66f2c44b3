"""What a zip archive, a pickle or an HDF5 file holds: PyTorch's containers and Keras', told without opening them."""

from __future__ import annotations

import mmap
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dlconv.errors import FormatError
from dlconv.files import pickles

if TYPE_CHECKING:
    from pathlib import Path

_SAVE_WHOLE = "torch.jit.trace(model.eval(), x).save('model.pt')"
_LOAD_WEIGHTS = f"build the model in Python, load the weights into it, and save it whole: {_SAVE_WHOLE}"
_LOAD_MODULE = f"load it where its code is installed (torch.load), and save it whole: {_SAVE_WHOLE}"

_OWN_EXPORTS = {"ultralytics": "export it by its own package: yolo export model=FILE.pt format=torchscript"}
"""By the package of a pickled module's class: what makes a model of it that needs no code, where that is a command."""

Kind = tuple[str, str, str]
"""The value of a Format, then a title and advice where there is more to say than the format's own, else ""."""


def zip_kind(path: Path) -> Kind:
    """What a zip archive holds. Raises FormatError if it is damaged or has members outside of itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            _refuse_escapes(path, members)
            return _by_members(archive, members)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        # RuntimeError: an encrypted member; ValueError: a damaged pickle in a whole archive.
        size = path.stat().st_size
        raise FormatError(
            f"{path} is a truncated archive: {size} bytes, without the directory that a zip ends with"
            if not _has_end(path)
            else f"{path} is a damaged archive: {error}",
            wanted="a whole file",
            mend="copy or download it again, and compare its size",
        ) from error


def _has_end(path: Path) -> bool:
    # The record that ends a zip, and says where its directory is, stands in its last 64 KiB.
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))
        return b"PK\x05\x06" in file.read()


def pickle_kind(path: Path) -> Kind:
    """What a bare pickle file holds, torch.save's old format among them. Raises FormatError if it is damaged."""
    with path.open("rb") as file:
        try:
            return _from_pickle(pickles.look(file))
        except ValueError as error:
            raise FormatError(
                f"{path} is a damaged pickle: {path.stat().st_size} bytes, {error}",
                wanted="a whole file",
                mend="copy or download it again, and compare its size",
            ) from error


def hdf5_kind(path: Path) -> Kind:
    """What an HDF5 file holds, as far as Keras is concerned."""
    # The names of attributes stand in an HDF5 file as they are; Keras keeps the architecture in this one.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"model_config") >= 0:
            return "keras-h5", "", ""
        if content.find(b"layer_names") >= 0 or (content.find(b"layers") >= 0 and content.find(b"vars") >= 0):
            return "keras-weights", "", ""
    return "unknown", "an HDF5 file without a model", ""


def _refuse_escapes(path: Path, members: list[str]) -> None:
    outside = [
        name
        for name in members
        if name.startswith(("/", "\\")) or ":" in name.partition("/")[0] or ".." in PurePosixPath(name).parts
    ]
    if outside:
        raise FormatError(
            f"{path} is an archive with members outside of it",
            wanted="members with relative names",
            mend="do not open it: no tool that saves models writes such a file",
            problems=tuple(outside[:10]),
        )


def _by_members(archive: zipfile.ZipFile, members: list[str]) -> Kind:
    # torch puts all under one folder, named for the file; Keras and torch.export before 2.7 do not.
    tails = {name: name.partition("/")[2] for name in members}
    names = set(members) | set(tails.values())
    if "constants.pkl" in names or ("model.json" in names and any(name.startswith("code/") for name in names)):
        return "torchscript", "", ""
    if "serialized_exported_program.json" in names or _is_program(names):
        return "torch-export", "", ""
    if "archive_format" in names:
        return "unknown", "a .pt2 package without an exported program (compiled by AOTInductor)", ""
    if {"config.json", "model.weights.h5"} <= names:
        return "keras", "", ""
    pickle = next((name for name, tail in tails.items() if tail == "data.pkl"), None)
    if pickle is not None:
        with archive.open(pickle) as member:
            return _from_pickle(pickles.look(member))
    if ".data/extern_modules" in names:
        return "torch-pickle", "a torch.package: a model's code and a pickled module", _LOAD_MODULE
    return "unknown", "a zip archive without a model that dlconv knows", ""


def _is_program(names: set[str]) -> bool:
    return "archive_format" in names and any(name.startswith("models/") and name.endswith(".json") for name in names)


def _from_pickle(found: pickles.Pickled) -> Kind:
    if found.kind == "module":
        named = found.classes[0] if found.classes else found.root
        return (
            "torch-pickle",
            f"a pickled module ({named}): weights and the names of its classes, not their code",
            _OWN_EXPORTS.get(named.partition(".")[0], _LOAD_MODULE),
        )
    if found.kind == "checkpoint":
        return (
            "torch-state-dict",
            "a training checkpoint: weights and the state of a training, without a model",
            _LOAD_WEIGHTS,
        )
    if found.kind == "weights":
        return "torch-state-dict", "", _LOAD_WEIGHTS
    named = found.root or (found.classes[0] if found.classes else "")
    title = f"a pickled Python object ({named})" if named else ""
    return "torch-pickle", title, "dlconv never unpickles: save the model with torch.jit, torch.export or as ONNX"
