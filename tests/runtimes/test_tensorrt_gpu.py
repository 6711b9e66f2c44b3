"""The edge and the adapter for TensorRT on a real GPU, held to ONNX Runtime's answers: what the fakes cannot show.

Kernels of cuBLAS and cuDNN are left out, so that TensorRT alone is needed.
"""

from __future__ import annotations

import ctypes
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert.edge import Step
from dlconv.errors import DlconvError, MachineError, SamplesError, StepError, Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes.tensorrt_plan import PLAN, WEIGHTS, PlanFacts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dlconv.convert.edge import Made

    Sides = tuple[dict[str, Any], dict[str, Any]]

pytestmark = [pytest.mark.gpu]
FLOAT, INT64 = 1, 7
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3)).astype(np.float32)
IMAGE = RNG.standard_normal((4, 64, 56, 56)).astype(np.float32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Timings of kernels are kept here."""
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def trt() -> Any:
    from dlconv.runtimes import tensorrt_api

    return tensorrt_api.load()[0]


def saved(
    folder: Path, nodes: Sequence[tuple[Any, ...]], inputs: dict[str, Any], outputs: dict[str, Any], **weights: Any
) -> tuple[Path, Signature]:
    """A model of nodes (kind, inputs, outputs, attributes), as a file, and its signature.

    inputs and outputs: (element type, shape) by name.
    """
    import onnx
    from onnx import helper, numpy_helper

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node(kind, ins, outs, name=f"{kind}_{number}", **(more[0] if more else {}))
            for number, (kind, ins, outs, *more) in enumerate(nodes)
        ],
        "planted",
        [info(name, *of) for name, of in inputs.items()],
        [info(name, *of) for name, of in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    kinds = {FLOAT: "float32", INT64: "int64"}
    given, told = (
        tuple(TensorSpec(name, kinds[kind], tuple(shape)) for name, (kind, shape) in side.items())
        for side in (inputs, outputs)
    )
    return path, Signature(given, told)


def dense(folder: Path, batch: int | str = 2) -> tuple[Path, Signature]:
    """Relu of x @ w."""
    nodes = [("MatMul", ["x", "w"], ["m"]), ("Relu", ["m"], ["y"])]
    w = RNG.standard_normal((3, 4)).astype(np.float32)
    return saved(folder, nodes, {"x": (FLOAT, [batch, 3])}, {"y": (FLOAT, [batch, 4])}, w=w)


def convolutions(folder: Path) -> tuple[Path, Signature]:
    """Two convolutions with a ReLU between them, large enough for kernels of lower precisions to be the fastest."""
    pads = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [("Conv", ["x", "a"], ["c"], pads), ("Relu", ["c"], ["r"]), ("Conv", ["r", "b"], ["y"], pads)]
    a, b = (RNG.standard_normal(shape).astype(np.float32) / 8 for shape in ((256, 64, 3, 3), (64, 256, 3, 3)))
    shapes: Sides = ({"x": (FLOAT, [4, 64, 56, 56])}, {"y": (FLOAT, [4, 64, 56, 56])})
    return saved(folder, nodes, *shapes, a=a, b=b)


def convert(path: Path, signature: Signature, out: Path, sample: dict[str, Any], **settings: Any) -> Made:
    from dlconv.convert import onnx_to_tensorrt

    out.mkdir(exist_ok=True)
    settings["trt"] = {"external_tactics": False, **settings.get("trt", {})}
    return onnx_to_tensorrt.convert(Step(path, out, signature, sample, settings))


def session(out: Path, made: Made, **settings: Any) -> Any:
    from dlconv.runtimes import tensorrt as adapter

    return adapter.open(out / made.entry, made.signature, settings)


def answer(path: Path, inputs: dict[str, Any]) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)[0]


def assert_near(found: Any, wanted: Any, relative: float) -> None:
    """Within a share of the largest value that is wanted."""
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    assert np.abs(found - wanted).max() <= relative * np.abs(wanted).max()


def layers_of(trt: Any, opened: Any) -> str:
    """The engine's own account of its layers."""
    inspector = opened._engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def test_a_plan_is_built_runs_and_tells_of_itself(trt: Any, tmp_path: Path) -> None:
    path, signature = convolutions(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": IMAGE})
    assert made.entry == PLAN and made.signature == signature
    opened = session(tmp_path / "out", made)
    assert_near(opened.run({"x": IMAGE})["y"], answer(path, {"x": IMAGE}), 1e-5)
    told = opened.placement()
    assert told["precision"] == "float32" and told["version"] == trt.__version__
    assert set(told["times"]) >= {"upload_ms", "compute_ms", "download_ms"} and min(told["times"].values()) > 0
    facts = PlanFacts.of(tmp_path / "out" / PLAN)
    assert facts is not None and (facts.gpu, facts.driver) == (told["device"], told["driver"])


def test_tf32_is_what_is_asked_for_and_is_told(trt: Any, tmp_path: Path) -> None:
    path, signature = convolutions(tmp_path)
    wanted = answer(path, {"x": IMAGE})
    errors, told = [], []
    for word in (False, True):
        out = tmp_path / f"tf32-{word}"
        made = convert(path, signature, out, {"x": IMAGE}, trt={"tf32": word})
        opened = session(out, made)
        errors.append(np.abs(opened.run({"x": IMAGE})["y"] - wanted).max())
        told.append(opened.placement()["precision"])
    assert told == ["float32", "tf32"] and errors[1] > 10 * errors[0], (errors, layers_of(trt, opened))


def test_the_probe_builds_and_runs_an_operator(trt: Any) -> None:
    from dlconv.runtimes import tensorrt as adapter

    told = adapter.probe()
    assert told["version"] == trt.__version__ and told["devices"]


def test_free_sizes_become_profiles_and_the_nearest_is_used(tmp_path: Path) -> None:
    path, signature = dense(tmp_path, "N")
    profiles = [{"x": [[1, 3], [2, 3], [8, 3]]}, {"x": [[1, 3], [6, 3], [8, 3]]}]
    made = convert(path, signature, tmp_path / "out", {"x": X}, profiles=profiles)
    assert made.signature.inputs[0].shape == ("N", 3) and made.signature.outputs[0].shape == ("N", 4)
    opened = session(tmp_path / "out", made)
    for size, profile in ((1, 0), (7, 1), (2, 0), (8, 1)):
        x = RNG.standard_normal((size, 3)).astype(np.float32)
        assert_near(opened.run({"x": x})["y"], answer(path, {"x": x}), 1e-5)
        assert opened._context.active_optimization_profile == profile
    with pytest.raises(SamplesError, match="no profile"):
        opened.run({"x": np.zeros((9, 3), np.float32)})
    assert_near(opened.run({"x": X})["y"], answer(path, {"x": X}), 1e-5)


def test_calls_that_are_timed_keep_their_own_inputs(tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X})
    opened = session(tmp_path / "out", made)
    pairs = [opened.bound({"x": X * scale}) for scale in (1, -2)]
    for scale, (call, read) in zip((1, -2), pairs, strict=True):
        assert_near(read(call())["y"], answer(path, {"x": X * np.float32(scale)}), 1e-5)


def test_shapes_that_depend_on_the_data_are_asked_for(tmp_path: Path) -> None:
    path, signature = saved(tmp_path, [("NonZero", ["x"], ["y"])], {"x": (FLOAT, [2, 3])}, {"y": (INT64, [2, "K"])})
    try:
        made = convert(path, signature, tmp_path / "out", {"x": X})
    except Unsupported as refused:
        pytest.skip(f"no shape depends on the data here: {refused}")
    opened = session(tmp_path / "out", made)
    for x in (np.array([[0, 1, 0], [0, 0, 2]], np.float32), X, np.zeros((2, 3), np.float32)):
        got = opened.run({"x": x})["y"]
        np.testing.assert_array_equal(got, np.array(np.nonzero(x)))
        assert got.dtype == made.signature.outputs[0].dtype


def test_an_input_that_decides_shapes_stays_on_the_host(tmp_path: Path) -> None:
    inputs, outputs = {"x": (FLOAT, [2, 3]), "s": (INT64, [2])}, {"y": (FLOAT, ["A", "B"])}
    path, signature = saved(tmp_path, [("Reshape", ["x", "s"], ["y"])], inputs, outputs)
    sample = {"x": X, "s": np.array([3, 2])}
    made = convert(path, signature, tmp_path / "out", sample, values={"s": [[1, 1], [3, 2], [6, 6]]})
    opened = session(tmp_path / "out", made)
    for shape in ((3, 2), (1, 6)):
        np.testing.assert_array_equal(opened.run({"x": X, "s": np.array(shape)})["y"], X.reshape(shape))


def test_integers_are_narrowed_where_they_fit_and_refused_where_not(trt: Any, tmp_path: Path) -> None:
    sides: Sides = {"ids": (INT64, [2])}, {"y": (INT64, [2])}
    path, signature = saved(tmp_path, [("Add", ["ids", "one"], ["y"])], *sides, one=np.array([1]))
    made = convert(path, signature, tmp_path / "out", {"ids": np.array([1, 2])})
    opened = session(tmp_path / "out", made)
    assert opened.run({"ids": np.array([5, -7])})["y"].tolist() == [6, -6]
    if hasattr(trt.DataType, "INT64"):
        assert opened.run({"ids": np.array([5, 1 << 40])})["y"].tolist() == [6, (1 << 40) + 1]
        return
    with pytest.raises(SamplesError, match="values from 5"):
        opened.run({"ids": np.array([5, 1 << 40])})
    path, signature = saved(tmp_path, [("Add", ["ids", "w"], ["y"])], *sides, w=np.array([1 << 40]))
    with pytest.raises(Unsupported):
        convert(path, signature, tmp_path / "wide", {"ids": np.array([1, 2])})


def test_ends_of_slices_are_no_numbers(tmp_path: Path) -> None:
    sides: Sides = {"x": (FLOAT, [4])}, {"y": (FLOAT, [3])}
    ends: dict[str, Any] = {"a": np.array([1]), "b": np.array([np.iinfo(np.int64).max])}
    path, signature = saved(tmp_path, [("Slice", ["x", "a", "b"], ["y"])], *sides, **ends)
    x = np.arange(4, dtype=np.float32)
    made = convert(path, signature, tmp_path / "out", {"x": x})
    assert session(tmp_path / "out", made).run({"x": x})["y"].tolist() == [1, 2, 3]


def test_every_node_that_is_not_taken_is_named(tmp_path: Path) -> None:
    nodes = [("Det", ["x"], ["d"]), ("Det", ["x"], ["e"]), ("Unique", ["x"], ["u"]), ("Add", ["d", "e"], ["y"])]
    path, _ = saved(tmp_path, nodes, {"x": (FLOAT, [2, 2])}, {"y": (FLOAT, [])})
    with pytest.raises(Unsupported) as refused:
        convert(path, Signature(()), tmp_path / "out", {})
    assert refused.value.problems == ("Det: Det_0, Det_1", "Unique: Unique_2")


def test_what_the_parser_refuses_is_told_with_its_node(tmp_path: Path) -> None:
    """A linear resize of three axes at once is more than the parser's Resize takes."""
    nodes = [("Relu", ["x"], ["r"]), ("Resize", ["r", "", "scales"], ["y"], {"mode": "cubic"})]
    scales = np.array([1, 2, 2, 2], np.float32)
    path, signature = saved(
        tmp_path, nodes, {"x": (FLOAT, [1, 4, 6, 6])}, {"y": (FLOAT, [1, 8, 12, 12])}, scales=scales
    )
    with pytest.raises(DlconvError) as refused:
        convert(path, signature, tmp_path / "out", {})
    assert "Resize" in f"{refused.value.met} {refused.value.problems}"


def test_float16_is_allowed_attested_and_kept_out_where_asked(trt: Any, tmp_path: Path) -> None:
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        pytest.skip("this TensorRT takes precision from the graph")
    path, signature = convolutions(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": IMAGE}, precision="fp16")
    opened = session(tmp_path / "out", made)
    told = opened.placement()
    assert told["precision"] == "float16" and told["account"]["ran"]["float16"] >= 1
    error = np.abs(opened.run({"x": IMAGE})["y"] - answer(path, {"x": IMAGE})).max()
    made = convert(path, signature, tmp_path / "kept", {"x": IMAGE}, precision="fp16", keep=["Conv_2"])
    kept = session(tmp_path / "kept", made)
    assert kept.placement()["account"]["ran"]["float32"] >= 1
    assert 0 < np.abs(kept.run({"x": IMAGE})["y"] - answer(path, {"x": IMAGE})).max() < 2 * error
    with pytest.raises(StepError, match="no layer in it"):
        keep = ["Conv_0", "Relu_1", "Conv_2"]
        convert(path, signature, tmp_path / "all", {"x": IMAGE}, precision="fp16", keep=keep)


def test_int8_is_what_the_graph_says(tmp_path: Path) -> None:
    pads = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        ("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        ("QuantizeLinear", ["w", "t", "zz"], ["wq"], {"axis": 0}),
        ("DequantizeLinear", ["wq", "t", "zz"], ["wd"], {"axis": 0}),
        ("Conv", ["xd", "wd"], ["y"], pads),
    ]
    w = RNG.standard_normal((64, 64, 3, 3)).astype(np.float32)
    weights = {
        "s": np.float32(np.abs(IMAGE).max() / 127), "z": np.int8(0), "w": w, "zz": np.zeros(64, np.int8),
        "t": (np.abs(w).max((1, 2, 3)) / 127).astype(np.float32),
    }  # fmt: skip
    sides: Sides = {"x": (FLOAT, [4, 64, 56, 56])}, {"y": (FLOAT, [4, 64, 56, 56])}
    path, signature = saved(tmp_path, nodes, *sides, **weights)
    made = convert(path, signature, tmp_path / "out", {"x": IMAGE}, precision="int8")
    opened = session(tmp_path / "out", made)
    assert opened.placement()["precision"] == "int8"
    wanted = answer(path, {"x": IMAGE})
    apart = np.abs(opened.run({"x": IMAGE})["y"] - wanted)
    # A value halfway between two steps may be rounded to either: then one product is a step of x times a weight away.
    assert apart.max() <= 2 * weights["s"] * np.abs(w).max()
    assert (apart > 1e-4 * np.abs(wanted).max()).mean() < 0.01


OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "workspace": ({"workspace_bytes": 1 << 28}, ("IBuilderConfig", "set_memory_pool_limit")),
    "level": ({"level": 1}, ("IBuilderConfig", "builder_optimization_level")),
    "refit": ({"refit": True}, ("BuilderFlag", "REFIT")),
    "version": ({"version_compatible": True}, ("BuilderFlag", "VERSION_COMPATIBLE")),
    "ampere": ({"hardware": "ampere-plus"}, ("HardwareCompatibilityLevel", "AMPERE_PLUS")),
    "strip": ({"strip": True}, ("BuilderFlag", "STRIP_PLAN")),
    "stream": ({"weight_streaming": True}, ("BuilderFlag", "WEIGHT_STREAMING")),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_done_or_refused_and_never_dropped(name: str, trt: Any, tmp_path: Path) -> None:
    options, (kind, needed) = OPTIONS[name]
    path, signature = convolutions(tmp_path)
    if not hasattr(getattr(trt, kind, None), needed):
        with pytest.raises(Unsupported, match=r"^TensorRT .* has no "):
            convert(path, signature, tmp_path / "out", {"x": IMAGE}, trt=options)
        return
    made = convert(path, signature, tmp_path / "out", {"x": IMAGE}, trt=options)
    opened = session(tmp_path / "out", made, trust=True)
    assert_near(opened.run({"x": IMAGE})["y"], answer(path, {"x": IMAGE}), 1e-5)
    assert (tmp_path / "out" / WEIGHTS).exists() == (name == "strip")


def test_a_plan_of_another_gpu_or_version_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X})
    facts = PlanFacts.of(tmp_path / "out" / PLAN)
    assert facts is not None
    (tmp_path / "out" / PLAN).write_bytes(b"not read")
    for other, says in (
        (replace(facts, gpu="Another", compute_capability="7.5"), "it was built for Another"),
        (replace(facts, tensorrt="8.4.0.1"), "it was built by TensorRT 8.4.0.1"),
    ):
        other.write(tmp_path / "out")
        with pytest.raises(MachineError, match=says):
            session(tmp_path / "out", made)


