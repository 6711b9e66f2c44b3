"""What every edge from ONNX must keep: names, order, dtypes, free dimensions and answers."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert import onnx_signature, onnx_to_onnx, onnx_to_onnxruntime, onnx_to_openvino
from dlconv.convert.edge import Made, Step
from dlconv.errors import FormatError, Unsupported
from dlconv.model import Signature, TensorSpec

pytestmark = pytest.mark.onnx

_HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))
_value, _node, _stored, _save = (_HOSTILE[name] for name in ("_value", "_node", "_stored", "_save"))
_BOOL, _INT64, _DOUBLE = 9, 7, 11

Edge = tuple[Callable[[Step], Made], dict[str, Any], str]
EDGES: dict[str, Edge] = {
    "onnxsim": (onnx_to_onnx.convert, {"simplifier": "onnxsim"}, "onnxruntime"),
    "onnxslim": (onnx_to_onnx.convert, {"simplifier": "onnxslim"}, "onnxruntime"),
    "none": (onnx_to_onnx.convert, {"simplifier": "none"}, "onnxruntime"),
    "all": (onnx_to_onnxruntime.convert, {"level": "all"}, "onnxruntime"),
    "extended": (onnx_to_onnxruntime.convert, {"level": "extended"}, "onnxruntime"),
    "basic": (onnx_to_onnxruntime.convert, {"level": "basic"}, "onnxruntime"),
    "openvino": (onnx_to_openvino.convert, {}, "openvino"),
}
_MARKED = [pytest.param(name, marks=pytest.mark.openvino if name == "openvino" else ()) for name in EDGES]
every_edge = pytest.mark.parametrize("edge", _MARKED)


def _convolution(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = [
        _stored("w", rng.standard_normal((16, 3, 3, 3)).astype(np.float32)),
        _stored("scale", rng.random(16, np.float32)),
        _stored("shift", rng.random(16, np.float32)),
        _stored("mean", rng.random(16, np.float32)),
        _stored("var", rng.random(16, np.float32) + 1),
        _stored("flat", np.array([0, -1], np.int64)),
    ]
    nodes = [
        _node("Conv", ["image:0", "w"], ["c"], pads=[1, 1, 1, 1]),
        _node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
        _node("Relu", ["n"], ["r"]),
        _node("Reshape", ["r", "flat"], ["z/features"]),
        _node("ArgMax", ["z/features"], ["a/class"], axis=1, keepdims=0),
    ]
    outputs = [_value("z/features", ["batch", 16 * 36]), _value("a/class", ["batch"], _INT64)]
    return _save(folder, nodes, [_value("image:0", ["batch", 3, 6, 6])], outputs, weights)


def _two_alike(folder: Path) -> Path:
    nodes = [_node("Relu", ["x"], ["b"]), _node("Neg", ["x"], ["a"])]
    return _save(folder, nodes, [_value("x", ["N", 4])], [_value("b", ["N", 4]), _value("a", ["N", 4])])


def _one_value_twice(folder: Path) -> Path:
    nodes = [_node("Relu", ["x"], ["r"]), _node("Identity", ["r"], ["a"]), _node("Identity", ["r"], ["b"])]
    return _save(folder, nodes, [_value("x")], [_value("a"), _value("b")])


def _through_and_constant(folder: Path) -> Path:
    nodes = [_node("Identity", ["x"], ["y"]), _node("Identity", ["k"], ["c"])]
    weights = [_stored("k", np.array([1.5, 2.5], np.float32))]
    return _save(folder, nodes, [_value("x")], [_value("y"), _value("c", [2])], weights)


def _scalar_and_bool(folder: Path) -> Path:
    nodes = [
        _node("ReduceSum", ["x"], ["sum"], keepdims=0),
        _node("Mul", ["sum", "s"], ["scaled"]),
        _node("Greater", ["x", "s"], ["more"]),
        _node("And", ["more", "on"], ["both"]),
    ]
    inputs = [_value("x"), _value("s", []), _value("on", [1, 4], _BOOL)]
    return _save(folder, nodes, inputs, [_value("scaled", []), _value("both", [1, 4], _BOOL)])


def _embedding(folder: Path) -> Path:
    table = [_stored("t", np.arange(30, dtype=np.float32).reshape(10, 3))]
    nodes = [_node("Gather", ["t", "ids"], ["rows"]), _node("Add", ["ids", "ids"], ["twice"])]
    outputs = [_value("rows", ["N", 3]), _value("twice", ["N"], _INT64)]
    return _save(folder, nodes, [_value("ids", ["N"], _INT64)], outputs, table)


def _double(folder: Path) -> Path:
    return _save(folder, [_node("Exp", ["x"], ["y"])], [_value("x", [2], _DOUBLE)], [_value("y", [2], _DOUBLE)])


MODELS = {
    maker.__name__[1:]: maker
    for maker in (
        _convolution,
        _two_alike,
        _one_value_twice,
        _through_and_constant,
        _scalar_and_bool,
        _embedding,
        _double,
    )
}


def _sample(signature: Signature, sizes: dict[str, int], bounds: dict[str, list[int]]) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    sample: dict[str, Any] = {}
    for spec in signature.inputs:
        shape = [sizes.get(size, 5) if isinstance(size, str) else size for size in spec.shape or ()]
        if np.dtype(spec.dtype).kind == "f":
            sample[spec.name] = rng.standard_normal(shape).astype(spec.dtype)
        else:
            low, high = bounds.get(spec.name, [0, 1])
            sample[spec.name] = rng.integers(low, high + 1, shape).astype(spec.dtype)
    return sample


def _convert(edge: str, source: Path, out_dir: Path, sizes: dict[str, int], **more: Any) -> tuple[Made, dict[str, Any]]:
    found = onnx_signature.read(str(source))
    signature = Signature.from_dict(found["signature"])
    sample = _sample(signature, sizes, found["bounds"])
    convert, settings, _ = EDGES[edge]
    out_dir.mkdir()
    return convert(Step(source, out_dir, signature, sample, {**settings, **more})), sample


def _require_same(edge: str, made: Made, source: Path, out_dir: Path, sample: dict[str, Any], relative: float) -> None:
    """The artifact has the source's names, order and dtypes, and gives its answers."""
    signature = Signature.from_dict(onnx_signature.read(str(source))["signature"])
    for has, wants in ((made.signature.inputs, signature.inputs), (made.signature.outputs, signature.outputs)):
        assert [(spec.name, spec.dtype) for spec in has] == [(spec.name, spec.dtype) for spec in wants]
    plain = import_module("dlconv.runtimes.onnxruntime").open(source, signature, {"optimisation": "none"})
    session = import_module(f"dlconv.runtimes.{EDGES[edge][2]}").open(out_dir / made.entry, made.signature, {})
    want, got = plain.run(sample), session.run(sample)
    assert list(got) == [spec.name for spec in signature.outputs]
    for name, value in want.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name
        scale = float(np.abs(value).max()) if value.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(got[name], value, rtol=0, atol=relative * scale, err_msg=name)


