"""What stands in a TFLite file, read from its bytes: no interpreter, and no package, is needed to know it.

An operator that an interpreter lacks can end its process, and OpenVINO's or TensorFlow's interpreter has no TFLite
schema beside it: so the file is read here, by the field numbers of TensorFlow's `schema.fbs`. No offset is trusted.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dlconv.errors import FormatError
from dlconv.runtimes.tflite_operators import CUSTOM, OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")

DTYPES = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
    "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16", "int2", "uint4",
    "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
"""NumPy's names of the schema's TensorType, by number."""
_MAX_ELEMENTS = 1 << 24  # of one vector of tables or numbers: a file that claims more is damaged
_OVERLAP = 2
"""Elements of vectors for each byte of a file. One that repeats nothing has no more than one."""


@dataclass(frozen=True)
class FlatTensor:
    """A tensor of a graph. shape has -1 where a size is free. scale and zero_point: one a channel along `axis`, one
    of all, or none where it is not quantised. size_bytes: of its stored values, 0 where it is computed; buffer: where
    they are. axis_at: where in the file the number of that axis stands, 0 where it does not."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    axis_at: int
    buffer: int
    size_bytes: int
    is_variable: bool

    @property
    def is_stored(self) -> bool:
        return self.size_bytes > 0


@dataclass(frozen=True)
class FlatOperator:
    """One operator: "CONV_2D", or "custom.NAME"; its tensors by number, -1 for one that is left out."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def custom(self) -> str:
        """The name of a custom operator, "" of a builtin one."""
        return self.name[len(CUSTOM) :] if self.name.startswith(CUSTOM) else ""


@dataclass(frozen=True)
class FlatGraph:
    """A graph: the first is the main one, the others are entry points, branches and loops."""

    tensors: tuple[FlatTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[FlatOperator, ...]


@dataclass(frozen=True)
class FlatEntry:
    """A SignatureDef: its key, its graph's number, and the numbers of its tensors by name."""

    key: str
    graph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class FlatModel:
    """All of a file but its weights. metadata: the names of its entries. slots: where in the file the offset of each
    graph stands."""

    version: int
    description: str
    graphs: tuple[FlatGraph, ...]
    entries: tuple[FlatEntry, ...]
    metadata: tuple[str, ...]
    slots: tuple[int, ...]

    @property
    def operators(self) -> list[FlatOperator]:
        """Of all graphs."""
        return [operator for graph in self.graphs for operator in graph.operators]


