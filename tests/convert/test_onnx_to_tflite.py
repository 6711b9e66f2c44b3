"""ONNX to TFLite: names, order, layouts, dtypes and free sizes of inputs and outputs, and the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert.edge import Made, Step
from dlconv.errors import StepError, Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import tflite
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlconv.runtimes.base import Tensors

pytestmark = [pytest.mark.onnx, pytest.mark.tflite, pytest.mark.onnx2tf]

FLOAT, INT64 = 1, 7
_DTYPES = {FLOAT: "float32", INT64: "int64"}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    located = toolchains.locate(toolchains.get("onnx2tf"))
    assert isinstance(located, toolchains.Located)
    with Worker(located.interpreter, "onnx2tf", tmp_path_factory.mktemp("logs") / "onnx2tf.log", timeout_s=120) as made:
        yield made


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


class Graph:
    """An ONNX file of opset 17, and a sample for its inputs."""

    def __init__(
        self, path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], **weights: Any
    ) -> None:
        import onnx
        from onnx import helper, numpy_helper

        given = {name: value if isinstance(value, tuple) else (FLOAT, value) for name, value in inputs.items()}
        graph = helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in given.items()],
            [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, str(path))
        self.path = path
        self.signature = Signature(
            tuple(TensorSpec(name, _DTYPES[kind], tuple(shape)) for name, (kind, shape) in given.items())
        )

    def sample(self, **sizes: int) -> Tensors:
        rng = np.random.default_rng(7)
        made: Tensors = {}
        for spec in self.signature.inputs:
            shape = [size if isinstance(size, int) else sizes.get(size, 1) for size in spec.shape or ()]
            whole = spec.dtype == "int64"
            made[spec.name] = rng.integers(0, 4, shape) if whole else rng.standard_normal(shape).astype(np.float32)
        return made

    def answers(self, sample: Tensors) -> Tensors:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        return dict(zip((value.name for value in session.get_outputs()), session.run(None, sample), strict=True))


def converted(
    worker: Worker,
    graph: Graph,
    signature: Signature | None = None,
    samples: Mapping[str, int] | None = None,
    **settings: Any,
) -> tuple[Made, Path]:
    out_dir = graph.path.parent / "made"
    out_dir.mkdir()
    step = Step(graph.path, out_dir, signature or graph.signature, graph.sample(**(samples or {})), settings)
    made = worker.call("dlconv.workers.tasks:run_edge", module="dlconv.convert.onnx_to_tflite", step=step.to_dict())
    return Made.from_dict(made["made"]), out_dir


def assert_same(graph: Graph, made: Made, out_dir: Path, **sizes: int) -> None:
    session = tflite.open(out_dir / made.entry, made.signature, {"threads": 1})
    sample = graph.sample(**sizes)
    wanted, got = graph.answers(sample), session.run(sample)
    assert [spec.name for spec in made.signature.outputs] == list(wanted)
    assert set(got) == set(wanted)
    for name, reference in wanted.items():
        limit = 1e-5 * max(float(np.abs(reference).max()), 1e-3)
        np.testing.assert_allclose(got[name], reference, rtol=0, atol=limit, strict=True)


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("passes", ["none", "layout"])
def test_a_perceptron(worker: Worker, tmp_path: Path, passes: str) -> None:
    nodes = [node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")]
    shape = {"y": [1, 2]}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": [1, 6]}, shape, w=weights(6, 4), b=weights(4), v=weights(4, 2))
    made, out_dir = converted(worker, graph, passes=passes)
    assert str(made.signature.inputs[0]) == "x:1x6:float32" and str(made.signature.outputs[0]) == "y:1x2:float32"
    assert_same(graph, made, out_dir)


def test_an_image_and_a_map_keep_their_layouts(worker: Worker, tmp_path: Path) -> None:
    # All sizes equal: a turned output would have the right shape and the wrong values.
    nodes = [
        node("Conv", "image w", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("Conv", "r w", "d", pads=[1, 1, 1, 1]),
        node("Add", "r d", "map"),
    ]
    graph = Graph(tmp_path / "m.onnx", nodes, {"image": [1, 8, 8, 8]}, {"map": [1, 8, 8, 8]}, w=weights(8, 8, 3, 3))
    made, out_dir = converted(worker, graph)
    assert not made.signature.outputs[0].permutation and not made.signature.inputs[0].permutation
    assert_same(graph, made, out_dir)


def test_a_sequence_with_grouped_convolution(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("Conv", "x w b", "c", group=2, pads=[2, 1], strides=[2], dilations=[2]), node("Sigmoid", "c", "y")]
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": [1, 4, 17]}, {"y": [1, 6, 8]}, w=weights(6, 2, 3), b=weights(6))
    made, out_dir = converted(worker, graph)
    assert any("grouped convolutions" in note for note in made.notes)
    assert_same(graph, made, out_dir)


def test_outputs_of_one_shape_are_told_apart_by_name(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("Add", "x one", "z"), node("Mul", "x two", "a"), node("Sub", "z a", "m")]
    outputs = {"z": [2, 3], "a": [2, 3], "m": [2, 3]}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": [2, 3]}, outputs, one=np.float32(1), two=np.float32(2))
    made, out_dir = converted(worker, graph)
    assert_same(graph, made, out_dir)


def test_an_output_that_is_an_input_or_a_weight(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("Identity", "x", "same"), node("Identity", "w", "fixed"), node("Neg", "x", "y")]
    outputs = {"same": [2, 3], "fixed": [3], "y": [2, 3]}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": [2, 3]}, outputs, w=weights(3))
    made, out_dir = converted(worker, graph)
    assert_same(graph, made, out_dir)


def test_integer_inputs_say_their_dtype(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("Gather", "table ids", "e"), node("ReduceMean", "e", "y", axes=[1], keepdims=0)]
    graph = Graph(tmp_path / "m.onnx", nodes, {"ids": (INT64, [2, 5])}, {"y": [2, 3]}, table=weights(4, 3))
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].dtype in ("int32", "int64")
    assert_same(graph, made, out_dir)


def test_a_name_is_kept_for_the_source(worker: Worker, tmp_path: Path) -> None:
    graph = Graph(tmp_path / "m.onnx", [node("Neg", "x", "y")], {"x": [2, 3]}, {"y": [2, 3]})
    spec = replace(graph.signature.inputs[0], source="picture")
    signature = Signature((spec,), (TensorSpec("y", "float32", (2, 3), source="mirror"),))
    made, _ = converted(worker, graph, signature)
    assert (made.signature.inputs[0].source_name, made.signature.outputs[0].source_name) == ("picture", "mirror")


def test_a_free_batch_stays_free(worker: Worker, tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Reshape", "p sizes", "f"),
        node("MatMul", "f v", "y"),
    ]
    given = {"w": weights(4, 3, 3, 3), "v": weights(4, 2), "sizes": np.array([-1, 4])}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 2]}, **given)
    made, out_dir = converted(worker, graph)
    assert (made.signature.inputs[0].shape, made.signature.outputs[0].shape) == (("N", 3, 8, 8), ("N", 2))
    assert not any("cannot stay free" in note for note in made.notes)
    for count in (1, 3, 7):
        assert_same(graph, made, out_dir, N=count)


def test_tokens_that_are_repeated_for_the_batch(worker: Worker, tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Concat", "n rest", "to", axis=0),
        node("Expand", "token to", "tokens"),
        node("Concat", "tokens x", "joined", axis=1),
        node("Reshape", "joined merged", "rows"),
        node("MatMul", "rows w", "y"),
    ]
    given = {"zero": np.array([0]), "rest": np.array([1, 4]), "merged": np.array([-1, 4]), "w": weights(4, 2)}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", 5, 4]}, {"y": ["M", 2]}, token=weights(1, 1, 4), **given)
    made, out_dir = converted(worker, graph)
    assert (made.signature.inputs[0].shape, made.signature.outputs[0].shape) == (("N", 5, 4), ("M", 2))
    assert not any("cannot stay free" in note for note in made.notes)
    for count in (1, 3, 6):
        assert_same(graph, made, out_dir, N=count)


def test_two_free_sizes(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "h"), node("Softmax", "h", "p", axis=-1), node("ReduceMean", "p", "y", axes=[1])]
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", "S", 4]}, {"y": ["N", 1, 3]}, w=weights(4, 3))
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].shape == ("N", "S", 4)
    assert_same(graph, made, out_dir, N=3, S=7)


def test_an_encoder_with_free_batch_and_sequence(worker: Worker, tmp_path: Path) -> None:
    # Positions, a causal mask and heads: all that transformers make of sizes.
    heads = [
        node("Concat", "batch length two four", "split", axis=0),
        node("Concat", "batch length eight", "whole", axis=0),
    ]
    nodes = [
        node("Shape", "ids", "shape"),
        node("Gather", "shape zero", "batch"),
        node("Gather", "shape one", "length"),
        node("Gather", "table ids", "words"),
        node("Slice", "places zero length zero", "positions"),
        node("Add", "words positions", "x"),
        *heads,
        *(node("MatMul", f"x w{each}", f"flat_{each}") for each in "qkv"),
        *(node("Reshape", f"flat_{each} split", f"split_{each}") for each in "qkv"),
        node("Transpose", "split_q", "q", perm=[0, 2, 1, 3]),
        node("Transpose", "split_k", "k", perm=[0, 2, 3, 1]),
        node("Transpose", "split_v", "v", perm=[0, 2, 1, 3]),
        node("MatMul", "q k", "scores"),
        node("Squeeze", "length", "limit"),
        node("Range", "start limit step", "row"),
        node("Unsqueeze", "row one", "column"),
        node("GreaterOrEqual", "column row", "seen"),
        node("Where", "seen scores low", "masked"),
        node("Softmax", "masked", "p", axis=-1),
        node("MatMul", "p v", "mixed"),
        node("Transpose", "mixed", "turned", perm=[0, 2, 1, 3]),
        node("Reshape", "turned whole", "y"),
    ]
    given = {
        name: np.array([number])
        for name, number in zip(("zero", "one", "two", "four", "eight"), (0, 1, 2, 4, 8), strict=True)
    }
    given |= {"start": np.array(0), "step": np.array(1), "low": np.float32(-1e9)}
    given |= {
        "table": weights(4, 8),
        "places": weights(40, 8),
        "wq": weights(8, 8),
        "wk": weights(8, 8) * 0.5,
        "wv": weights(8, 8) + 1,
    }
    graph = Graph(tmp_path / "m.onnx", nodes, {"ids": (INT64, ["N", "S"])}, {"y": ["N", "S", 8]}, **given)
    made, out_dir = converted(worker, graph)
    assert (made.signature.inputs[0].shape, made.signature.outputs[0].shape) == (("N", "S"), ("N", "S", 8))
    assert not any("cannot stay free" in note for note in made.notes)
    for batch, length in ((1, 1), (3, 7), (1, 40), (9, 2), (2, 39)):
        assert_same(graph, made, out_dir, N=batch, S=length)


def test_a_length_that_no_formula_gives_is_read_where_it_is(worker: Worker, tmp_path: Path) -> None:
    # floor((S - 3) / 2) + 1 frames, in a shape beside the batch.
    nodes = [
        node("Conv", "x w", "c", strides=[2]),
        node("Shape", "c", "shape"),
        node("Gather", "shape ends", "kept"),
        node("Concat", "kept heads", "to", axis=0),
        node("Transpose", "c", "frames", perm=[0, 2, 1]),
        node("Reshape", "frames to", "r"),
        node("Transpose", "r", "y", perm=[0, 2, 1, 3]),
    ]
    given = {"w": weights(6, 2, 3), "ends": np.array([0, 2]), "heads": np.array([2, 3])}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", 2, "S"]}, {"y": ["N", 2, "frames", 3]}, **given)
    made, out_dir = converted(worker, graph, samples={"S": 16})
    assert (made.signature.inputs[0].shape, made.signature.outputs[0].shape) == (("N", 2, "S"), ("N", 2, "frames", 3))
    assert not any("cannot stay free" in note for note in made.notes)
    for batch, length in ((1, 3), (3, 16), (2, 101), (5, 100)):
        assert_same(graph, made, out_dir, N=batch, S=length)


def test_a_token_before_the_sequence(worker: Worker, tmp_path: Path) -> None:
    # Shapes hold S + 1, and 2N + S + 1.
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape first", "batch"),
        node("Concat", "batch one four", "to", axis=0),
        node("Expand", "token to", "tokens"),
        node("Concat", "tokens x", "joined", axis=1),
        node("Shape", "joined", "longer"),
        node("Gather", "longer both", "kept"),
        node("Concat", "kept heads", "split", axis=0),
        node("Reshape", "joined split", "y"),
        node("ReduceSum", "kept axes", "sum", keepdims=1),
        node("Add", "sum batch", "total"),
        node("Expand", "half total", "z"),
    ]
    numbers = {"first": [0], "one": [1], "four": [4], "both": [0, 1], "heads": [2, 2], "axes": [0]}
    given = {name: np.array(value) for name, value in numbers.items()}
    outputs = {"y": ["N", "M", 2, 2], "z": ["K"]}
    given |= {"token": weights(1, 1, 4), "half": np.array([0.5], np.float32)}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", "S", 4]}, outputs, **given)
    made, out_dir = converted(worker, graph)
    assert [spec.shape for spec in made.signature.outputs] == [("N", "M", 2, 2), ("K",)]
    assert not any("cannot stay free" in note for note in made.notes)
    for batch, length in ((1, 1), (3, 7), (1, 40), (9, 2)):
        assert_same(graph, made, out_dir, N=batch, S=length)


@pytest.mark.parametrize(("upper", "shift"), [(1, 1), (0, -1)])
def test_a_triangle_of_a_free_size(worker: Worker, tmp_path: Path, upper: int, shift: int) -> None:
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape one two", "length"),
        node("Concat", "length length", "square", axis=0),
        node("Expand", "value square", "filled"),
        node("Trilu", "filled shift", "mask", upper=upper),
        node("MatMul", "x mask", "y"),
    ]
    given = {"one": np.array([1]), "two": np.array([2]), "shift": np.array(shift), "value": np.ones((1, 1), np.float32)}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", "S"]}, {"y": ["N", "S"]}, **given)
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].shape == ("N", "S")
    assert not any("cannot stay free" in note for note in made.notes)
    for batch, length in ((1, 1), (3, 7), (1, 40), (9, 2)):
        assert_same(graph, made, out_dir, N=batch, S=length)


def test_places_that_the_converter_counts(worker: Worker, tmp_path: Path) -> None:
    # The converter gathers by coordinates, which count along each free axis.
    graph = Graph(
        tmp_path / "m.onnx",
        [node("GatherElements", "x ids", "y", axis=2)],
        {"x": ["N", "S", 4], "ids": (INT64, ["N", "S", 2])},
        {"y": ["N", "S", 2]},
    )
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].shape == ("N", "S", 4)
    assert not any("cannot stay free" in note for note in made.notes)
    for batch, length in ((1, 1), (3, 7), (1, 40), (9, 2)):
        assert_same(graph, made, out_dir, N=batch, S=length)


def test_windows_that_the_size_is_padded_to(worker: Worker, tmp_path: Path) -> None:
    # One window at all sizes that are compared: what is frozen to one must not pass for free.
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape zero one", "batch"),
        node("Slice", "shape one two", "length"),
        node("Mod", "length eight", "over"),
        node("Sub", "eight over", "short"),
        node("Mod", "short eight", "lacking"),
        node("Concat", "zero zero zero lacking", "pads", axis=0),
        node("Pad", "x pads", "padded"),
        node("Shape", "padded", "longer"),
        node("Slice", "longer one two", "whole"),
        node("Div", "whole eight", "windows"),
        node("Concat", "batch windows eight", "to", axis=0),
        node("Reshape", "padded to", "w"),
        node("ReduceMax", "w", "y", axes=[2], keepdims=0),
    ]
    given = {name: np.array([number]) for name, number in (("zero", 0), ("one", 1), ("two", 2), ("eight", 8))}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", "S"]}, {"y": ["N", "W"]}, **given)
    made, out_dir = converted(worker, graph)
    is_free = made.signature.inputs[0].shape[1] == "S"
    assert is_free or "S cannot stay free by comparison" in made.notes[0]
    for length in (1, 8, 9, 40) if is_free else ():
        assert_same(graph, made, out_dir, N=3, S=length)


def test_a_size_that_was_a_float_number_on_its_way(worker: Worker, tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape zero one", "rows"),
        node("Cast", "rows", "wide", to=11),
        node("Div", "wide half", "twice"),
        node("Cast", "twice", "count", to=7),
        node("Concat", "count three", "to", axis=0),
        node("Reshape", "x to", "r"),
        node("Cast", "rows", "factor", to=FLOAT),
        node("Mul", "r factor", "y"),
    ]
    given = {name: np.array([number]) for name, number in (("zero", 0), ("one", 1), ("three", 3))}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", 6]}, {"y": ["M", 3]}, half=np.array([0.5]), **given)
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].shape == ("N", 6)
    assert not any("cannot stay free" in note for note in made.notes)
    for batch in (1, 2, 9):
        assert_same(graph, made, out_dir, N=batch)


def test_a_size_that_is_bounded_is_bounded_in_the_file_too(worker: Worker, tmp_path: Path) -> None:
    # At all sizes that are tried, 2, 3 and 5, the least of the size and six is the size.
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape one two", "length"),
        node("Min", "length six", "least"),
        node("Slice", "x zero least one", "head"),
        node("ReduceSum", "head one", "y"),
    ]
    given = {name: np.array([number]) for name, number in zip(("zero", "one", "two", "six"), (0, 1, 2, 6), strict=True)}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", "S"]}, {"y": ["N", 1]}, **given)
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].shape == ("N", "S")
    assert not any("cannot stay free" in note for note in made.notes)
    for batch, length in ((1, 1), (2, 5), (3, 9), (4, 30)):
        assert_same(graph, made, out_dir, N=batch, S=length)


@pytest.mark.parametrize(("kind", "way"), [("LSTM", "bidirectional"), ("GRU", "reverse"), ("RNN", "forward")])
def test_a_recurrent_layer_of_free_length_and_batch(worker: Worker, tmp_path: Path, kind: str, way: str) -> None:
    gates, sides = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if way == "bidirectional" else 1
    outputs = {"y": ["S", sides, "N", 4], "h": [sides, "N", 4]} | ({"c": [sides, "N", 4]} if kind == "LSTM" else {})
    nodes = [node(kind, "x w r", " ".join(outputs), hidden_size=4, direction=way)]
    given = {"w": weights(sides, gates * 4, 3), "r": weights(sides, gates * 4, 4)}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["S", "N", 3]}, outputs, **given)
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].shape == ("S", "N", 3)
    assert not any("cannot stay free" in note for note in made.notes)
    session = tflite.open(out_dir / made.entry, made.signature, {"threads": 1})  # one, which is resized
    for length, batch in ((1, 1), (2, 1), (300, 1), (5, 3), (1, 3), (7, 2)):
        sample = graph.sample(S=length, N=batch)
        for name, reference in graph.answers(sample).items():
            np.testing.assert_allclose(session.run(sample)[name], reference, rtol=0, atol=1e-5, strict=True)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_recurrent_layer_of_free_batch_alone(worker: Worker, tmp_path: Path, kind: str) -> None:
    gates = {"LSTM": 4, "GRU": 3}[kind]
    nodes = [node(kind, "x w r", "y", hidden_size=4)]
    given = {"w": weights(1, gates * 4, 3), "r": weights(1, gates * 4, 4)}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": [6, "N", 3]}, {"y": [6, 1, "N", 4]}, **given)
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].shape == (6, "N", 3)
    for batch in (1, 3, 7):
        assert_same(graph, made, out_dir, N=batch)


def test_what_is_written_out_step_by_step_is_not_free(worker: Worker, tmp_path: Path) -> None:
    from onnx import helper

    values = [helper.make_tensor_value_info(name, FLOAT, [3]) for name in ("total", "row", "sum", "each")]
    body = helper.make_graph([node("Add", "total row", "sum"), node("Neg", "sum", "each")], "b", values[:2], values[2:])
    nodes = [node("Scan", "start x", "last y", body=body, num_scan_inputs=1)]
    outputs = {"last": [3], "y": ["S", 3]}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["S", 3]}, outputs, start=np.zeros(3, np.float32))
    made, out_dir = converted(worker, graph, samples={"S": 4})
    assert made.signature.inputs[0].shape == (4, 3)
    assert "S cannot stay free by comparison: the converter makes other operators at another size" in made.notes
    assert_same(graph, made, out_dir, S=4)


def test_what_cannot_stay_free_is_frozen_and_said(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("Reshape", "x sizes", "y")]
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": ["N", 6]}, {"y": [2, 3]}, sizes=np.array([2, 3]))
    made, out_dir = converted(worker, graph)
    assert made.signature.inputs[0].shape == (1, 6)
    assert "the source itself takes no other size that was tried of N" in made.notes[0]
    assert_same(graph, made, out_dir)


def test_more_axes_than_the_kernels_take(worker: Worker, tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x sizes", "r"),
        node("Transpose", "r", "t", perm=[3, 0, 4, 2, 1, 5]),
        node("Split", "t", "a b c", axis=0),
        node("Sub", "a b", "d"),
        node("ReduceMax", "c", "y", axes=[3], keepdims=0),
    ]
    outputs = {"d": [1, 1, 2, 4, 5, 4], "y": [1, 1, 2, 5, 4]}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": [1, 20, 24]}, outputs, sizes=np.array([1, 5, 4, 3, 2, 4]))
    made, out_dir = converted(worker, graph)
    assert_same(graph, made, out_dir)


def test_an_operator_without_a_builder_is_unsupported(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("StringNormalizer", "x", "y")]
    graph = Graph(tmp_path / "m.onnx", [*nodes], {"x": [3]}, {"y": [3]})
    with pytest.raises((Unsupported, StepError)):
        converted(worker, graph)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "home-assistant-wakewords-collection/alfred.onnx",
        "silero-vad/silero_vad_openvino_16k.onnx",
        "Ultra-Light-Fast-Generic-Face-Detector-1MB/version-RFB-320.onnx",
    ],
)
def test_real_models(worker: Worker, tmp_path: Path, shared_models: Path, name: str) -> None:
    from dlconv.graphs import onnx_graph

    graph = Graph.__new__(Graph)
    graph.path = tmp_path / "m.onnx"
    graph.path.write_bytes((shared_models / name).read_bytes())
    graph.signature = onnx_graph.signature_of(onnx_graph.read_model(graph.path))
    made, out_dir = converted(worker, graph)
    assert_same(graph, made, out_dir)


def test_scalars_stay_scalars(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("Mul", "x factor", "m"), node("ReduceSum", "m axes", "y", keepdims=0), node("Neg", "factor", "z")]
    given = {"axes": np.array([0, 1])}
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": [2, 3], "factor": []}, {"y": [], "z": []}, **given)
    made, out_dir = converted(worker, graph)
    assert [spec.shape for spec in (*made.signature.inputs, *made.signature.outputs)] == [(2, 3), (), (), ()]
    assert_same(graph, made, out_dir)


def test_absolute_values_of_integers(worker: Worker, tmp_path: Path) -> None:
    nodes = [node("Sub", "ids three", "d"), node("Abs", "d", "a"), node("Gather", "table a", "y")]
    given = {"three": np.array(3), "table": weights(4, 3)}
    graph = Graph(tmp_path / "m.onnx", nodes, {"ids": (INT64, [2, 5])}, {"y": [2, 5, 3]}, **given)
    made, out_dir = converted(worker, graph)
    assert_same(graph, made, out_dir)


@pytest.mark.parametrize(
    ("equation", "left", "right", "result"),
    [
        ("bhwc,hkc->bhwk", [2, 3, 4, 5], [3, 6, 5], [2, 3, 4, 6]),
        ("ij,kj->ki", [3, 4], [5, 4], [5, 3]),
        ("i,j->ji", [3], [4], [4, 3]),
    ],
)
def test_einsum(
    worker: Worker, tmp_path: Path, equation: str, left: list[int], right: list[int], result: list[int]
) -> None:
    nodes = [node("Einsum", "a b", "y", equation=equation)]
    graph = Graph(tmp_path / "m.onnx", nodes, {"a": left, "b": right}, {"y": result})
    made, out_dir = converted(worker, graph)
    assert any("Einsum" in note for note in made.notes)
    assert_same(graph, made, out_dir)


def test_a_branch_on_a_constant_is_taken(worker: Worker, tmp_path: Path) -> None:
    from onnx import helper

    def branch(kind: str) -> Any:
        inner = [node(kind, "x", "h"), node("Neg", "h", "r")]  # both branches use the same names
        return helper.make_graph(inner, kind, [], [helper.make_tensor_value_info("r", FLOAT, None)])

    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Equal", "n two", "is_two"),
        node("If", "is_two", "a", then_branch=branch("Exp"), else_branch=branch("Abs")),
        node("Equal", "n zero", "is_none"),
        node("If", "is_none", "b", then_branch=branch("Exp"), else_branch=branch("Abs")),
        node("Sub", "a b", "y"),
    ]
    graph = Graph(tmp_path / "m.onnx", nodes, {"x": [2, 3]}, {"y": [2, 3]}, zero=np.array(0), two=np.array(2))
    made, out_dir = converted(worker, graph)
    assert_same(graph, made, out_dir)


def test_last_states_of_two_layers_joined(worker: Worker, tmp_path: Path) -> None:
    layers = [
        node("LSTM", "x w1 r1", "y1 h1 c1", hidden_size=4, direction="bidirectional"),
        node("Transpose", "y1", "t1", perm=[0, 2, 1, 3]),
        node("Reshape", "t1 flat", "f1"),
        node("LSTM", "f1 w2 r2", "y2 h2 c2", hidden_size=4, direction="bidirectional"),
        node("Concat", "h1 h2", "h", axis=0),
        node("Concat", "c1 c2", "c", axis=0),
    ]
    given = {"w1": weights(2, 16, 3), "w2": weights(2, 16, 8), "r1": weights(2, 16, 4), "r2": weights(2, 16, 4)}
    outputs = {"h": [4, 2, 4], "c": [4, 2, 4]}
    graph = Graph(tmp_path / "m.onnx", layers, {"x": [5, 2, 3]}, outputs, flat=np.array([0, 0, -1]), **given)
    made, out_dir = converted(worker, graph)
    assert_same(graph, made, out_dir)


def test_places_counted_from_a_mask(worker: Worker, tmp_path: Path) -> None:
    nodes = [
        node("Equal", "ids one", "is_one"),
        node("Not", "is_one", "mask"),
        node("Cast", "mask", "narrow", to=6),
        node("Cast", "narrow", "wide", to=INT64),
        node("CumSum", "wide axis", "count"),
        node("Cast", "count", "again", to=6),
        node("Mul", "again narrow", "places"),
        node("Cast", "places", "indices", to=INT64),
        node("Gather", "table indices", "y"),
    ]
    given = {"one": np.array(1), "axis": np.array(1), "table": weights(9, 3)}
    graph = Graph(tmp_path / "m.onnx", nodes, {"ids": (INT64, [2, 6])}, {"y": [2, 6, 3]}, **given)
    made, out_dir = converted(worker, graph)
    assert_same(graph, made, out_dir)


def conditional(path: Path, kernel: int) -> Graph:
    from onnx import helper

    def branch(name: str) -> Any:
        inner = [node("Conv", f"x {name}", "h"), node("ReduceMean", "h", "r", axes=[2])]
        return helper.make_graph(inner, name, [], [helper.make_tensor_value_info("r", FLOAT, None)])

    nodes = [
        node("Equal", "rate one", "is_one"),
        node("If", "is_one", "y", then_branch=branch("near"), else_branch=branch("far")),
    ]
    given = {"one": np.array(1), "near": weights(2, 1, 3), "far": weights(2, 1, kernel)}
    inputs = {"x": [1, 1, 8], "rate": (INT64, [])}
    return Graph(path, nodes, inputs, {"y": [1, 2, 1]}, **given)


def test_a_branch_on_an_input_is_chosen_from_both(worker: Worker, tmp_path: Path) -> None:
    graph = conditional(tmp_path / "m.onnx", kernel=5)
    made, out_dir = converted(worker, graph)
    assert "1 conditions chosen from both branches, which are both computed" in made.notes
    session = tflite.open(out_dir / made.entry, made.signature, {"threads": 1})
    for rate in (1, 2):
        sample = {**graph.sample(), "rate": np.array(rate)}
        np.testing.assert_allclose(session.run(sample)["y"], graph.answers(sample)["y"], rtol=0, atol=1e-5)


def test_a_branch_that_cannot_run_at_these_sizes_is_told(worker: Worker, tmp_path: Path) -> None:
    # TFLite's convolution ends the process where its kernel is larger than the image.
    graph = conditional(tmp_path / "m.onnx", kernel=11)
    with pytest.raises((Unsupported, StepError), match="condition"):
        converted(worker, graph)
