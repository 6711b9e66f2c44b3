"""TFLite's adapter: names, dtypes and sizes are checked, and what really ran is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.candidate import RUNTIMES
from dlconv.errors import FormatError, MachineError, PackagesMissing, SamplesError, Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.records.bundle import open_bundle
from dlconv.runtimes import tflite
from dlconv.runtimes.tflite_describe import describe
from dlconv.testing import check_runtime
from dlconv.validators.pairing import to_artifact
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.tflite

FLOAT32, INT32 = 0, 2
ADD = 0


def write_sum(path: Path, kind: int = FLOAT32, free: bool = False, signed: bool = True, version: int = 1) -> Path:
    """A model of a + b = total, each of two elements, or of a free number of them."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str) -> Any:
        made = schema.TensorT()
        made.name, made.type, made.shape, made.buffer = f"tensor/{name}", kind, [1 if free else 2], 0
        made.shapeSignature = [-1] if free else None
        return made

    def entry(name: str, index: int) -> Any:
        made = schema.TensorMapT()
        made.name, made.tensorIndex = name, index
        return made

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = ADD
    code.version = version
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1], [2]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph = schema.SubGraphT()
    graph.tensors = [tensor("a"), tensor("b"), tensor("total")]
    graph.inputs, graph.outputs, graph.operators = [0, 1], [2], [operator]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    if signed:
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = "serving_default", 0
        definition.inputs, definition.outputs = [entry("b", 1), entry("a", 0)], [entry("total", 2)]
        model.signatureDefs = [definition]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def signature(dtype: str = "float32") -> Signature:
    return Signature((TensorSpec("a", dtype, (2,)), TensorSpec("b", dtype, (2,))), (TensorSpec("total", dtype, (2,)),))


def opened(path: Path, dtype: str = "float32", **settings: Any) -> tflite.TfliteSession:
    return tflite.open(path, signature(dtype), settings)


A, B = np.array([1, 2], np.float32), np.array([10, 20], np.float32)


def test_probe_runs_a_model() -> None:
    assert tflite.probe()["devices"] == ["CPU"]


def test_tensors_go_by_the_signatures_names(tmp_path: Path) -> None:
    session = opened(write_sum(tmp_path / "m.tflite"))
    assert list(session.run({"b": B, "a": A})) == ["total"]
    assert session.run({"a": A, "b": B})["total"].tolist() == [11, 22]


def test_without_a_signature_by_the_tensors_own(tmp_path: Path) -> None:
    session = tflite.open(write_sum(tmp_path / "m.tflite", signed=False), Signature(()), {})
    assert session.run({"tensor/a": A, "tensor/b": B})["tensor/total"].tolist() == [11, 22]


def test_outputs_are_not_views_of_the_next_answer(tmp_path: Path) -> None:
    session = opened(write_sum(tmp_path / "m.tflite"))
    first = session.run({"a": A, "b": B})["total"]
    session.run({"a": B, "b": B})
    assert first.tolist() == [11, 22]


def test_placement_tells_the_delegate_and_the_threads(tmp_path: Path) -> None:
    path = write_sum(tmp_path / "m.tflite")
    told = opened(path, threads=1).placement()
    assert (told["device"], told["precision"], told["threads"], told["delegate"]) == ("CPU", "float32", 1, "XNNPACK")
    assert opened(path, xnnpack=False).placement()["delegate"] == "none"
    assert opened(write_sum(path, INT32), "int32").placement()["precision"] == "integer"


def test_a_free_size_takes_any(tmp_path: Path) -> None:
    session = opened(write_sum(tmp_path / "m.tflite", free=True))
    for count in (1, 5, 3):
        ones = np.ones(count, np.float32)
        assert session.run({"a": ones, "b": ones})["total"].tolist() == [2] * count


def test_int64_is_narrowed_where_it_fits_and_refused_where_not(tmp_path: Path) -> None:
    session = opened(write_sum(tmp_path / "m.tflite", INT32), "int32")
    wide = np.array([1, 2], np.int64)
    assert session.run({"a": wide, "b": wide})["total"].tolist() == [2, 4]
    with pytest.raises(SamplesError, match="a has values from 2 to 2147483648"):
        session.run({"a": np.array([2**31, 2], np.int64), "b": wide})


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"a": A}, r"inputs \['a'\] were given"),
        ({"a": A, "b": B, "c": B}, "were given"),
        ({"a": A.astype(np.float64), "b": B}, "a is float64"),
        ({"a": A.astype(np.int64), "b": B}, "a is int64"),
        ({"a": np.ones(3, np.float32), "b": B}, r"a has shape \[3\]"),
        ({"a": A[None], "b": B}, r"a has shape \[1, 2\]"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, inputs: dict[str, Any], told: str) -> None:
    session = opened(write_sum(tmp_path / "m.tflite"))
    with pytest.raises(SamplesError, match=told):
        session.run(inputs)


