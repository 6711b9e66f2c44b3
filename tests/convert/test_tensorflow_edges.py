"""Every edge from a SavedModel, a frozen graph or a Keras file: names, order, dtypes, free sizes, axes and answers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert.edge import Made, Step
from dlconv.errors import StepError
from dlconv.model import Signature, TensorSpec
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dlconv.runtimes.base import Tensors

pytestmark = [pytest.mark.tensorflow, pytest.mark.onnx, pytest.mark.openvino, pytest.mark.tflite]

READ, ANSWER, EDGE = (
    "dlconv.convert.tensorflow_signature:read",
    "dlconv.workers.tasks:answer",
    "dlconv.workers.tasks:run_edge",
)
ONNX, TFLITE, OPENVINO, SAVED = "onnx", "tflite", "openvino", "saved_model"


@dataclass(frozen=True)
class Model:
    """A model of `tensorflow_models`, and what it takes and gives, as `--input` writes it."""

    file: str
    takes: str
    gives: str
    entry: str = ""
    trust: bool = False
    asked: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        suffix = Path(self.file).suffix
        return {".pb": "frozen_graph", ".keras": "keras", ".h5": "keras"}.get(suffix, "saved_model")

    @property
    def name(self) -> str:
        return self.file + (f"[{self.entry}]" if self.entry else "") + ("+".join(("", *self.asked)))


_F = "float32"
MODELS = (
    Model("two", f"alpha:batchx4:{_F} zeta:batchx6:{_F}", f"any:batch:bool best:batch:int64 scores:batchx4:{_F}"),
    Model("image", f"image:batchx8x8x2:{_F}", f"features:batchx4x4x8:{_F} logits:batchx5:{_F}"),
    Model("several", f"rows:batchx4:{_F}", f"code:batchx3:{_F}", entry="encode"),
    Model("several", f"code:batchx3:{_F}", f"rows:batchx4:{_F}", entry="decode"),
    Model("usual", f"code:batchx3:{_F}", f"rows:batchx4:{_F}"),
    Model("usual", f"rows:batchx4:{_F}", f"code:batchx3:{_F}", entry="encode"),
    Model("tokens", "tokens:batchx6:int64", f"mean:batchx3:{_F}"),
    Model("loop", f"turns::int32 x:2x4:{_F}", f"y:2x4:{_F}"),
    Model("branch", f"x:3x4:{_F}", f"y:3x4:{_F}"),
    Model("listed", f"rows:5x2x4:{_F}", f"last:2x4:{_F} states:5x2x4:{_F}"),
    Model("through", f"x:batchx3:{_F}", f"again:batchx3:{_F} twice:batchx3:{_F} x:batchx3:{_F}"),
    Model("recurrent", f"sequence:batchxsequence_1x3:{_F}", f"output_0:batchx2:{_F}"),
    Model("one", f"picture:batchx8x8x2:{_F}", f"pooled:batchx6:{_F} scores:batchx3:{_F}"),
    Model("one_switches", f"x:3x4:{_F}", f"y:3x4:{_F}"),
    Model("frozen.pb", f"picture:batchx8x8x2:{_F}", f"scores:batchx3:{_F}"),
    Model(
        "frozen.pb",
        f"picture:batchx8x8x2:{_F}",
        f"scores:batchx3:{_F} pooled:batchx6:{_F}",
        asked=("scores", "pooled"),
    ),
    Model("switches.pb", f"x:3x4:{_F}", f"y:?:{_F}"),
    Model("switches_free.pb", f"x:batchx4:{_F}", f"y:?:{_F}"),
    Model("keras_two.keras", f"right:batchx6:{_F} left:batchx4:{_F}", f"code:batchx3:{_F} sum:batchx2:{_F}"),
    Model("keras_pool.keras", f"image:batchx8x8x2:{_F}", f"dense_2:batchx5:{_F}"),
    Model("third.h5", f"image:batchx8x8x2:{_F}", f"dense_2:batchx5:{_F}"),
    Model("second.h5", f"image_input:batchx8x8x2:{_F}", f"dense:batchx5:{_F}"),
    Model("keras_gelu.keras", f"x:batchx6:{_F}", f"dense_3:batchx3:{_F}"),
    Model("keras_attention.keras", f"sequence:batchx7x8:{_F}", f"dense_5:batchx3:{_F}"),
    Model("keras_lstm.keras", f"sequence:batchxsequence_1x3:{_F}", f"dense_6:batchx2:{_F}"),
    Model("keras_gru.keras", f"sequence:batchx6x3:{_F}", f"dense_7:batchx2:{_F}"),
    Model("keras_lstm_unrolled.keras", f"sequence:batchx6x3:{_F}", f"dense_8:batchx2:{_F}"),
    Model("keras_gru_unrolled.keras", f"sequence:batchx6x3:{_F}", f"dense_9:batchx2:{_F}"),
    Model("keras_lambda.keras", f"x:batchx4:{_F}", f"dense_10:batchx3:{_F}", trust=True),
)
ENDS = {
    "saved_model": (ONNX, TFLITE, OPENVINO),
    "frozen_graph": (ONNX, OPENVINO, SAVED),
    "keras": (ONNX, TFLITE, SAVED),
}
REFUSED: dict[tuple[str, str], str] = {
    ("usual[encode]", OPENVINO): "OpenVINO reads no signature 'encode'",
    ("recurrent", TFLITE): "do not cover: TensorListReserve",
    ("one_switches", TFLITE): "does not contain node: while/Exit_1",
    ("keras_pool.keras", "jax"): "a MaxPool over 4 axes",
    ("third.h5", "jax"): "a MaxPool over 4 axes",
}
FIXED = {
    ("keras_gelu.keras", "torch"),
    ("keras_lstm.keras", "torch"),
    ("keras_lstm.keras", TFLITE),
    ("keras_gru.keras", TFLITE),
}
"""Where free sizes do not stay free, which a note tells."""
OTHER_BACKENDS = tuple(
    model for model in MODELS if model.kind == "keras" and model.file not in ("second.h5", "keras_lambda.keras")
)


def specs(text: str) -> tuple[TensorSpec, ...]:
    found: list[TensorSpec] = []
    for word in text.split():
        name, shape, dtype = word.split(":")
        sizes = tuple(int(size) if size.isdigit() else size for size in shape.split("x") if size)
        found.append(TensorSpec(name, dtype, None if shape == "?" else sizes))
    return tuple(found)


def drawn(signature: Signature, free: int, seed: int) -> Tensors:
    rng = np.random.default_rng(seed)
    made: Tensors = {}
    for spec in signature.inputs:
        shape = [size if isinstance(size, int) else free + axis for axis, size in enumerate(spec.shape or ())]
        whole = spec.dtype.startswith("int")
        made[spec.name] = np.asarray(
            rng.integers(1, 4, shape) if whole else rng.standard_normal(shape), dtype=spec.dtype
        )
    return made


class Bench:
    """The models, studied and answered by TensorFlow; each once."""

    def __init__(self, folder: Path, worker: Worker) -> None:
        self.folder = folder
        self.worker = worker
        self.studied = cache(self._studied)
        self.known = cache(self._known)

    def _studied(self, model: Model) -> Signature:
        told = self.worker.call(
            READ,
            path=str(self.folder / model.file),
            entry=model.entry,
            trust=model.trust,
            inputs=[],
            outputs=list(model.asked),
        )
        return Signature.from_dict(told["signature"])

    def _known(self, model: Model) -> list[tuple[Tensors, Tensors]]:
        """Samples of two sizes, and what the framework answers."""
        signature = self.studied(model)
        samples = [drawn(signature, free, seed) for seed, free in enumerate((2, 3))]
        return list(zip(samples, self.answers(self.folder / model.file, signature, samples, model.trust), strict=True))

    def answers(self, path: Path, signature: Signature, samples: list[Tensors], trust: bool = False) -> list[Tensors]:
        settings = {"trust": trust}
        told = self.worker.call(
            ANSWER,
            runtime="dlconv.runtimes.tensorflow",
            path=str(path),
            signature=signature.to_dict(),
            settings=settings,
            samples=samples,
        )
        assert not any(told["errors"]), told["errors"]
        found: list[Tensors] = told["outputs"]
        return found

    def converted(self, model: Model, module: str, out_dir: Path, worker: Worker, **settings: Any) -> Made:
        signature = self.studied(model)
        sample = self.known(model)[0][0]
        step = Step(self.folder / model.file, out_dir, signature, sample, settings, model.trust)
        told = worker.call(EDGE, module=f"dlconv.convert.{module}", step=step.to_dict())
        return Made.from_dict(told["made"])

    def session(self, end: str, path: Path, made: Signature) -> Callable[[Tensors], Tensors]:
        if end == SAVED:
            return lambda sample: self.answers(path, made, [sample])[0]
        if end == ONNX:
            return onnx_session(path)
        if end == OPENVINO:
            from dlconv.runtimes import openvino

            return openvino.open(path, made, {"threads": 1}).run
        from dlconv.runtimes import tflite

        return tflite.open(path, made, {"threads": 1}).run


def onnx_session(path: Path) -> Callable[[Tensors], Tensors]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return lambda sample: dict(zip(names, session.run(names, sample), strict=True))


@pytest.fixture(scope="module")
def bench(tensorflow_models: Path, tensorflow_worker: Worker) -> Bench:
    return Bench(tensorflow_models, tensorflow_worker)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Worker]]:
    """A worker in each of the other toolchains, once it is asked for."""
    with ExitStack() as stack:

        @cache
        def worker(toolchain: str) -> Worker:
            located = toolchains.locate(toolchains.get(toolchain))
            assert isinstance(located, toolchains.Located)
            log = tmp_path_factory.mktemp("logs") / f"{toolchain}.log"
            return stack.enter_context(Worker(located.interpreter, toolchain, log, timeout_s=120))

        yield worker


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_is_studied(bench: Bench, model: Model) -> None:
    told = bench.studied(model)
    assert (told.inputs, told.outputs) == (specs(model.takes), specs(model.gives))
    assert told.entry == (model.entry or ("serving_default" if model.kind == "saved_model" else ""))


PAIRS = [(model, end) for model in MODELS for end in ENDS[model.kind]]


@pytest.mark.parametrize(("model", "end"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_what_an_edge_makes_is_the_model(
    bench: Bench, workers: Callable[[str], Worker], tmp_path: Path, model: Model, end: str
) -> None:
    module = f"{model.kind}_to_{end}"
    worker = workers("openvino") if end == OPENVINO else bench.worker
    refused = REFUSED.get((model.name, end))
    if refused:
        with pytest.raises(StepError, match=refused):
            bench.converted(model, module, tmp_path, worker)
        return
    made = bench.converted(model, module, tmp_path, worker)
    assert_same(bench, model, end, made, tmp_path / made.entry)


@pytest.mark.parametrize("model", OTHER_BACKENDS, ids=lambda model: model.name)
@pytest.mark.parametrize("backend", [
    pytest.param("torch", marks=pytest.mark.torch_keras), pytest.param("jax", marks=pytest.mark.jax),
])  # fmt: skip
def test_keras_own_export_is_the_model(
    bench: Bench, workers: Callable[[str], Worker], tmp_path: Path, model: Model, backend: str
) -> None:
    worker = workers({"torch": "torch-keras"}.get(backend, backend))
    refused = REFUSED.get((model.name, backend))
    if refused:
        with pytest.raises(StepError, match=refused):
            bench.converted(model, "keras_to_onnx", tmp_path, worker, backend=backend)
        return
    made = bench.converted(model, "keras_to_onnx", tmp_path, worker, backend=backend)
    assert_same(bench, model, backend, made, tmp_path / made.entry)


def assert_same(bench: Bench, model: Model, end: str, made: Made, path: Path) -> None:
    source = bench.studied(model)
    is_fixed = (model.name, end) in FIXED
    assert is_fixed == any("cannot stay free" in note for note in made.notes), made.notes
    for before, after in ((source.inputs, made.signature.inputs), (source.outputs, made.signature.outputs)):
        assert [spec.source_name for spec in after] == [spec.name for spec in before]
        assert [spec.dtype for spec in after] == [spec.dtype for spec in before]
        assert all(spec.permutation == () for spec in after)
        if not is_fixed:
            assert [spec.shape for spec in after] == [spec.shape for spec in before]
    run = bench.session(ONNX if end in ("torch", "jax") else end, path, made.signature)
    names = {spec.name: spec.source_name for spec in (*made.signature.inputs, *made.signature.outputs)}
    for sample, wanted in bench.known(model)[: 1 if is_fixed else 2]:
        got = run({spec.name: sample[spec.source_name] for spec in made.signature.inputs})
        assert [names[name] for name in got] == list(wanted)
        for name, array in got.items():
            reference = wanted[names[name]]
            assert (array.dtype, array.shape) == (reference.dtype, reference.shape)
            np.testing.assert_allclose(array, reference, rtol=2e-5, atol=2e-6)
