"""What TensorFlow's and Keras' models cannot be: refused before any work, with the reason and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.convert.edge import Step
from dlconv.errors import DlconvError, FormatError, RequestError, SignatureError, SourceError, Unsupported
from dlconv.formats import Format
from dlconv.model import Signature, TensorSpec
from dlconv.opening import identify, open_artifact

if TYPE_CHECKING:
    from dlconv.workers.worker import Worker

pytestmark = pytest.mark.tensorflow


def read(worker: Worker, path: Path, **asked: Any) -> dict[str, Any]:
    found = worker.call("dlconv.convert.tensorflow_signature:read", path=str(path), **asked)
    assert isinstance(found, dict)
    return found


def run_edge(worker: Worker, module: str, path: Path, out_dir: Path, signature: Signature, **settings: Any) -> None:
    sample = {spec.name: np.zeros([2] * len(spec.shape or ()), np.float32) for spec in signature.inputs}
    step = Step(path, out_dir, signature, sample, settings)
    worker.call("dlconv.workers.tasks:run_edge", module=f"dlconv.convert.{module}", step=step.to_dict())


@pytest.mark.parametrize(
    ("file", "kind", "told"),
    [
        ("resource", Unsupported, "the input handle is a resource of a running TensorFlow"),
        ("table", Unsupported, "neither a variable nor a constant"),
        ("nameless", Unsupported, "has no signature: it cannot be called by name"),
        ("several", RequestError, "has 2 signatures"),
        ("thawed.pb", Unsupported, "not frozen: its variables' values lie in a checkpoint"),
        ("keras_own_layer.keras", Unsupported, "has classes of your own, whose code is not here: Doubled"),
        ("keras_lambda.keras", Unsupported, r"holds Python code \(a Lambda layer\)"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tensorflow_worker: Worker, tensorflow_models: Path, file: str, kind: type[DlconvError], told: str
) -> None:
    with pytest.raises(kind, match=told) as caught:
        read(tensorflow_worker, tensorflow_models / file)
    assert caught.value.mend


def test_the_signatures_that_there_are_are_named(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    with pytest.raises(RequestError) as caught:
        read(tensorflow_worker, tensorflow_models / "several", entry="encoder")
    assert (caught.value.wanted, caught.value.mend) == ("one of decode, encode", "--signature decode")


@pytest.mark.parametrize("module", ["saved_model_to_onnx", "saved_model_to_tflite", "saved_model_to_openvino"])
def test_strings_are_refused_by_name(
    tensorflow_worker: Worker, tensorflow_models: Path, tmp_path: Path, module: str
) -> None:
    told = read(tensorflow_worker, tensorflow_models / "text")
    signature = Signature.from_dict(told["signature"])
    assert signature.inputs == (TensorSpec("text", "string", ("batch",)),)
    with pytest.raises(Unsupported, match="takes or gives strings: text"):
        run_edge(tensorflow_worker, module, tensorflow_models / "text", tmp_path, signature)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_strings_are_refused_on_every_backend(
    tensorflow_worker: Worker, tensorflow_models: Path, tmp_path: Path, backend: str
) -> None:
    signature = Signature((TensorSpec("text", "string", ("batch",)),))
    path = tensorflow_models / "keras_gelu.keras"
    with pytest.raises(Unsupported, match="takes or gives strings: text"):
        run_edge(tensorflow_worker, "keras_to_onnx", path, tmp_path, signature, backend=backend)


@pytest.mark.parametrize("name", ["third.weights.h5", "second_weights.h5"])
def test_weights_alone_are_told_as_such(tensorflow_models: Path, name: str) -> None:
    assert identify(tensorflow_models / name).format is Format.KERAS_WEIGHTS
    with pytest.raises(DlconvError) as caught:
        open_artifact(tensorflow_models / name)
    assert "save it whole" in caught.value.mend


@pytest.mark.parametrize("name", ["keras_pool.keras", "third.h5", "frozen.pb"])
def test_a_truncated_file_is_refused(
    tensorflow_worker: Worker, tensorflow_models: Path, tmp_path: Path, name: str
) -> None:
    whole = (tensorflow_models / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises((FormatError, SourceError)):
        open_artifact(tmp_path / name)
        read(tensorflow_worker, tmp_path / name)


def test_a_truncated_or_partial_saved_model_is_refused(
    tensorflow_worker: Worker, tensorflow_models: Path, tmp_path: Path
) -> None:
    cut, without = tmp_path / "cut", tmp_path / "without"
    shutil.copytree(tensorflow_models / "two", cut)
    whole = (cut / "saved_model.pb").read_bytes()
    (cut / "saved_model.pb").write_bytes(whole[: len(whole) // 2])
    shutil.copytree(tensorflow_models / "two", without)
    shutil.rmtree(without / "variables")
    for folder in (cut, without):
        with pytest.raises(FormatError, match="cannot be loaded by TensorFlow"):
            read(tensorflow_worker, folder)


def test_tensors_that_a_graph_does_not_have_are_told_with_their_like(
    tensorflow_worker: Worker, tensorflow_models: Path
) -> None:
    path = tensorflow_models / "frozen.pb"
    with pytest.raises(SignatureError, match="no tensor 'pooling'") as caught:
        read(tensorflow_worker, path, outputs=["pooling"])
    assert caught.value.wanted == "one of pooled"
    with pytest.raises(SignatureError, match="no tensor 'photo'"):
        read(tensorflow_worker, path, inputs=[TensorSpec("photo", "float32", None).to_dict()])
    wrong = TensorSpec("picture", "float32", ("batch", 9, 9, 2)).to_dict()
    with pytest.raises(SignatureError, match="picture is"):
        read(tensorflow_worker, path, inputs=[wrong])


def test_a_graph_is_cut_where_it_is_told(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    fed = TensorSpec("pooled", "float32", ("batch", 6))
    told = read(tensorflow_worker, tensorflow_models / "frozen.pb", inputs=[fed.to_dict()], outputs=["scores"])
    signature = Signature.from_dict(told["signature"])
    assert signature.inputs == (fed,)
    assert signature.outputs == (TensorSpec("scores", "float32", ("batch", 3)),)


def test_a_graph_is_not_cut_where_a_node_gives_more_than_the_input(
    tensorflow_worker: Worker, tensorflow_models: Path
) -> None:
    path = tensorflow_models / "halves.pb"
    with pytest.raises(SignatureError, match="y reads another output of halves than the first") as caught:
        read(tensorflow_worker, path, inputs=[TensorSpec("halves", "float32", (1, 4)).to_dict()])
    assert caught.value.mend == "--input y:SHAPE"


def test_a_keras_model_is_not_traced_at_sizes_that_it_does_not_take(
    tensorflow_worker: Worker, tensorflow_models: Path
) -> None:
    path = tensorflow_models / "keras_pool.keras"
    fixed = TensorSpec("image", "float32", (4, 8, 8, 2))
    told = read(tensorflow_worker, path, inputs=[fixed.to_dict()])
    assert Signature.from_dict(told["signature"]).inputs == (fixed,)
    with pytest.raises(SignatureError, match="image is"):
        read(tensorflow_worker, path, inputs=[TensorSpec("image", "float32", (4, 9, 8, 2)).to_dict()])


def test_the_study_tells_tables_state_and_chance(
    tensorflow_worker: Worker, tensorflow_models: Path, tmp_path: Path
) -> None:
    assert read(tensorflow_worker, tensorflow_models / "tokens")["bounds"] == {"tokens": [0, 10]}
    counted = read(tensorflow_worker, tensorflow_models / "counted")
    assert (counted["stateful"], counted["state"]) == (True, ["AssignAddVariableOp"])
    with pytest.raises(Unsupported, match="keeps something from call to call: AssignAddVariableOp"):
        signature = Signature.from_dict(counted["signature"])
        run_edge(tensorflow_worker, "saved_model_to_onnx", tensorflow_models / "counted", tmp_path, signature)
    noisy = read(tensorflow_worker, tensorflow_models / "noisy")
    assert not noisy["deterministic"] and "RandomStandardNormal" in noisy["notes"][-1]
    plain = read(tensorflow_worker, tensorflow_models / "two")
    assert (plain["stateful"], plain["deterministic"], plain["bounds"]) == (False, True, {})


def test_pixels_are_drawn_for_what_scales_them(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    assert read(tensorflow_worker, tensorflow_models / "keras_pixels.keras")["bounds"] == {"image": [0, 255]}
    assert read(tensorflow_worker, tensorflow_models / "keras_pool.keras")["bounds"] == {}


def test_a_seed_that_no_answer_hangs_on_is_no_state(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    idle = read(tensorflow_worker, tensorflow_models / "keras_dropout.keras")
    assert (idle["stateful"], idle["state"]) == (False, [])


WRITES_IN_A_LOOP = """
import keras
import tensorflow as tf
from dlconv.runtimes.keras_state import answers_alone