def load(path: Path) -> FlatModel:
    """What stands in the file. Raises FormatError where it is no TFLite file, or damaged."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[4:8] != b"TFL3":
                raise ValueError("it does not say TFL3")
            return _model(_Table(data, _u32(data, 0), _Left(_OVERLAP * len(data))))
    except (struct.error, IndexError, ValueError) as error:
        raise FormatError(
            f"{path.name} is not a TFLite model that can be read: {error}",
            wanted="a whole .tflite file",
            mend="copy or export the file again",
        ) from error


def _model(root: _Table) -> FlatModel:
    codes = root.tables(1, _code)
    sizes = root.tables(4, _stored_bytes)
    graphs = root.tables(2, lambda table: _graph(table, codes, sizes))
    if not graphs:
        raise ValueError("it has no graph")
    entries = root.tables(7, _entry)
    for entry in entries:
        numbers = (*entry.inputs.values(), *entry.outputs.values())
        if max(numbers, default=0) >= len(graphs[entry.graph].tensors):
            raise ValueError(f"the signature {entry.key} names a tensor that there is not")
    metadata = root.tables(6, lambda table: table.text(0))
    return FlatModel(root.number(0, "<I"), root.text(3), graphs, entries, metadata, root.slots(2))


def _code(table: _Table) -> str:
    # Files of before 2020 have the code in a byte of its own.
    number = max(table.number(3, "<i"), table.number(0, "<b"))
    custom = table.text(1)
    if custom:
        return CUSTOM + custom
    return OPERATORS[number] if 0 <= number < len(OPERATORS) else f"operator {number}"


def _stored_bytes(table: _Table) -> int:
    # Data beyond the FlatBuffer (offset and size) is how a file passes 2 GB.
    return table.length(0) or table.number(2, "<Q")


def _graph(table: _Table, codes: tuple[str, ...], sizes: tuple[int, ...]) -> FlatGraph:
    tensors = table.tables(0, lambda each: _tensor(each, sizes))
    operators = table.tables(
        3, lambda each: FlatOperator(codes[each.number(0, "<I")], each.numbers(1, "<i"), each.numbers(2, "<i"))
    )
    graph = FlatGraph(tensors, table.numbers(1, "<i"), table.numbers(2, "<i"), operators)
    ends = (*graph.inputs, *graph.outputs)
    used = [number for each in operators for number in (*each.inputs, *each.outputs)]
    # -1 is an input that an operator does without
    if not all(0 <= number < len(tensors) for number in ends) or not all(
        -1 <= number < len(tensors) for number in used
    ):
        raise ValueError("an operator or the graph names a tensor that there is not")
    return graph


def _tensor(table: _Table, sizes: tuple[int, ...]) -> FlatTensor:
    kind, buffer, quantised = table.number(1, "<b"), table.number(2, "<I"), table.table(4)
    return FlatTensor(
        name=table.text(3),
        dtype=DTYPES[kind] if 0 <= kind < len(DTYPES) else f"type {kind}",
        shape=table.numbers(7, "<i") or table.numbers(0, "<i"),
        scale=quantised.floats(2) if quantised else (),
        zero_point=quantised.numbers(3, "<q") if quantised else (),
        axis=quantised.number(6, "<i") if quantised else 0,
        axis_at=quantised.place(6) if quantised else 0,
        buffer=buffer,
        size_bytes=sizes[buffer],
        is_variable=bool(table.number(5, "<b")),
    )


def _entry(table: _Table) -> FlatEntry:
    def named(field: int) -> dict[str, int]:
        return dict(table.tables(field, lambda each: (each.text(0), each.number(1, "<I"))))

    return FlatEntry(table.text(2), table.number(4, "<I"), named(0), named(1))


class _Left:
    """How many elements of vectors may still be read of the file."""

    def __init__(self, count: int) -> None:
        self._count = count

    def take(self, count: int) -> None:
        self._count -= count
        if self._count < 0:
            raise ValueError("its vectors name the same parts again and again")


class _Table:
    """A table of a FlatBuffer: its fields by number, with the schema's default of 0 where one is absent."""

    def __init__(self, data: mmap.mmap, start: int, left: _Left) -> None:
        self._data = data
        self._left = left
        self._start = start
        self._fields = start - int(struct.unpack_from("<i", data, _within(start, data))[0])
        self._size = int(struct.unpack_from("<H", data, _within(self._fields, data))[0])

    def number(self, field: int, form: str) -> int:
        at = self.place(field)
        return int(struct.unpack_from(form, self._data, at)[0]) if at else 0

    def text(self, field: int) -> str:
        start, count = self._vector(field)
        return self._data[start : start + count].decode(errors="replace")

    def length(self, field: int) -> int:
        return self._vector(field)[1]

    def numbers(self, field: int, form: str) -> tuple[int, ...]:
        start, count = self._vector(field)
        size = struct.calcsize(form)
        if count > _MAX_ELEMENTS or start + count * size > len(self._data):
            raise ValueError("a vector passes the end of the file")
        self._left.take(count)
        return struct.unpack_from(f"<{count}{form[1:]}", self._data, start) if count else ()

    def floats(self, field: int) -> tuple[float, ...]:
        return tuple(np.array(self.numbers(field, "<i"), np.int32).view(np.float32).tolist())

    def table(self, field: int) -> _Table | None:
        at = self.place(field)
        return _Table(self._data, at + _u32(self._data, at), self._left) if at else None

    def tables(self, field: int, read: Callable[[_Table], _T]) -> tuple[_T, ...]:
        found = (_Table(self._data, slot + _u32(self._data, slot), self._left) for slot in self.slots(field))
        return tuple(read(table) for table in found)

    def slots(self, field: int) -> tuple[int, ...]:
        """Where the offsets of a vector of tables stand."""
        start, count = self._vector(field)
        if count > _MAX_ELEMENTS or start + 4 * count > len(self._data):
            raise ValueError("a vector passes the end of the file")
        self._left.take(count)
        return tuple(range(start, start + 4 * count, 4))

    def place(self, field: int) -> int:
        """Where the field's value stands, 0 where it is absent."""
        slot = 4 + 2 * field
        if slot >= self._size:
            return 0
        offset = int(struct.unpack_from("<H", self._data, self._fields + slot)[0])
        return self._start + offset if offset else 0

    def _vector(self, field: int) -> tuple[int, int]:
        at = self.place(field)
        if not at:
            return 0, 0
        start = at + _u32(self._data, at)
        return start + 4, _u32(self._data, start)


def _u32(data: mmap.mmap, at: int) -> int:
    return int(struct.unpack_from("<I", data, _within(at, data))[0])


def _within(at: int, data: mmap.mmap) -> int:
    if not 0 <= at < len(data):
        raise ValueError("an offset passes the end of the file")
    return at
