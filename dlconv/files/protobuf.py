"""A walk over protobuf's wire format, enough to tell kinds of model files apart and to find ONNX external data.

Nothing is decoded that is not asked for, and no length in the file is trusted: the file is mapped, not read.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Buffer = bytes | mmap.mmap

# Field numbers and wire types of the messages at a file's root, as their .proto files declare them.
_ONNX_MODEL = {1: _VARINT, 5: _VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _BYTES)
_SAVED_MODEL = {1: _VARINT, 2: _BYTES}
_GRAPH_DEF = {3: _VARINT} | dict.fromkeys((1, 2, 4, 5), _BYTES)
_NODE_DEF = dict.fromkeys(range(1, 8), _BYTES)
_META_GRAPH = dict.fromkeys(range(1, 8), _BYTES)


class Malformed(Exception):
    """The bytes are no protobuf message."""


class Truncated(Malformed):
    """The message ends before a field that it announced."""


@dataclass(frozen=True)
class Field:
    """One field: its number, its wire type, the value of a varint, and where its content starts and ends."""

    number: int
    wire: int
    value: int
    start: int
    end: int


def fields(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
    """The fields of the message at buffer[start:end], in order. Raises Malformed or Truncated on the way."""
    at = start
    while at < end:
        key, at = _varint(buffer, at, end)
        number, wire = key >> 3, key & 7
        value = 0
        if wire == _VARINT:
            here = at
            value, at = _varint(buffer, at, end)
        elif wire == _BYTES:
            length, here = _varint(buffer, at, end)
            at = here + length
        elif wire in (_FIXED64, _FIXED32):
            here = at
            at += 8 if wire == _FIXED64 else 4
        else:
            raise Malformed(f"wire type {wire} at byte {at}")
        if number == 0:
            raise Malformed(f"field number 0 at byte {at}")
        if at > end:
            raise Truncated(f"field {number} ends {at - end} bytes after the end")
        yield Field(number, wire, value, here, at)


def _varint(buffer: Buffer, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= end:
            raise Truncated("a number is cut off")
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise Malformed(f"a number of more than ten bytes at byte {at}")


def kind_of(path: Path) -> str:
    """ "onnx", "saved-model" or "frozen-graph" by the structure of the message in the file, else "".

    Raises Truncated where the file begins as an ONNX model does, and ends too early.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        if _starts_as_onnx(buffer):
            return "onnx"
        if _conforms(buffer, _SAVED_MODEL, {1, 2}) and _conforms(buffer, _META_GRAPH, {2}, inside=2):
            return "saved-model"
        if _conforms(buffer, _GRAPH_DEF, {1}) and _conforms(buffer, _NODE_DEF, {1, 2}, inside=1):
            return "frozen-graph"
    return ""


def _starts_as_onnx(buffer: Buffer) -> bool:
    # An ONNX model begins with a small ir_version; the fields up to the graph tell it from other messages,
    # and a cut-off graph is still recognised as one.
    seen: list[Field] = []
    try:
        for field in fields(buffer, 0, len(buffer)):
            if _ONNX_MODEL.get(field.number) != field.wire:
                return False
            seen.append(field)
    except Truncated:
        strong = {2, 3, 8} & {field.number for field in seen}
        if seen and seen[0].number == 1 and 0 < seen[0].value < 100 and strong:
            raise
        return False
    except Malformed:
        return False
    return bool(seen) and {1, 7} <= {field.number for field in seen}


def _conforms(buffer: Buffer, known: Mapping[int, int], wanted: set[int], inside: int = 0) -> bool:
    """Whether the file, or its first field `inside`, is a message of known fields alone, with all that are wanted."""
    numbers: set[int] = set()
    try:
        start, end = 0, len(buffer)
        if inside:
            start, end = next((at.start, at.end) for at in fields(buffer, 0, end) if at.number == inside)
        for field in fields(buffer, start, end):
            if known.get(field.number) != field.wire:
                return False
            numbers.add(field.number)
    except Malformed:
        return False
    return wanted <= numbers


# Where tensors can stand below an ONNX message: message -> {field number: message below}.
_BELOW: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


def onnx_external_files(path: Path) -> tuple[str, ...]:
    """The locations of external data that an ONNX file names, as they are written in it, sorted. May be hostile."""
    found: set[str] = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        # A stack of its own: nesting in a hostile file can be deeper than Python's.
        stack = [("model", 0, len(buffer))]
        while stack:
            message, start, end = stack.pop()
            if message == "entry":
                pair = {field.number: buffer[field.start : field.end] for field in fields(buffer, start, end)}
                if pair.get(1) == b"location":
                    found.add(pair.get(2, b"").decode("utf-8", "surrogateescape"))
                continue
            below = _BELOW[message]
            for field in fields(buffer, start, end):
                if field.wire == _BYTES and field.number in below:
                    stack.append((below[field.number], field.start, field.end))
    return tuple(sorted(found))


@dataclass(frozen=True)
class OnnxNode:
    """A node of an ONNX graph: its operator, the operator's domain, and its own name, or its first output's."""

    operator: str
    domain: str
    name: str


@dataclass(frozen=True)
class OnnxGraph:
    """Of an ONNX file: the nodes, those of subgraphs and of functions too, in order; the opset of ONNX's own operators,
    0 if none is told; and the names of the functions that the file brings."""

    nodes: tuple[OnnxNode, ...]
    opset: int
    functions: frozenset[str]


# Where nodes can stand: message -> {field number: message below}.
_NODES_BELOW: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
}


def onnx_graph(path: Path) -> OnnxGraph:
    """The structure of an ONNX file. No weight is read. Raises Malformed."""
    nodes: list[OnnxNode] = []
    functions: set[str] = set()
    opset = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        stack = [("model", 0, len(buffer))]
        while stack:
            message, start, end = stack.pop()
            inside = list(fields(buffer, start, end))
            if message == "node":
                nodes.append(_node(buffer, inside))
            elif message == "function":
                functions.add(_text(buffer, inside, 1))
            elif message == "model":
                opset = max((_own_opset(buffer, field) for field in inside if field.number == 8), default=0)
            below = _NODES_BELOW[message]
            stack += [
                (below[field.number], field.start, field.end)
                for field in reversed(inside)
                if field.wire == _BYTES and field.number in below
            ]
    return OnnxGraph(tuple(nodes), opset, frozenset(functions))


def _node(buffer: Buffer, inside: list[Field]) -> OnnxNode:
    name = _text(buffer, inside, 3) or _text(buffer, inside, 2)
    return OnnxNode(_text(buffer, inside, 4), _text(buffer, inside, 7), name)


def _own_opset(buffer: Buffer, entry: Field) -> int:
    inside = list(fields(buffer, entry.start, entry.end))
    version = next((field.value for field in inside if field.number == 2), 0)
    return version if _text(buffer, inside, 1) in ("", "ai.onnx") else 0


def _text(buffer: Buffer, inside: list[Field], number: int) -> str:
    """The first text of a field, "" if there is none."""
    found = next((field for field in inside if field.number == number and field.wire == _BYTES), None)
    return "" if found is None else buffer[found.start : found.end].decode("utf-8", "replace")