def test_a_damaged_plan_is_an_error(tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X})
    plan = (tmp_path / "out" / PLAN).read_bytes()
    for damaged in (plan[: len(plan) // 2], b"ftrt" + bytes(64)):
        (tmp_path / "out" / PLAN).write_bytes(damaged)
        with pytest.raises(StepError, match="does not open the plan"):
            session(tmp_path / "out", made)


def test_timings_are_kept_and_used(home: Path, tmp_path: Path) -> None:
    path, signature = convolutions(tmp_path)
    for out in ("first", "second"):
        convert(path, signature, tmp_path / out, {"x": IMAGE})
    [kept] = (home / "cache" / "tensorrt").iterdir()
    assert kept.stat().st_size > 0
    kept.write_bytes(b"damaged")
    convert(path, signature, tmp_path / "third", {"x": IMAGE})
    assert kept.read_bytes() != b"damaged"


def test_memory_is_given_back(tmp_path: Path) -> None:
    """Runs of many sizes, and a session that is left: the GPU has as much free memory as before.

    The memory is the whole GPU's, which others use too; what is lost four times would be more than 100 MiB.
    """
    path, signature = dense(tmp_path, "N")
    profiles = [{"x": [[1, 3], [2, 3], [1 << 20, 3]]}]
    made = convert(path, signature, tmp_path / "out", {"x": X}, profiles=profiles)

    def used() -> int:
        opened = session(tmp_path / "out", made)
        for size in (1, 1 << 20, 3, 1 << 19):
            opened.run({"x": np.ones((size, 3), np.float32)})
        del opened
        free, whole = ctypes.c_size_t(), ctypes.c_size_t()
        ctypes.CDLL("libcuda.so.1").cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(whole))
        return whole.value - free.value

    used()
    first = used()
    assert [used() for _ in range(4)][-1] <= first + (48 << 20)


def test_the_inspector_tells_of_every_layer(trt: Any, tmp_path: Path) -> None:
    from dlconv.runtimes.tensorrt_inspect import attested

    path, signature = convolutions(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": IMAGE})
    opened = session(tmp_path / "out", made)
    text = layers_of(trt, opened)
    found = attested(text)
    assert found.layers == len(json.loads(text)["Layers"]) >= 2
    assert sum(found.precisions.values()) >= 2


def test_a_cuda_graph_gives_the_same_answers(tmp_path: Path) -> None:
    path, signature = dense(tmp_path, "N")
    profiles = [{"x": [[1, 3], [2, 3], [8, 3]]}]
    made = convert(path, signature, tmp_path / "out", {"x": X}, profiles=profiles, trt={"cuda_graph": True})
    opened = session(tmp_path / "out", made)
    assert opened.placement()["cuda_graph"] is True
    given = [RNG.standard_normal((size, 3)).astype(np.float32) for size in (2, 7, 1)]
    pairs = [opened.bound({"x": x}) for x in given]
    assert_near(opened.run({"x": X})["y"], answer(path, {"x": X}), 1e-5)
    for number in (0, 2, 1, 1, 0):
        call, read = pairs[number]
        assert_near(read(call())["y"], answer(path, {"x": given[number]}), 1e-5)


def test_what_onnx_defines_by_other_operators_is_written_out_where_it_is_not_known(tmp_path: Path) -> None:
    nodes = [("LayerNormalization", ["x", "scale", "bias"], ["n"]), ("Add", ["n", "x"], ["y"])]
    weights: dict[str, Any] = {
        "scale": RNG.standard_normal(3).astype(np.float32),
        "bias": RNG.standard_normal(3).astype(np.float32),
    }
    path, signature = saved(tmp_path, nodes, {"x": (FLOAT, ["N", 3])}, {"y": (FLOAT, ["N", 3])}, **weights)
    made = convert(path, signature, tmp_path / "out", {"x": X}, profiles=[{"x": [[1, 3], [2, 3], [8, 3]]}])
    opened = session(tmp_path / "out", made)
    for x in (X, RNG.standard_normal((5, 3)).astype(np.float32)):
        assert_near(opened.run({"x": x})["y"], answer(path, {"x": x}), 1e-5)
