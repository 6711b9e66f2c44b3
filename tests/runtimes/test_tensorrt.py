"""The edge and the adapter for TensorRT, against a fake of each generation: the names and the rules are the real ones.

Nothing here shows what TensorRT computes: only that dlconv calls each version as that version wants to be called.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv import progress
from dlconv.convert.edge import Step
from dlconv.errors import MachineError, RequestError, SamplesError, StepError, Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import nvidia_driver
from dlconv.runtimes.tensorrt_plan import FACTS, PLAN, WEIGHTS, PlanFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dlconv.convert.edge import Made

FAKES = Path(__file__).parents[1] / "fakes"
GENERATIONS: tuple[str, ...] = ("8.5", "8.6", "10.16", "11.0", "11.4")
pytestmark = [pytest.mark.onnx, pytest.mark.skipif(sys.platform != "linux", reason="the driver is planted as an .so")]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3)).astype(np.float32)


@pytest.fixture
def become(
    plant: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[str], Any]]:
    """`become("8.5")`: that TensorRT is here, with a GPU, whose memory has all to be given back in the end."""
    driver = plant("libcuda.c", "libcuda.so.1", WAY=0)
    monkeypatch.setitem(nvidia_driver.LIBRARIES, sys.platform, str(driver))
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(FAKES))

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tensorrt", "torch_tensorrt")]:
            del sys.modules[name]

    def made(generation: str) -> Any:
        forget()
        monkeypatch.setenv("FAKE_TENSORRT", generation)
        return importlib.import_module("tensorrt")

    yield made
    forget()
    gc.collect()
    assert ctypes.CDLL(str(driver)).planted_live() == 0, "memory of the GPU was not given back"


@pytest.fixture(params=GENERATIONS)
def trt(request: pytest.FixtureRequest, become: Callable[[str], Any]) -> Any:
    return become(request.param)


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any]) -> Path:
    import onnx
    from onnx import helper, numpy_helper

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, name=f"{kind}_{number}") for number, (kind, ins, outs) in enumerate(nodes)],
        "planted",
        [info(*each) for each in inputs],
        [info(*each) for each in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def dense(folder: Path, batch: int | str = 2, kind: Any = np.float32) -> tuple[Path, Signature]:
    """x @ w, and Relu of it. In float16 between two casts, if so asked."""
    w = RNG.standard_normal((3, 4)).astype(kind)
    nodes = [("MatMul", ["x", "w"], ["m"]), ("Relu", ["m"], ["y"])]
    if kind is np.float16:
        return half(folder, w)
    path = save(folder / "dense.onnx", nodes, [("x", 1, [batch, 3])], [("y", 1, [batch, 4])], {"w": w})
    specs = [TensorSpec(name, "float32", (batch, size)) for name, size in (("x", 3), ("y", 4))]
    return path, Signature((specs[0],), (specs[1],))


def half(folder: Path, w: Any) -> tuple[Path, Signature]:
    import onnx

    nodes = [("Cast", ["x"], ["h"]), ("MatMul", ["h", "w"], ["m"]), ("Cast", ["m"], ["y"])]
    path = save(folder / "half.onnx", nodes, [("x", 1, [2, 3])], [("y", 1, [2, 4])], {"w": w})
    model = onnx.load(path)
    for node, kind in ((model.graph.node[0], 10), (model.graph.node[2], 1)):
        node.attribute.append(onnx.helper.make_attribute("to", kind))
    onnx.save(model, path)
    return path, Signature((TensorSpec("x", "float32", (2, 3)),), (TensorSpec("y", "float32", (2, 4)),))


def convert(path: Path, signature: Signature, out: Path, sample: dict[str, Any], **settings: Any) -> Made:
    from dlconv.convert import onnx_to_tensorrt

    out.mkdir(exist_ok=True)
    return onnx_to_tensorrt.convert(Step(path, out, signature, sample, settings))


def session(out: Path, made: Made, **settings: Any) -> Any:
    from dlconv.runtimes import tensorrt as adapter

    return adapter.open(out / made.entry, made.signature, settings)


def head_of(out: Path) -> dict[str, Any]:
    """What the fake builder was told."""
    data = (out / PLAN).read_bytes()
    size = int.from_bytes(data[4:12], "little")
    found: dict[str, Any] = json.loads(data[12 : 12 + size])
    return found


def answer(path: Path, inputs: dict[str, Any]) -> list[Any]:
    import onnxruntime

    return list(onnxruntime.InferenceSession(str(path)).run(None, inputs))


def test_a_plan_is_built_runs_and_tells_of_itself(trt: Any, tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X})
    assert made.entry == PLAN and made.signature == signature
    opened = session(tmp_path / "out", made)
    got = opened.run({"x": X})
    np.testing.assert_array_equal(got["y"], answer(path, {"x": X})[0])
    told = opened.placement()
    assert (told["device"], told["compute_capability"], told["precision"]) == ("Planted A", "9.0", "float32")
    assert told["version"] == trt.__version__ and told["cuda"] == "12.4"
    assert set(told["times"]) == {"upload_ms", "compute_ms", "download_ms", "wall_ms"}
    assert min(told["times"].values()) > 0 and len(opened._times["wall_ms"]) > 1  # of more than the one run
    assert "TF32" not in head_of(tmp_path / "out")["flags"]
    facts = PlanFacts.of(tmp_path / "out" / PLAN)
    assert facts is not None and facts.tensorrt == trt.__version__ and facts.gpu == "Planted A"


def test_the_probe_builds_and_runs_an_operator(trt: Any) -> None:
    from dlconv.runtimes import tensorrt as adapter

    assert adapter.probe() == {"version": trt.__version__, "devices": ["Planted A", "Planted B"]}


def test_free_sizes_become_profiles_and_the_nearest_is_used(trt: Any, tmp_path: Path) -> None:
    path, signature = dense(tmp_path, "N")
    with pytest.raises(StepError, match="nobody told their range"):
        convert(path, signature, tmp_path / "out", {"x": X})
    profiles = [{"x": [[1, 3], [2, 3], [8, 3]]}, {"x": [[1, 3], [6, 3], [8, 3]]}]
    made = convert(path, signature, tmp_path / "out", {"x": X}, profiles=profiles)
    assert made.signature.inputs[0].shape == ("N", 3) and made.signature.outputs[0].shape == ("N", 4)
    opened = session(tmp_path / "out", made)
    for size, profile in ((1, 0), (7, 1), (2, 0), (8, 1)):
        x = RNG.standard_normal((size, 3)).astype(np.float32)
        np.testing.assert_array_equal(opened.run({"x": x})["y"], answer(path, {"x": x})[0])
        assert opened._context.active_optimization_profile == profile
    with pytest.raises(SamplesError, match="no profile") as refused:
        opened.run({"x": np.zeros((9, 3), np.float32)})
    assert "[1, 3] to [8, 3]" in refused.value.wanted


def test_calls_that_are_timed_keep_their_own_inputs(trt: Any, tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X})
    opened = session(tmp_path / "out", made)
    pairs = [opened.bound({"x": X * scale}) for scale in (1, -2)]
    for scale, (call, read) in zip((1, -2), pairs, strict=True):
        np.testing.assert_array_equal(read(call())["y"], answer(path, {"x": X * np.float32(scale)})[0])


def test_calls_of_several_sizes_are_each_what_they_were_bound_to(trt: Any, tmp_path: Path) -> None:
    path, signature = dense(tmp_path, "N")
    profiles = [{"x": [[1, 3], [2, 3], [8, 3]]}]
    for word in (False, True):
        out = tmp_path / f"graph-{word}"
        made = convert(path, signature, out, {"x": X}, profiles=profiles, trt={"cuda_graph": word})
        opened = session(out, made)
        assert opened.placement()["cuda_graph"] is word
        given = [RNG.standard_normal((size, 3)).astype(np.float32) for size in (2, 7, 1)]
        pairs = [opened.bound({"x": x}) for x in given]
        np.testing.assert_array_equal(opened.run({"x": X})["y"], answer(path, {"x": X})[0])
        for number in (0, 2, 1, 1, 0):
            call, read = pairs[number]
            np.testing.assert_array_equal(read(call())["y"], answer(path, {"x": given[number]})[0])


def test_what_no_graph_can_be_made_of_is_an_error(trt: Any, tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X}, trt={"cuda_graph": True})
    opened = session(tmp_path / "out", made)
    ctypes.CDLL(nvidia_driver.LIBRARIES[sys.platform]).planted_refuse(900)
    with pytest.raises(StepError, match="cannot run as a CUDA graph: the NVIDIA driver's cuStreamEndCapture"):
        opened.run({"x": X})


def test_no_graph_is_made_of_shapes_that_depend_on_the_data(trt: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [("NonZero", ["x"], ["y"])], [("x", 1, [2, 3])], [("y", 7, [2, "K"])], {})
    signature = Signature((TensorSpec("x", "float32", (2, 3)),), (TensorSpec("y", "int64", (2, "K")),))
    made = convert(path, signature, tmp_path / "out", {"x": X}, trt={"cuda_graph": True})
    opened = session(tmp_path / "out", made)
    for begin in (opened.run, opened.bound):
        with pytest.raises(StepError, match="the shape of y depends on the data") as refused:
            begin({"x": X})
        assert "--trt cuda-graph=on" in refused.value.mend


def test_a_driver_that_is_too_old_is_told(trt: Any) -> None:
    from dlconv.runtimes import cuda

    with pytest.raises(MachineError, match="the NVIDIA driver has no cuNoSuchThing") as refused:
        cuda.Device().call("cuNoSuchThing")
    assert refused.value.mend == "update the driver"


def test_shapes_that_depend_on_the_data_are_asked_for(trt: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [("NonZero", ["x"], ["y"])], [("x", 1, [2, 3])], [("y", 7, [2, "K"])], {})
    signature = Signature((TensorSpec("x", "float32", (2, 3)),), (TensorSpec("y", "int64", (2, "K")),))
    made = convert(path, signature, tmp_path / "out", {"x": X})
    is_8 = trt.__version__.startswith("8")
    assert made.signature.outputs[0].dtype == ("int32" if is_8 else "int64")
    opened = session(tmp_path / "out", made)
    for x in (np.array([[0, 1, 0], [0, 0, 2]], np.float32), X, np.zeros((2, 3), np.float32)):
        got = opened.run({"x": x})["y"]
        np.testing.assert_array_equal(got, np.array(np.nonzero(x)))
        assert got.dtype == made.signature.outputs[0].dtype


def test_an_input_that_decides_shapes_stays_on_the_host(trt: Any, tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        [("Reshape", ["x", "s"], ["y"])],
        [("x", 1, [2, 3]), ("s", 7, [2])],
        [("y", 1, ["A", "B"])],
        {},
    )
    inputs = (TensorSpec("x", "float32", (2, 3)), TensorSpec("s", "int64", (2,)))
    signature = Signature(inputs, (TensorSpec("y", "float32", ("A", "B")),))
    sample = {"x": X, "s": np.array([3, 2])}
    with pytest.raises(StepError, match="sizes of s are free"):
        convert(path, signature, tmp_path / "out", sample)
    made = convert(path, signature, tmp_path / "out", sample, values={"s": [[1, 1], [3, 2], [6, 6]]})
    assert head_of(tmp_path / "out")["profiles"] == [{"s": [[1, 1], [3, 2], [6, 6]]}]
    opened = session(tmp_path / "out", made)
    for shape in ((3, 2), (1, 6)):
        np.testing.assert_array_equal(opened.run({"x": X, "s": np.array(shape)})["y"], X.reshape(shape))


def test_integers_are_narrowed_where_they_fit_and_refused_where_not(trt: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", [("Add", ["ids", "one"], ["y"])], [("ids", 7, [2])], [("y", 7, [2])], {"one": [1]})
    signature = Signature((TensorSpec("ids", "int64", (2,)),), (TensorSpec("y", "int64", (2,)),))
    made = convert(path, signature, tmp_path / "out", {"ids": np.array([1, 2])})
    opened = session(tmp_path / "out", made)
    assert opened.run({"ids": np.array([5, -7])})["y"].tolist() == [6, -6]
    wide = np.array([5, 1 << 40])
    stored = save(
        tmp_path / "w.onnx", [("Add", ["ids", "w"], ["y"])], [("ids", 7, [2])], [("y", 7, [2])], {"w": [1 << 40]}
    )
    if trt.__version__.startswith("8"):
        with pytest.raises(SamplesError, match="values from 5"):
            opened.run({"ids": wide})
        with pytest.raises(Unsupported) as refused:
            convert(stored, signature, tmp_path / "out", {"ids": wide})
        assert refused.value.problems == (f"w: {1 << 40}",)
    else:
        assert opened.run({"ids": wide})["y"].tolist() == [6, (1 << 40) + 1]
        convert(stored, signature, tmp_path / "out", {"ids": wide})


def test_ends_of_slices_are_no_numbers(become: Callable[[str], Any], tmp_path: Path) -> None:
    become("8.5")
    weights = {"a": np.array([1]), "b": np.array([np.iinfo(np.int64).max])}
    path = save(tmp_path / "m.onnx", [("Slice", ["x", "a", "b"], ["y"])], [("x", 1, [4])], [("y", 1, [3])], weights)
    signature = Signature((TensorSpec("x", "float32", (4,)),), (TensorSpec("y", "float32", (3,)),))
    assert convert(path, signature, tmp_path / "out", {"x": np.ones(4, np.float32)}).entry == PLAN


def test_every_node_that_is_not_taken_is_named(trt: Any, tmp_path: Path) -> None:
    nodes = [("Det", ["x"], ["d"]), ("Det", ["x"], ["e"]), ("Unique", ["x"], ["u"]), ("Add", ["d", "e"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [("x", 1, [2, 2])], [("y", 1, [])], {})
    with pytest.raises(Unsupported) as refused:
        convert(path, Signature(()), tmp_path / "out", {})
    assert refused.value.problems == ("Det: Det_0, Det_1", "Unique: Unique_2")
    path = save(tmp_path / "m.onnx", [("Mod", ["x", "x"], ["y"])], [("x", 6, [2])], [("y", 6, [2])], {})
    with pytest.raises(Unsupported) as refused:
        convert(path, Signature(()), tmp_path / "out", {})
    assert refused.value.problems == ("node 0 Mod_0 (Mod): Mod is not taken like this",)


def test_what_onnx_defines_by_other_operators_is_written_out_where_it_is_not_known(trt: Any, tmp_path: Path) -> None:
    nodes = [("LayerNormalization", ["x", "scale", "bias"], ["n"]), ("Add", ["n", "x"], ["y"])]
    weights = {"scale": RNG.standard_normal(3).astype(np.float32), "bias": RNG.standard_normal(3).astype(np.float32)}
    path = save(tmp_path / "m.onnx", nodes, [("x", 1, ["N", 3])], [("y", 1, ["N", 3])], weights)
    specs = tuple(TensorSpec(name, "float32", ("N", 3)) for name in "xy")
    profiles = [{"x": [[1, 3], [2, 3], [8, 3]]}]
    made = convert(path, Signature(specs[:1], specs[1:]), tmp_path / "out", {"x": X}, profiles=profiles)
    is_written_out = any(note.startswith("LayerNormalization: written out") for note in made.notes)
    assert is_written_out == trt.__version__.startswith("8")
    opened = session(tmp_path / "out", made)
    for x in (X, RNG.standard_normal((5, 3)).astype(np.float32)):
        np.testing.assert_allclose(opened.run({"x": x})["y"], answer(path, {"x": x})[0], atol=1e-5)


def test_how_far_a_build_has_come_is_told_where_it_can_be(
    become: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(progress, "tell", lambda *words: told.append(words))
    path, signature = dense(tmp_path)
    for version in ("8.6", "10.16"):
        become(version)
        convert(path, signature, tmp_path / version, {"x": np.ones((2, 3), np.float32)})
    assert told == [("Timing", 1, 3), ("Timing", 2, 3), ("Timing", 3, 3), ("Building", 1, 1)]  # by the newer alone


def test_a_build_that_gives_nothing_is_an_error(trt: Any, tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    with pytest.raises(StepError, match="workspace too small"):
        convert(path, signature, tmp_path / "out", {"x": X}, trt={"workspace_bytes": 1})


def test_the_memory_needed_is_told_and_weights_that_do_not_fit_are_refused(trt: Any, tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X})
    assert "weights 0.0 MiB" in made.notes[-1] and "79.0 of the 80.0 GiB" in made.notes[-1]
    planted_free = ctypes.CDLL(nvidia_driver.LIBRARIES[sys.platform]).planted_free
    planted_free.argtypes = [ctypes.c_size_t]
    planted_free(47)
    with pytest.raises(MachineError, match="the model's weights are"):
        convert(path, signature, tmp_path / "out", {"x": X})
    planted_free(48)
    assert "may not be enough" in convert(path, signature, tmp_path / "out", {"x": X}).notes[-1]


def test_float16_is_in_the_graph_where_types_are_and_else_allowed(trt: Any, tmp_path: Path) -> None:
    plain, signature = dense(tmp_path)
    typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    if typed:
        with pytest.raises(StepError, match="the graph has no fp16 tensor"):
            convert(plain, signature, tmp_path / "out", {"x": X}, precision="fp16")
        path, signature = dense(tmp_path, kind=np.float16)
        made = convert(path, signature, tmp_path / "out", {"x": X}, precision="fp16")
    else:
        made = convert(plain, signature, tmp_path / "out", {"x": X}, precision="fp16", keep=["MatMul_0"])
        assert {"FP16", "OBEY_PRECISION_CONSTRAINTS"} <= set(head_of(tmp_path / "out")["flags"])
        assert dict(head_of(tmp_path / "out")["layers"]) == {"MatMul_0": "FLOAT", "Relu_1": "HALF"}
    told = session(tmp_path / "out", made).placement()
    assert told["precision"] == "float16" and told["account"]["ran"]["float16"] >= 1


def test_bfloat16_is_in_the_graph_or_refused_by_name(trt: Any, tmp_path: Path) -> None:
    from dlconv.convert import onnx_to_bfloat16

    plain, signature = dense(tmp_path)
    lowered = tmp_path / "lowered"
    lowered.mkdir()
    path = lowered / onnx_to_bfloat16.convert(Step(plain, lowered, signature, {"x": X})).entry
    if not hasattr(trt.DataType, "BF16"):
        with pytest.raises(Unsupported, match=r"has no bf16$") as refused:
            convert(path, signature, tmp_path / "out", {"x": X}, precision="bf16")
        assert "DataType.BF16" in refused.value.wanted
        return
    with pytest.raises(StepError, match="the graph has no bf16 tensor"):
        convert(plain, signature, tmp_path / "out", {"x": X}, precision="bf16")
    made = convert(path, signature, tmp_path / "out", {"x": X}, precision="bf16")
    assert made.signature == signature  # float32 at both ends
    opened = session(tmp_path / "out", made)
    assert opened.placement()["precision"] == "bfloat16"
    wanted = answer(plain, {"x": X})[0]
    assert 0 < np.abs(opened.run({"x": X})["y"] - wanted).max() < 0.02 * np.abs(wanted).max()


def test_inputs_and_outputs_in_bfloat16_are_arrays_of_ml_dtypes(trt: Any, tmp_path: Path) -> None:
    if not hasattr(trt.DataType, "BF16"):
        pytest.skip("this TensorRT has no bfloat16")
    import ml_dtypes

    path = save(tmp_path / "m.onnx", [("Identity", ["x"], ["y"])], [("x", 16, [2, 3])], [("y", 16, [2, 3])], {})
    signature = Signature((TensorSpec("x", "bfloat16", (2, 3)),), (TensorSpec("y", "bfloat16", (2, 3)),))
    x = X.astype(ml_dtypes.bfloat16)
    made = convert(path, signature, tmp_path / "out", {"x": x}, precision="bf16")
    assert made.signature == signature
    got = session(tmp_path / "out", made).run({"x": x})["y"]
    assert got.dtype == x.dtype and got.tobytes() == x.tobytes()


def test_what_was_asked_for_and_not_given_fails(become: Callable[[str], Any], tmp_path: Path) -> None:
    become("8.5")
    path, signature = dense(tmp_path)
    with pytest.raises(StepError, match="no layer in it: it has 2 float32"):
        convert(path, signature, tmp_path / "out", {"x": X}, precision="fp16", keep=["MatMul_0", "Relu_1"])
    with pytest.raises(Unsupported, match="has no bf16"):
        convert(path, signature, tmp_path / "out", {"x": X}, precision="bf16")


EVERY: set[str] = set(GENERATIONS)
OPTIONS: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "tf32": ({"tf32": True}, "TF32", EVERY),
    "refit": ({"refit": True}, "REFIT", EVERY),
    "version": ({"version_compatible": True}, "VERSION_COMPATIBLE", EVERY - {"8.5"}),
    "level": ({"level": 1}, "builder_optimization_level=1", EVERY - {"8.5"}),
    "ampere": ({"hardware": "ampere-plus"}, "hardware_compatibility_level=1", EVERY - {"8.5"}),
    "same": ({"hardware": "same-compute-capability"}, "hardware_compatibility_level=2", {"10.16", "11.0", "11.4"}),
    "strip": ({"strip": True}, "STRIP_PLAN", {"10.16", "11.0", "11.4"}),
    "tactics": ({"external_tactics": False}, "tactics=JIT_CONVOLUTIONS", EVERY),
    "stream": ({"weight_streaming": True}, "WEIGHT_STREAMING", {"10.16", "11.0", "11.4"}),
}


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_done_or_refused_and_never_dropped(
    name: str, generation: str, become: Callable[[str], Any], tmp_path: Path
) -> None:
    become(generation)
    options, mark, knowing = OPTIONS[name]
    path, signature = dense(tmp_path)
    if generation not in knowing:
        with pytest.raises(Unsupported, match=r"^TensorRT .* has no "):
            convert(path, signature, tmp_path / "out", {"x": X}, trt=options)
        return
    made = convert(path, signature, tmp_path / "out", {"x": X}, trt=options)
    head = head_of(tmp_path / "out")
    assert mark in [*head["flags"], *(f"{name}={value}" for name, value in head["settings"].items())]
    opened = session(tmp_path / "out", made, trust=True)
    np.testing.assert_array_equal(opened.run({"x": X})["y"], answer(path, {"x": X})[0])
    assert (tmp_path / "out" / WEIGHTS).exists() == (name == "strip")


def test_code_in_a_plan_runs_with_trust_alone(become: Callable[[str], Any], tmp_path: Path) -> None:
    become("11.4")
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X}, trt={"version_compatible": True})
    with pytest.raises(MachineError, match="runs code") as refused:
        session(tmp_path / "out", made)
    assert "--trust" in refused.value.mend
    (tmp_path / "out" / FACTS).unlink()  # TensorRT itself does not let it run either
    with pytest.raises(StepError, match="host code"):
        session(tmp_path / "out", made)
    with pytest.raises(RequestError, match="cannot be loaded"):
        convert(path, signature, tmp_path / "out", {"x": X}, plugin_paths=[str(tmp_path / "no.so")])


def test_a_plan_of_another_gpu_or_version_is_refused_before_it_is_read(trt: Any, tmp_path: Path) -> None:
    path, signature = dense(tmp_path)
    made = convert(path, signature, tmp_path / "out", {"x": X})
    facts = PlanFacts.of(tmp_path / "out" / PLAN)
    assert facts is not None
    (tmp_path / "out" / PLAN).write_bytes(b"whoever reads this fails otherwise")
    for other, says in (
        (replace(facts, gpu="Planted C", compute_capability="8.0"), "built for Planted C (compute capability 8.0)"),
        (replace(facts, tensorrt="9.1.0"), f"built by TensorRT 9.1.0, and this is TensorRT {trt.__version__}"),
        (replace(facts, system="Plan 9"), "built on Plan 9"),
    ):
        other.write(tmp_path / "out")
        with pytest.raises(MachineError) as refused:
            session(tmp_path / "out", made)
        assert says in refused.value.met and "this is" in refused.value.met
    (tmp_path / "out" / FACTS).unlink()
    with pytest.raises(StepError, match="kMAGIC_TAG"):
        session(tmp_path / "out", made)


def test_timings_are_kept_for_this_gpu_driver_and_version(
    become: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, signature = dense(tmp_path)
    found = []
    for generation in ("11.0", "11.0", "11.4"):
        become(generation)
        convert(path, signature, tmp_path / "out", {"x": X})
        found.append({file.name for file in (tmp_path / "home" / "cache" / "tensorrt").iterdir()})
    assert found[0] == found[1] and len(found[2]) == 2
    for file in (tmp_path / "home" / "cache" / "tensorrt").iterdir():
        file.write_bytes(b"damaged")
    assert convert(path, signature, tmp_path / "out", {"x": X}).entry == PLAN
    convert(path, signature, tmp_path / "out", {"x": X}, trt={"timing_cache": False})


@pytest.mark.parametrize(
    ("generation", "plant_misuse", "says"),
    [
        ("8.5", "no explicit batch", "does not take the model"),
        ("11.4", "a flag that is gone", "FP16"),
        ("8.5", "a member that is not yet there", "STRONGLY_TYPED"),
    ],
)
def test_a_planted_misuse_is_found(
    generation: str,
    plant_misuse: str,
    says: str,
    become: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That the fakes can fail: the same calls, one of them wrong."""
    from dlconv.convert import onnx_to_tensorrt
    from dlconv.runtimes import tensorrt_api

    fake = become(generation)
    path, signature = dense(tmp_path)
    if plant_misuse == "no explicit batch":
        monkeypatch.setattr(tensorrt_api, "new_network", lambda trt, builder: (builder.create_network(0), False))
    elif plant_misuse == "a flag that is gone":
        plain = onnx_to_tensorrt.configured

        def wrong(trt: Any, builder: Any, options: Any) -> Any:
            config = plain(trt, builder, options)
            config.set_flag(trt.BuilderFlag.FP16)
            return config

        monkeypatch.setattr(onnx_to_tensorrt, "configured", wrong)
    else:
        flag = fake.NetworkDefinitionCreationFlag
        monkeypatch.setattr(
            tensorrt_api, "new_network", lambda trt, builder: (builder.create_network(1 << flag.STRONGLY_TYPED), True)
        )
    with pytest.raises((Unsupported, AttributeError), match=says):
        convert(path, signature, tmp_path / "out", {"x": X})


