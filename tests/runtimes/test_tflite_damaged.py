"""Damaged TFLite files: whatever is cut off or changed, the reader answers at once, with a model or with our error.

What it lets pass is described without an exception of another kind. TFLite's own reader opens what dlconv's has read,
in a worker: there a crash is an error, and no end.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dlconv.errors import DlconvError, FormatError
from dlconv.model import Signature
from dlconv.runtimes import tflite_boundary, tflite_describe, tflite_flatbuffer, tflite_foreign, tflite_mended
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.tflite


def write(path: Path) -> bytes:
    """A quantised FULLY_CONNECTED with a bias, metadata, and two entry points of two graphs, each of its own names."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, kind: int, shape: list[int], buffer: int = 0, free: bool = False) -> Any:
        made, grid = schema.TensorT(), schema.QuantizationParametersT()
        made.name, made.type, made.shape, made.buffer = name, kind, shape, buffer
        made.shapeSignature = [-1, *shape[1:]] if free else None
        grid.scale, grid.zeroPoint = np.array([0.25], np.float32), np.array([3], np.int64)
        made.quantization = grid
        return made

    def graph(name: str) -> Any:
        made, operator = schema.SubGraphT(), schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, 2], [3]
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
        int8, int32 = schema.TensorType.INT8, schema.TensorType.INT32
        made.name, made.inputs, made.outputs, made.operators = name, [0], [3], [operator]
        made.tensors = [
            tensor(f"serving_default_{name}:0", int8, [1, 4], free=True),
            tensor("weights", int8, [2, 4], 1),
            tensor("bias", int32, [2], 2),
            tensor("StatefulPartitionedCall:0", int8, [1, 2], free=True),
        ]
        return made

    def entry(key: str, number: int) -> Any:
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = key, number
        made.inputs, made.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
        made.inputs[0].name, made.inputs[0].tensorIndex = key, 0
        made.outputs[0].name, made.outputs[0].tensorIndex = "scores", 3
        return made

    code, note, model = schema.OperatorCodeT(), schema.MetadataT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version, note.name, note.buffer = 4, "min_runtime_version", 3
    model.version, model.description, model.operatorCodes, model.metadata = 3, "damaged on purpose", [code], [note]
    model.subgraphs, model.signatureDefs = [graph("x"), graph("y")], [entry("x", 0), entry("y", 1)]
    model.buffers = [schema.BufferT() for _ in range(4)]
    model.buffers[1].data = np.arange(8, dtype=np.uint8)
    model.buffers[2].data = np.zeros(8, np.uint8)
    model.buffers[3].data = np.frombuffer(b"1.14.0\0\0", np.uint8)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path.read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "model.tflite"


@pytest.fixture(scope="module")
def whole(place: Path) -> bytes:
    return write(place)


def told_of(path: Path) -> None:
    """All that is told of a file without an interpreter. Raises DlconvError alone."""
    model = tflite_flatbuffer.load(path)
    tflite_foreign.custom_of(model)
    tflite_foreign.flex_of(model)
    tflite_mended.note_on(model)
    tflite_mended.mended(path, model)
    for key in [entry.key for entry in model.entries] or [""]:
        try:
            signature: Signature = tflite_boundary.signature_of(model, key)
            tflite_describe._notes(model, signature)
            tflite_describe._bounds(model, signature, key)
            tflite_boundary.raw_names(model, key)
        except DlconvError:
            continue
    tflite_describe._parameters_of(model)


def answers(path: Path, content: bytes) -> bool:
    """Whether the file is read; it is at once that it is, or not."""
    path.write_bytes(content)
    start = time.process_time()
    try:
        told_of(path)
    except DlconvError:
        return False
    finally:
        assert time.process_time() - start < 5, "the reader all but hangs"
    return True


FAST = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_the_whole_file_is_read(place: Path, whole: bytes) -> None:
    assert answers(place, whole)
    told = tflite_describe.describe(str(place))
    assert told["operators"] == {"FULLY_CONNECTED": 2} and told["signatures"] == ["x", "y"]