class Counting(keras.Model):
    def __init__(self):
        super().__init__()
        self.seen = self.add_weight(shape=(), trainable=False, name="seen")

    def call(self, x):
        def body(step):
            self.seen.value.assign_add(1.0)
            return [step + 1]

        tf.while_loop(lambda step: step < 3, body, [tf.constant(0)])
        return x + self.seen.value

model, specs = Counting(), [tf.TensorSpec((None, 4))]
traced = tf.function(model, autograph=False).get_concrete_function(*specs)
alone, kept = answers_alone(model, model, specs, traced)
assert alone is traced or kept, "its state would be lost, and nobody told"
"""


def test_state_that_a_loop_writes_is_not_lost(tensorflow_worker: Worker) -> None:
    tensorflow_worker.call("timeit:timeit", stmt="exec(code, {})", setup=f"code = {WRITES_IN_A_LOOP!r}", number=1)


def test_a_stateful_layer_answers_as_on_a_first_call_and_says_so(
    tensorflow_worker: Worker, tensorflow_models: Path
) -> None:
    path = tensorflow_models / "keras_stateful.keras"
    told = read(tensorflow_worker, path)
    assert (told["stateful"], told["state"]) == (True, ["memory/rnn_state"])
    sample = {"sequence": np.random.default_rng(1).standard_normal((2, 6, 3)).astype(np.float32)}
    answers = tensorflow_worker.call(
        "dlconv.workers.tasks:answer",
        runtime="dlconv.runtimes.tensorflow",
        path=str(path),
        signature=told["signature"],
        settings={},
        samples=[sample, sample],
    )
    assert isinstance(answers, dict)
    first, second = answers["outputs"]
    np.testing.assert_array_equal(*(next(iter(each.values())) for each in (first, second)))