def exported(folder: Path, *, is_free: bool = False) -> Path:
    """A program with a named input after a positional one, and two outputs."""
    import torch

    class Two(torch.nn.Module):
        def forward(self, x: Any, *, scale: Any) -> dict[str, Any]:
            return {"scaled": x * scale, "summed": x.sum(1)}

    batch = {0: torch.export.Dim("batch", min=1, max=64)} if is_free else None
    shapes = {"x": batch, "scale": None} if is_free else None
    x, scale = torch.zeros(2, 3), torch.zeros(3)
    program = torch.export.export(Two(), (x,), {"scale": scale}, dynamic_shapes=shapes)
    torch.export.save(program, folder / "two.pt2")
    return folder / "two.pt2"


def by_torch(path: Path, out: Path, **settings: Any) -> Made:
    from dlconv.convert import torch_export_to_tensorrt
    from dlconv.runtimes import torch_export_signature

    signature = Signature.from_dict(torch_export_signature.read(str(path))["signature"])
    out.mkdir()
    return torch_export_to_tensorrt.convert(Step(path, out, signature, {}, settings))


@pytest.mark.torch
@pytest.mark.parametrize("generation", ["10.16", "11.4"])
def test_torch_tensorrt_makes_a_plan_of_an_exported_program(
    generation: str, become: Callable[[str], Any], tmp_path: Path
) -> None:
    become(generation)
    profiles = [{"x": [[1, 3], [2, 3], [8, 3]]}]
    made = by_torch(exported(tmp_path, is_free=True), tmp_path / "out", profiles=profiles)
    assert [(spec.name, spec.source_name) for spec in made.signature.inputs] == [("x", "x"), ("scale", "scale")]
    assert [(spec.name, spec.source_name) for spec in made.signature.outputs] == [
        ("output0", "scaled"),
        ("output1", "summed"),
    ]
    assert made.signature.inputs[0].shape == ("batch", 3) and made.notes[0] == "by Torch-TensorRT"
    opened = session(tmp_path / "out", made)
    x, scale = RNG.standard_normal((7, 3)).astype(np.float32), np.float32([1, -2, 3])
    got = opened.run({"x": x, "scale": scale})
    np.testing.assert_array_equal(got["output0"], x * scale)
    np.testing.assert_allclose(got["output1"], x.sum(1), rtol=1e-5)
    facts = PlanFacts.of(tmp_path / "out" / PLAN)
    assert facts is not None and facts.gpu == "Planted A"


