"""ONNX back to a SavedModel: names, order, layouts and free sizes stay the source's, and the answers."""

from __future__ import annotations

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
    from collections.abc import Iterator

pytestmark = [pytest.mark.onnx, pytest.mark.onnx2tf_tensorflow, pytest.mark.tensorflow]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    located = toolchains.locate(toolchains.get("onnx2tf-tensorflow"))
    assert isinstance(located, toolchains.Located)
    with Worker(
        located.interpreter, "onnx2tf-tensorflow", tmp_path_factory.mktemp("logs") / "log", timeout_s=200
    ) as made:
        yield made


def nodes(kind: str, *, dilation: int = 1) -> list[Any]:
    from onnx import helper

    pads = [dilation] * 4
    conv = {"kernel_shape": [3, 3], "pads": pads, "dilations": [dilation] * 2, "group": 3 if kind == "depthwise" else 1}
    return [
        helper.make_node("Conv", ["image:0", "w", "b"], ["c"], **conv),
        helper.make_node("Round" if kind == "rounded" else "Relu", ["c"], ["z/features"]),
        helper.make_node("GlobalAveragePool", ["z/features"], ["m"]),
        helper.make_node("Flatten", ["m"], ["a/scores"]),
    ]


def written(path: Path, kind: str, *, free: bool = False, dilation: int = 1) -> tuple[Path, Signature]:
    """An image model, three channels to six; "depthwise": two filters a channel."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(3)
    batch: Any = "N" if free else 2
    sides = [("image:0", [batch, 3, 8, 7])], [("z/features", [batch, 6, 8, 7]), ("a/scores", [batch, 6])]
    inputs, outputs = ([helper.make_tensor_value_info(name, 1, shape) for name, shape in side] for side in sides)
    weights = {
        "w": rng.standard_normal((6, 1 if kind == "depthwise" else 3, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(6).astype(np.float32),
    }
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes(kind, dilation=dilation), "test", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    specs = [tuple(TensorSpec(name, "float32", tuple(shape)) for name, shape in side) for side in sides]
    return path, Signature(*specs)


CASES = {
    "plain": {},
    "plain, a free batch": {"free": True},
    "depthwise": {},
    "depthwise, dilated": {"dilation": 2},
    "rounded": {},
}


@pytest.mark.parametrize("case", CASES)
def test_the_saved_model_is_the_model(case: str, worker: Worker, tensorflow_worker: Worker, tmp_path: Path) -> None:
    import onnxruntime

    source, signature = written(tmp_path / "model.onnx", case.partition(",")[0], **CASES[case])
    rng = np.random.default_rng(1)
    samples = [{"image:0": rng.standard_normal((size, 3, 8, 7)).astype(np.float32)} for size in (2, 5)]
    if not CASES[case].get("free"):
        samples.pop()
    out_dir = tmp_path / "out"
    out_dir.mkdir()
    step = Step(source, out_dir, signature, samples[0], {})
    done = worker.call(
        "dlconv.workers.tasks:run_edge", what=case, module="dlconv.convert.onnx_to_saved_model", step=step.to_dict()
    )
    made = Made.from_dict(done["made"])
    for before, after in ((signature.inputs, made.signature.inputs), (signature.outputs, made.signature.outputs)):
        assert [(spec.source_name, spec.dtype, spec.shape, spec.permutation) for spec in after] == [
            (spec.name, spec.dtype, spec.shape, ()) for spec in before
        ]
    got = tensorflow_worker.call(
        "dlconv.workers.tasks:answer",
        what="answering",
        runtime="dlconv.runtimes.tensorflow",
        path=str(out_dir / made.entry),
        signature=made.signature.to_dict(),
        settings={},
        samples=[{made.signature.inputs[0].name: sample["image:0"]} for sample in samples],
    )
    assert not any(got["errors"]), got["errors"]
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    names = {spec.name: spec.source_name for spec in made.signature.outputs}
    for sample, answers in zip(samples, got["outputs"], strict=True):
        wanted = dict(zip(["z/features", "a/scores"], session.run(None, sample), strict=True))
        assert [names[name] for name in answers] == list(wanted)
        for name, array in answers.items():
            np.testing.assert_allclose(array, wanted[names[name]], rtol=1e-5, atol=1e-5)


def test_an_operator_without_a_kernel_is_named(worker: Worker, tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    given, made = (
        helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [2, 3, 4, 4]), ("d", [2, 3]))
    )
    graph = helper.make_graph([helper.make_node("Det", ["x"], ["d"])], "test", [given], [made])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    signature = Signature((TensorSpec("x", "float32", (2, 3, 4, 4)),), (TensorSpec("d", "float32", (2, 3)),))
    (tmp_path / "out").mkdir()
    step = Step(path, tmp_path / "out", signature, {"x": np.ones((2, 3, 4, 4), np.float32)}, {})
    with pytest.raises(StepError, match="Det"):
        worker.call("dlconv.workers.tasks:run_edge", module="dlconv.convert.onnx_to_saved_model", step=step.to_dict())
