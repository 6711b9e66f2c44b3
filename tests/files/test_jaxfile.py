from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.files import jaxfile

MODULE = b"ML\xefR\x0dStableHLO_v1.15.0\0" + bytes(40)


def program(module: bytes = MODULE, version: int = 3, length: int | None = None) -> bytes:
    """A FlatBuffer with a root table as JAX writes it: 14 fields, those that are looked at filled."""
    fields = [0] * 14
    places = {1: 4, 2: 8, 9: 12, 13: 16, 0: 20}
    for field, place in places.items():
        fields[field] = place
    vtable = struct.pack("<HH14H", 32, 24, *fields)
    root = 4 + len(vtable)
    table = struct.pack("<iIIIIHH", root - 4, 12, 8, 4, 8, version, 0)
    return struct.pack("<I", root) + vtable + table + struct.pack("<I", length or len(module)) + module + bytes(8)


def told(folder: Path, content: bytes) -> jaxfile.Kind | None:
    path = folder / "m"
    path.write_bytes(content)
    return jaxfile.kind_of(path)


def test_a_serialized_program_is_told_by_its_table(tmp_path: Path) -> None:
    assert told(tmp_path, program()) == ("jax", "", "")


@pytest.mark.parametrize("content", [program(b"TFL3" + bytes(60)), program(version=0), bytes(64), b"TFL3" * 20, b"ab"])
def test_other_flatbuffers_and_bytes_are_not(content: bytes, tmp_path: Path) -> None:
    assert told(tmp_path, content) is None


def test_a_program_that_ends_within_its_module_is_truncated(tmp_path: Path) -> None:
    kind = told(tmp_path, program(length=10_000))
    assert kind is not None and kind[0] == "unknown" and "truncated" in kind[1]


@pytest.mark.parametrize(
    "content", [MODULE, b"#loc = loc(unknown)\nmodule @jit_f attributes {a = 1} {\n  func.func public @main() {"]
)
def test_bare_stablehlo_is_told_with_what_to_do(content: bytes, tmp_path: Path) -> None:
    kind = told(tmp_path, content)
    assert kind is not None and kind[0] == "unknown" and "jax.export" in kind[2]
    assert ("StableHLO bytecode" in kind[1]) == content.startswith(b"ML")


@given(st.binary(min_size=16, max_size=200))
def test_no_bytes_make_it_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    told(tmp_path_factory.getbasetemp(), content)


@given(st.integers(0, 90), st.integers(0, 255))
def test_no_damaged_program_makes_it_fail(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    content = bytearray(program())
    content[at] = byte
    told(tmp_path_factory.getbasetemp(), bytes(content))