@pytest.mark.torch
def test_what_torch_tensorrt_is_asked_is_said_in_its_words(become: Callable[[str], Any], tmp_path: Path) -> None:
    become("11.4")
    from torch_tensorrt import dynamo

    path = exported(tmp_path)
    options = {
        "workspace_bytes": 1 << 30, "level": 2, "tf32": True, "timing_cache": False, "hardware": "ampere-plus",
        "refit": True, "weight_streaming": True, "cuda_graph": True,
    }  # fmt: skip
    by_torch(path, tmp_path / "out", trt=options)
    told = dynamo.ASKED[-1]
    assert not Path(told.pop("timing_cache_path")).exists()  # timings of one build, gone with it
    assert [type(each).__name__ for each in told.pop("arg_inputs")] == ["Input"]
    assert list(told.pop("kwarg_inputs")) == ["scale"] and told.pop("exported_program") is not None
    assert told == {
        "disable_tf32": False, "workspace_size": 1 << 30, "optimization_level": 2, "version_compatible": False,
        "hardware_compatible": True, "enable_weight_streaming": True, "immutable_weights": False,
    }  # fmt: skip
    facts = PlanFacts.of(tmp_path / "out" / PLAN)
    assert facts is not None and facts.is_graph and facts.is_streamed and facts.hardware == "ampere-plus"
    by_torch(path, tmp_path / "plain")
    assert dynamo.ASKED[-1]["disable_tf32"] is True


@pytest.mark.torch
def test_what_torch_tensorrt_cannot_be_told_is_refused(become: Callable[[str], Any], tmp_path: Path) -> None:
    become("11.4")
    path = exported(tmp_path)
    asked: list[tuple[dict[str, Any], str]] = [
        ({"trt": {"strip": True, "dla": 0}}, "does not take --trt strip, --trt dla"),
        ({"trt": {"hardware": "same-compute-capability"}}, "--trt hardware=same-compute-capability"),
        ({"trt": {"external_tactics": False}}, "--trt external-tactics"),
        ({"trt": {"plugins": ["own.so"]}, "plugin_paths": ["own.so"]}, "--trt plugin"),
        ({"profiles": [{"x": [[1, 3]] * 3}] * 2}, "more than one --opt"),
    ]
    for number, (settings, says) in enumerate(asked):
        with pytest.raises(Unsupported, match=says):
            by_torch(path, tmp_path / str(number), **settings)