@every_edge
@pytest.mark.parametrize("model", sorted(MODELS))
def test_names_order_dtypes_and_answers_stay(edge: str, model: str, tmp_path: Path) -> None:
    source = MODELS[model](tmp_path)
    made, sample = _convert(edge, source, tmp_path / "out", {"batch": 2})
    _require_same(edge, made, source, tmp_path / "out", sample, 2e-6)


@every_edge
def test_free_dimensions_stay_free(edge: str, tmp_path: Path) -> None:
    source = _convolution(tmp_path)
    made, _ = _convert(edge, source, tmp_path / "out", {"batch": 2})
    assert made.signature.inputs[0].shape == ("batch", 3, 6, 6)
    signature = Signature.from_dict(onnx_signature.read(str(source))["signature"])
    for batch in (1, 7):
        _require_same(edge, made, source, tmp_path / "out", _sample(signature, {"batch": batch}, {}), 2e-6)


@pytest.mark.parametrize("edge", ["onnxsim", "none", pytest.param("openvino", marks=pytest.mark.openvino)])
def test_freezing_gives_every_dimension_the_samples_size(edge: str, tmp_path: Path) -> None:
    made, sample = _convert(edge, _convolution(tmp_path), tmp_path / "out", {"batch": 3}, freeze=True)
    assert made.signature.inputs[0].shape == (3, 3, 6, 6)
    assert [spec.shape for spec in made.signature.outputs] == [(3, 16 * 36), (3,)]
    _require_same(edge, made, tmp_path / "model.onnx", tmp_path / "out", sample, 2e-6)


def test_the_users_sizes_and_names_of_dimensions_are_written(tmp_path: Path) -> None:
    source = _convolution(tmp_path)
    signature = Signature((TensorSpec("image:0", "float32", ("N", 3, 6, 6)),))
    (tmp_path / "out").mkdir()
    made = onnx_to_onnx.convert(Step(source, tmp_path / "out", signature, {}, {"simplifier": "none"}))
    assert made.signature.inputs[0].shape == ("N", 3, 6, 6)
    assert made.signature.outputs[1].shape == ("N",)


