"""Which tensors of a SavedModel's graph its signatures mean, read from its bytes: TensorFlow need not be there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.errors import FormatError, StepError
from dlconv.files.protobuf import Malformed, fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Field numbers, as saved_model.proto and meta_graph.proto of TensorFlow declare them.
_META_GRAPH = 2  # of a SavedModel
_SIGNATURE = 5  # of a MetaGraphDef: a map
_KEY, _VALUE = 1, 2  # of an entry of any map
_INPUTS, _OUTPUTS = 1, 2  # of a SignatureDef: maps
_NAME = 1  # of a TensorInfo

Span = tuple[int, int]


def keys_of(folder: Path) -> tuple[str, ...]:
    """The keys of all signatures. Raises FormatError for a file that is none."""
    return tuple(key for key, _, _ in _signatures(folder))


def tensors_of(folder: Path, key: str) -> tuple[dict[str, str], dict[str, str]]:
    """The tensors of the graph ("x:0") that the signature `key` takes and gives, by its own names of them.

    Raises StepError for a signature that there is not, FormatError for a file that is none.
    """
    for name, inputs, outputs in _signatures(folder):
        if name == key:
            return inputs, outputs
    raise StepError(f"{folder.name} has no signature {key!r}")


def _signatures(folder: Path) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    path = folder / "saved_model.pb"
    if not path.is_file():
        raise FormatError(f"{folder.name} has no saved_model.pb", mend="save it in binary form, not as text")
    content = path.read_bytes()
    try:
        return [
            (key, _names(content, signature, _INPUTS), _names(content, signature, _OUTPUTS))
            for graph in _inside(content, (0, len(content)), _META_GRAPH)
            for key, signature in _entries(content, graph, _SIGNATURE)
        ]
    except (Malformed, UnicodeDecodeError) as error:
        raise FormatError(f"{path.name} is damaged: {error}") from error


def _inside(content: bytes, span: Span, number: int) -> Iterator[Span]:
    for field in fields(content, *span):
        if field.number == number:
            yield field.start, field.end


def _entries(content: bytes, span: Span, number: int) -> Iterator[tuple[str, Span]]:
    """The entries of a map from text to messages."""
    for entry in _inside(content, span, number):
        key, value = "", (entry[1], entry[1])
        for field in fields(content, *entry):
            if field.number == _KEY:
                key = content[field.start : field.end].decode()
            elif field.number == _VALUE:
                value = (field.start, field.end)
        yield key, value


def _names(content: bytes, signature: Span, number: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, info in _entries(content, signature, number):
        for start, end in _inside(content, info, _NAME):
            found[key] = content[start:end].decode()
    return found