def test_a_file_of_other_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no tensor a, b, total"):
        tflite.open(write_sum(tmp_path / "m.tflite", signed=False), signature(), {})


def test_a_file_is_described(tmp_path: Path) -> None:
    told = describe(str(write_sum(tmp_path / "m.tflite", free=True)))
    assert told["operators"] == {"ADD": 1}
    assert told["parameters"]["count"] == 0
    assert {spec["name"]: spec["shape"] for spec in told["inputs"]} == {"a": ["batch"], "b": ["batch"]}


@pytest.mark.shared
def test_real_files_are_described_and_run(shared_models: Path) -> None:
    told = describe(str(shared_models / "tflite-support" / "mobilenet_v1_0.25_224_float.tflite"))
    assert (told["operators"]["CONV_2D"], told["parameters"]["by_dtype"]) == (15, {"float32": 467593})
    gestures = shared_models / "hand-gesture-recognition-using-mediapipe" / "keypoint_classifier.tflite"
    spec = describe(str(gestures))["inputs"][0]
    session = tflite.open(gestures, Signature((TensorSpec.from_dict(spec),)), {"threads": 1})
    answers = session.run({spec["name"]: np.zeros((2, 42), np.float32)})
    assert [answer.shape[0] for answer in answers.values()] == [2]


@pytest.mark.parametrize("content", [b"", b"TFL3" * 20, b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(FormatError, match=r"m\.tflite is not a TFLite model"):
        describe(str(tmp_path / "m.tflite"))


# TFLite at home: the same file in ai-edge-litert and in its predecessor, each in its own interpreter.
PACKAGES = {"tflite": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Worker]]:
    made: dict[str, Worker] = {}
    for name in PACKAGES:
        located = toolchains.locate(toolchains.get(name))
        assert isinstance(located, toolchains.Located)
        made[name] = Worker(located.interpreter, name, tmp_path_factory.mktemp("logs") / f"{name}.log", timeout_s=60)
    yield made
    for worker in made.values():
        worker.close()


def answered(worker: Worker, path: Path, called: Signature, samples: list[Any]) -> dict[str, Any]:
    told: dict[str, Any] = worker.call(
        "dlconv.workers.tasks:answer",
        runtime="dlconv.runtimes.tflite",
        path=str(path),
        signature=called.to_dict(),
        settings={"threads": 1},
        samples=samples,
    )
    return told


@pytest.mark.tflite_runtime
@pytest.mark.onnx
@pytest.mark.onnx2tf
def test_both_run_the_trained_model_and_answer_alike(
    digits_bundle: Callable[[str], Path], digits: Path, workers: dict[str, Worker]
) -> None:
    bundle = digits_bundle("tflite")
    told_of = open_bundle(bundle).signature
    with np.load(digits / "samples.npz") as images:
        samples = [to_artifact({"image": image[None]}, told_of) for image in images["image"][:8]]
    told = {name: answered(workers[name], bundle / "model.tflite", told_of, samples) for name in PACKAGES}
    assert {name: each["placement"]["runtime"] for name, each in told.items()} == PACKAGES
    assert told["tflite-runtime"]["placement"]["version"].startswith("2.14")
    for new, old in zip(told["tflite"]["outputs"], told["tflite-runtime"]["outputs"], strict=True):
        assert np.max(np.abs(new["probabilities"] - old["probabilities"])) < 2e-6
    firsts = [each["probabilities"] for each in told["tflite-runtime"]["outputs"]]
    assert np.ptp(firsts, axis=0).max() > 0.5, "the samples differ, and so do the answers"
    elder = replace(RUNTIMES["tflite"], toolchain="tflite-runtime")
    check_runtime(elder, bundle / "model.tflite", told_of, samples[:3])


@pytest.mark.tflite_runtime
def test_a_file_newer_than_the_runtime_is_told_as_such(workers: dict[str, Worker], tmp_path: Path) -> None:
    newer = write_sum(tmp_path / "newer.tflite", version=99)
    for name, package in PACKAGES.items():
        with pytest.raises(MachineError, match=rf"{package} \S+ is older than the file: it has not ADD of version 99"):
            answered(workers[name], newer, signature(), [{"a": A, "b": B}])


@pytest.mark.tflite
def test_xnnpack_is_proved_by_the_interpreters_own_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tflite.probe_xnnpack()["devices"] == ["CPU, by XNNPACK"]
    package, version, operators = tflite._run_tiny()
    assert "DELEGATE" in operators
    monkeypatch.setattr(tflite, "_run_tiny", lambda: (package, version, ["ADD"]))
    with pytest.raises(PackagesMissing, match="runs ADD itself"):
        tflite.probe_xnnpack()