def test_a_file_that_was_cut_is_read_or_refused(place: Path, whole: bytes) -> None:
    """At every length; the first half of a FlatBuffer, which is written from its end, holds the roots alone."""
    read = [length for length in range(len(whole)) if answers(place, whole[:length])]
    assert not [length for length in read if length < len(whole) // 2]


@FAST
@given(st.data())
def test_changed_bytes_are_read_or_refused(place: Path, whole: bytes, data: st.DataObject) -> None:
    content = bytearray(whole)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8)):
        content[at] = byte
    answers(place, bytes(content))


@FAST
@given(st.data())
def test_changed_offsets_are_read_or_refused(place: Path, whole: bytes, data: st.DataObject) -> None:
    """Words as an offset, a count or a number may be: small, of the file's size, and the ends of the range."""
    telling = st.sampled_from([0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 24])
    words = telling | st.integers(0, 2 * len(whole)) | st.integers(0, 0xFFFFFFFF)
    content = bytearray(whole)
    for at, word in data.draw(st.lists(st.tuples(st.integers(0, len(whole) // 4 - 1), words), min_size=1, max_size=4)):
        struct.pack_into("<I", content, 4 * at, word)
    answers(place, bytes(content))


@FAST
@given(st.binary(max_size=400))
@example(b"")
@example(b"\x10\0\0\0TFL3")
def test_anything_else_is_refused_or_read(place: Path, content: bytes) -> None:
    answers(place, content[:4] + b"TFL3" + content[4:])


def test_a_graph_that_names_no_tensor_is_refused(place: Path, whole: bytes) -> None:
    ends = [at for at in range(0, len(whole) - 8, 4) if struct.unpack_from("<II", whole, at) == (1, 3)]
    assert ends, "the vector of one output, the fourth tensor"
    for number in (-2, -4, 4, 1 << 30):
        content = bytearray(whole)
        for at in ends:
            struct.pack_into("<i", content, at + 4, number)
        place.write_bytes(bytes(content))
        with pytest.raises(FormatError, match="names a tensor that there is not"):
            tflite_flatbuffer.load(place)


def bomb(count: int) -> bytes:
    """A file whose vector of graphs names one graph many times, which names one tensor as often."""
    import flatbuffers

    builder = flatbuffers.Builder(0)

    def table(fields: dict[int, int]) -> int:
        builder.StartObject(8)
        for field, offset in fields.items():
            builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        return int(builder.EndObject())

    def vector(table: int, count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(table)
        return int(builder.EndVector())

    graph = table({0: vector(table({}), count)})
    builder.Finish(table({2: vector(graph, count), 4: vector(table({}), 1)}), b"TFL3")
    return bytes(builder.Output())


def test_one_graph_named_many_times_is_no_way_to_hang(place: Path) -> None:
    assert answers(place, bomb(1)), "once is no damage"
    assert not answers(place, bomb(3000))


@pytest.mark.slow
def test_tflites_own_reader_meets_them_in_a_worker(place: Path, whole: bytes, tmp_path: Path) -> None:
    located = toolchains.locate(toolchains.get("tflite"))
    assert isinstance(located, toolchains.Located)
    random = np.random.default_rng(0)
    words: dict[str, int] = {}
    worker: Worker | None = None
    for number in range(120):
        content = bytearray(whole)
        for at in random.integers(0, len(whole), 3):
            content[at] = random.integers(0, 256)
        place.write_bytes(bytes(content))
        if worker is None or not worker.is_alive:
            worker = Worker(located.interpreter, "tflite", tmp_path / f"{number}.log", timeout_s=30)
        try:
            worker.call("dlconv.runtimes.tflite_describe:describe", path=str(place))
            word = "read"
        except DlconvError as error:
            word = error.code
        words[word] = words.get(word, 0) + 1
    assert worker is not None
    worker.close()
    assert words.keys() <= {"read", "format", "signature", "crash"}, words
    assert words["read"] and words["format"]