@every_edge
def test_a_layer_normalization_with_an_empty_input_is_survived(edge: str, tmp_path: Path) -> None:
    source = _HOSTILE["layer_normalization"](tmp_path)
    if EDGES[edge][0] is not onnx_to_onnx.convert:
        made, sample = _convert(edge, source, tmp_path / "out", {})
        _require_same(edge, made, source, tmp_path / "out", sample, 2e-6)
        return
    made, _ = _convert(edge, source, tmp_path / "out", {})
    import onnx

    assert [len(node.input) for node in onnx.load(tmp_path / "out" / made.entry).graph.node] == [2]


def test_the_optimised_model_holds_this_machines_kernels(tmp_path: Path) -> None:
    import onnx

    made, _ = _convert("all", _convolution(tmp_path), tmp_path / "out", {"batch": 1})
    domains = {node.domain for node in onnx.load(tmp_path / "out" / made.entry).graph.node}
    assert domains - {"", "ai.onnx"}
    assert made.notes


def test_large_weights_lie_in_one_file_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    source = _convolution(tmp_path)
    model = onnx.load(source)
    onnx.save_model(model, source, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=1024)
    monkeypatch.setattr(onnx_to_onnx, "_INLINE_LIMIT_BYTES", 100)
    for edge in ("onnxslim", "none", "all"):  # onnxsim has a limit of its own: see the slow test
        out_dir = tmp_path / edge
        made, sample = _convert(edge, source, out_dir, {"batch": 2})
        assert sorted(path.name for path in out_dir.iterdir()) == ["model.onnx", "model.onnx.data"]
        _require_same(edge, made, source, out_dir, sample, 2e-6)


@pytest.mark.slow
def test_weights_of_over_two_gigabytes_stay_in_one_file_beside_the_model(tmp_path: Path) -> None:
    import onnx

    size, count = 8192, 9
    names = ["x", *(f"h{place}" for place in range(count - 1)), "y"]
    nodes = [_node("MatMul", [names[place], f"w{place}"], [names[place + 1]]) for place in range(count)]
    source = _save(tmp_path, nodes, [_value("x", ["N", size])], [_value("y", ["N", size])])
    model = onnx.load(source)
    with (tmp_path / "weights.bin").open("wb") as data:
        for place in range(count):
            tensor = model.graph.initializer.add(name=f"w{place}", data_type=1, dims=[size, size], data_location=1)
            data.seek(place * size * size * 4)
            # The file is sparse: a diagonal's first elements, and nothing else, lie on the disk.
            data.write(np.full(8, 1 + place, np.float32).tobytes())
            where = {"location": "weights.bin", "offset": data.tell() - 32, "length": size * size * 4}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))
        data.truncate(count * size * size * 4)
    onnx.save(model, source)
    made, _ = _convert("onnxsim", source, tmp_path / "out", {"N": 1})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.onnx", "model.onnx.data"]
    assert made.signature.outputs[0].shape == ("N", size)
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size >= count * size * size * 4


@every_edge
def test_a_hostile_file_leaves_no_artifact(edge: str, tmp_path: Path) -> None:
    source = _HOSTILE["external_above"](tmp_path)
    convert, settings, _ = EDGES[edge]
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError, match="leaves the model's directory"):
        convert(Step(source, tmp_path / "out", Signature(()), {}, settings))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.openvino
def test_openvino_is_not_given_strings(tmp_path: Path) -> None:
    source = _HOSTILE["strings"](tmp_path)
    with pytest.raises(Unsupported, match="string tensors: x, y"):
        onnx_to_openvino.convert(Step(source, tmp_path, Signature(()), {}, {}))


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "onnx/light_squeezenet.onnx",
        "magika/standard_v3_3.onnx",
        "silero-vad/silero_vad_openvino_16k.onnx",
        "silero-vad/silero_vad_op18_ifless.onnx",
        "Ultra-Light-Fast-Generic-Face-Detector-1MB/version-RFB-320.onnx",
        "home-assistant-wakewords-collection/alfred.onnx",
    ],
)
@pytest.mark.parametrize("edge", ["onnxsim", "onnxslim", "all"])
def test_real_models_keep_their_answers(edge: str, name: str, shared_models: Path, tmp_path: Path) -> None:
    source = shared_models / name
    sizes = {"batch": 2, "sequence": 576, "unk__214": 3}
    made, sample = _convert(edge, source, tmp_path / "out", sizes)
    _require_same(edge, made, source, tmp_path / "out", sample, 1e-5)
