"""Opening a model: what kind of file it is, by its content: never by suffix, and never by unpickling."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from dlconv.errors import FormatError, RequestError
from dlconv.files import archives, jaxfile, pickles, protobuf
from dlconv.formats import Format
from dlconv.model import Artifact, digest_of, files_of

if TYPE_CHECKING:
    from pathlib import Path


_TABLE_END = bytes.fromhex("57fb808b247547db")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_XML_NET = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<net[\s>]", re.DOTALL)

# Offset, bytes, format, title.
_MAGICS = (
    (4, b"TFL3", "tflite", ""),
    (4, b"ORTM", "ort", ""),
    (0, b"GGUF", "gguf", ""),
    (0, b"ftrt", "tensorrt", ""),
    (0, b"ptrt", "tensorrt", ""),
    (0, b"\x1f\x8b", "unknown", "a gzip file: unpack it first"),
    (257, b"ustar", "unknown", "a tar archive: unpack it first"),
    (0, b"\x93NUMPY", "unknown", "a NumPy array"),
)

_WANTED = (
    "a TorchScript archive, a torch.export program (.pt2), an ONNX model, a TensorFlow SavedModel or frozen graph, "
    "a Keras model (.keras, .h5), a TFLite model or an exported JAX program"
)


@dataclass(frozen=True)
class Found:
    """What a path turned out to be.

    path: the model itself: the one model file of a directory, or the directory of a saved_model.pb.
    files: all files that it consists of, external data too. title: `Format.label`, or something more exact.
    advice: how to make of it what dlconv converts, "" where it is that.
    """

    path: Path
    format: Format
    files: tuple[Path, ...]
    title: str
    advice: str

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)


def recognise(path: Path) -> Format:
    """The format of what lies at `path`. Raises as `identify`."""
    return identify(path).format


def identify(path: Path) -> Found:
    """What lies at `path`: a file, or a directory with one model in it.

    Raises RequestError where there is nothing to read, FormatError where it is damaged or reaches outside
    of its directory. What is of no known kind is Format.UNKNOWN, and no error.
    """
    if not path.exists():
        raise RequestError(f"there is no file {path}", wanted="the path of a model", mend=_nearby(path))
    try:
        return _identify_directory(path) if path.is_dir() else _identify_file(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError(f"{path} cannot be read: {reason}", mend=f"check its permissions: ls -l {path}") from error


def identify_source(path: Path) -> Found:
    """The source model at `path`, not read to its end. Raises as `open_artifact`."""
    found = identify(path)
    if not found.format.is_source:
        raise FormatError(f"{path} is {found.title}", wanted=_WANTED, mend=found.advice)
    return found


def open_artifact(path: Path) -> Artifact:
    """The source model at `path`, with its digest; its signature is not known yet.

    Raises RequestError or FormatError, each with how to mend it, unless dlconv can convert it.
    """
    found = identify_source(path)
    return Artifact(path=found.path, format=found.format, signature=None, digest=digest(found))


def open_model(path: Path) -> Artifact:
    """The model at `path`, of whatever kind. Raises as `identify`."""
    found = identify(path)
    return Artifact(path=found.path, format=found.format, signature=None, digest=digest(found))


def digest(found: Found) -> str:
    """The digest of all its content, as "sha256:HEX". Computed once as long as the files stay the same."""
    parts: tuple[Path, ...] = (found.path,) if found.path.is_dir() else found.files
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in found.files)
    return _digest(parts, stamps)


@lru_cache(maxsize=64)
def _digest(parts: tuple[Path, ...], stamps: tuple[tuple[str, int, int], ...]) -> str:
    if len(parts) == 1:
        return digest_of(parts[0])
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.name.encode() + b"\0" + digest_of(part).encode() + b"\n")
    return "sha256:" + whole.hexdigest()


def _advice(kind: Format) -> str:
    if kind.is_source:
        return ""
    if kind is Format.UNKNOWN:
        return "give the model's own file; `dlconv inspect FILE` tells what a file is"
    if kind in (Format.KERAS_WEIGHTS, Format.TENSORFLOW_CHECKPOINT):
        return "build the model in Python, load the weights into it, and save it whole: model.save('model.keras')"
    if kind in (Format.SAFETENSORS, Format.GGUF):
        return "build the model in Python, load the weights into it, and save that with torch.jit or torch.export"
    return "this is what models are converted to: give the model that it was made from"


def _nearby(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no directory {folder} either"
    names = sorted(entry.name for entry in folder.iterdir() if entry.stem == path.stem and entry.name != path.name)
    return f"did you mean {folder / names[0]}?" if names else f"see what is there: ls {folder}"


def _identify_directory(path: Path) -> Found:
    if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
        return Found(path, Format.SAVED_MODEL, tuple(files_of(path)), Format.SAVED_MODEL.label, "")
    models: list[Found] = []
    for entry in sorted(path.iterdir()):
        if entry.is_file() and entry.stat().st_size:
            found = _identify_file(entry)
            if found.format is not Format.UNKNOWN:
                models.append(found)
    if len(models) == 1 or {found.format for found in models} == {Format.TENSORFLOW_CHECKPOINT}:
        return models[0]
    if not models:
        title = "a directory without a model"
        return Found(path, Format.UNKNOWN, tuple(files_of(path)), title, _advice(Format.UNKNOWN))
    raise RequestError(
        f"{path} is a directory with {len(models)} models",
        wanted="one model",
        mend="name the file",
        problems=tuple(f"{found.path.name} is {found.title}" for found in models),
    )


def _identify_file(path: Path) -> Found:
    size = path.stat().st_size
    if not path.is_file():
        return Found(path, Format.UNKNOWN, (), "no regular file", _advice(Format.UNKNOWN))
    if size == 0:
        raise FormatError(f"{path} is empty: 0 bytes", wanted="a model", mend="copy or download it again")
    with path.open("rb") as file:
        head = file.read(4096)
    kind, title, advice = _kind_of_file(path, head)
    form = Format(kind)
    if form is Format.SAVED_MODEL:
        return Found(path.parent, form, tuple(files_of(path.parent)), form.label, "")
    return Found(path, form, _files(path, form), title or form.label, advice or _advice(form))


def _kind_of_file(path: Path, head: bytes) -> archives.Kind:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return archives.zip_kind(path)
    for offset, magic, kind, title in _MAGICS:
        if head[offset : offset + len(magic)] == magic:
            return kind, title, ""
    if head.startswith(_HDF5):
        return archives.hdf5_kind(path)
    if _is_checkpoint(path):
        return "tensorflow-checkpoint", "", ""
    if _XML_NET.match(head):
        return "openvino", "", ""
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors", "", ""
    exported = jaxfile.kind_of(path)
    if exported is not None:
        return exported
    try:
        kind = protobuf.kind_of(path)
    except protobuf.Truncated as error:
        raise FormatError(
            f"{path} is a truncated ONNX model: {path.stat().st_size} bytes, {error}",
            wanted="a whole file",
            mend="copy or download it again, and compare its size",
        ) from error
    if kind:
        return kind, "", ""
    return archives.pickle_kind(path) if pickles.is_pickle(head) else ("unknown", "", "")


def _is_checkpoint(path: Path) -> bool:
    """Whether it is the index of a checkpoint, a table that ends in LevelDB's number, or a part of its data, which has
    no mark but its name."""
    if re.search(r"\.data-\d{5}-of-\d{5}$", path.name):
        return True
    with path.open("rb") as file:
        file.seek(-min(8, path.stat().st_size), 2)
        return file.read() == _TABLE_END


def _files(path: Path, form: Format) -> tuple[Path, ...]:
    """The file, and those that it names or that lie beside it by the format's own rule."""
    if form is Format.OPENVINO:
        weights = path.with_suffix(".bin")
        return (path, weights) if weights.is_file() else (path,)
    if form is Format.ONNX:
        return (path, *_external_data(path))
    return (path,)


def _external_data(path: Path) -> tuple[Path, ...]:
    try:
        locations = protobuf.onnx_external_files(path)
    except protobuf.Malformed as error:
        raise FormatError(f"{path} is a damaged ONNX model: {error}", mend="export or download it again") from error
    folder = path.parent.resolve()
    files = {location: path.parent / location for location in locations}
    outside = [name for name, file in files.items() if not name or not file.resolve().is_relative_to(folder)]
    if outside:
        raise FormatError(
            f"{path} names external data outside of its directory",
            wanted="external data beside the model",
            mend="copy the model and its data into one directory (cp -L follows links), and use that",
            problems=tuple(outside),
        )
    absent = [name for name, file in files.items() if not file.is_file()]
    if absent:
        raise FormatError(
            f"{path} keeps its weights in external data that is not here",
            wanted=f"in {path.parent}: {', '.join(absent)}",
            mend="copy the files of external data beside the model",
        )
    return tuple(files.values())
