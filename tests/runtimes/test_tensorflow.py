"""TensorFlow's adapter: the framework's own answers in float32, the same graph's in float64, and what really ran."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlconv.errors import StepError, Unsupported
from dlconv.model import Signature

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors
    from dlconv.workers.worker import Worker

pytestmark = pytest.mark.tensorflow

ADAPTER = "dlconv.runtimes.tensorflow"
EXACT = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
"""The weights of `encode` in the maker of the models."""
ROWS = {"rows": np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)}


def study(worker: Worker, path: Path, entry: str = "", trust: bool = False) -> dict[str, Any]:
    told = worker.call("dlconv.convert.tensorflow_signature:read", path=str(path), entry=entry, trust=trust)
    assert isinstance(told, dict)
    return dict(told["signature"])


def answer(
    worker: Worker, path: Path, signature: dict[str, Any], samples: list[Tensors], twice: bool = False, **settings: Any
) -> dict[str, Any]:
    told = worker.call(
        "dlconv.workers.tasks:answer",
        runtime=ADAPTER,
        path=str(path),
        signature=signature,
        settings=settings,
        samples=samples,
        twice=twice,
    )
    assert isinstance(told, dict)
    return told


def drawn(signature: dict[str, Any], batch: int = 3) -> Tensors:
    rng = np.random.default_rng(2)
    made: Tensors = {}
    for spec in Signature.from_dict(signature).inputs:
        shape = [size if isinstance(size, int) else batch for size in spec.shape or ()]
        whole = spec.dtype.startswith("int")
        made[spec.name] = np.asarray(rng.integers(1, 4, shape) if whole else rng.standard_normal(shape), spec.dtype)
    return made


def test_probe_runs_a_product(tensorflow_worker: Worker) -> None:
    assert tensorflow_worker.call(f"{ADAPTER}:probe")["devices"] == ["CPU"]


def test_answers_are_those_of_arithmetic(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    path = tensorflow_models / "several"
    signature = study(tensorflow_worker, path, "encode")
    single = answer(tensorflow_worker, path, signature, [ROWS])
    double = answer(tensorflow_worker, path, signature, [ROWS], double=True)
    exact = np.tanh(ROWS["rows"].astype(np.float64) @ EXACT.astype(np.float64))
    assert single["outputs"][0]["code"].dtype == np.float32
    assert double["outputs"][0]["code"].dtype == np.float64
    np.testing.assert_allclose(single["outputs"][0]["code"], exact, rtol=0, atol=1e-6)
    np.testing.assert_allclose(double["outputs"][0]["code"], exact, rtol=0, atol=1e-15)
    assert single["placement"]["precision"] == "float32" and double["placement"]["precision"] == "float64"
    assert single["placement"]["framework"].startswith("tensorflow 2.")


@pytest.mark.parametrize(
    ("file", "framework"),
    [
        ("two", "tensorflow"),
        ("image", "tensorflow"),
        ("tokens", "tensorflow"),
        ("loop", "tensorflow"),
        ("listed", "tensorflow"),
        ("one", "tensorflow"),
        ("one_switches", "tensorflow"),
        ("frozen.pb", "tensorflow"),
        ("switches_free.pb", "tensorflow"),
        ("keras_pool.keras", "keras 3"),
        ("keras_attention.keras", "keras 3"),
        ("keras_lstm.keras", "keras 3"),
        ("keras_gru_unrolled.keras", "keras 3"),
        ("second.h5", "tf-keras 2"),
    ],
)
def test_the_graph_in_float64_is_the_model_and_its_distance_the_noise_floor(
    tensorflow_worker: Worker, tensorflow_models: Path, file: str, framework: str
) -> None:
    path = tensorflow_models / file
    signature = study(tensorflow_worker, path)
    sample = drawn(signature)
    single = answer(tensorflow_worker, path, signature, [sample])
    double = answer(tensorflow_worker, path, signature, [sample], double=True)
    assert not any(single["errors"] + double["errors"])
    assert single["placement"]["framework"].startswith(framework)
    floors: list[float] = []
    for name, wide in double["outputs"][0].items():
        narrow = single["outputs"][0][name]
        if narrow.dtype.kind != "f":
            np.testing.assert_array_equal(narrow, wide)
            continue
        assert wide.dtype == np.float64
        floors.append(float(np.abs(narrow - wide).max() / np.abs(wide).max()))
    assert all(0 < floor < 2e-6 for floor in floors), floors


HALVES = """
import keras

for kind in ("float16", "bfloat16"):
    keras.utils.set_random_seed(1)
    keras.mixed_precision.set_global_policy(f"mixed_{{kind}}")
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    layers += [keras.layers.Flatten(), keras.layers.Dense(5)]
    keras.Sequential(layers).save(f"{folder}/{{kind}}.keras")
"""


def test_halves_are_made_float64_too(tensorflow_worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text(HALVES.format(folder=tmp_path))
    made = tensorflow_worker.call("dlconv.workers.tasks:script", path=str(tmp_path / "make.py"))
    assert made["status"] == 0, made["said"]
    for kind, least, most in (("float16", 1e-5, 4e-3), ("bfloat16", 1e-4, 3e-2)):
        path = tmp_path / f"{kind}.keras"
        signature = study(tensorflow_worker, path)
        sample = drawn(signature)
        (single,), (double,) = (
            answer(tensorflow_worker, path, signature, [sample], double=wide)["outputs"] for wide in (False, True)
        )
        (name,) = double
        assert (single[name].dtype, double[name].dtype) == (np.dtype("f2" if kind == "float16" else "f4"), np.float64)
        floor = float(np.abs(single[name] - double[name]).max() / np.abs(double[name]).max())
        assert least < floor < most


def test_what_has_no_float64_is_refused_by_name(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    path = tensorflow_models / "narrow"
    signature = study(tensorflow_worker, path)
    with pytest.raises(Unsupported, match="cannot run in float64, because of LRN"):
        answer(tensorflow_worker, path, signature, [drawn(signature)], double=True)


def test_a_sample_that_does_not_fit_is_told_and_the_others_answered(
    tensorflow_worker: Worker, tensorflow_models: Path
) -> None:
    path = tensorflow_models / "several"
    signature = study(tensorflow_worker, path, "encode")
    wrong = {"rows": np.zeros((2, 5), np.float32)}
    told = answer(tensorflow_worker, path, signature, [ROWS, wrong, {}, ROWS])
    assert [bool(error) for error in told["errors"]] == [False, True, True, False]
    np.testing.assert_array_equal(told["outputs"][0]["code"], told["outputs"][3]["code"])


def test_what_a_call_leaves_for_the_next_shows(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    path = tensorflow_models / "counted"
    signature = study(tensorflow_worker, path)
    one = {"x": np.ones(3, np.float32)}
    told = answer(tensorflow_worker, path, signature, [one, one], twice=True)
    assert [float(each["total"][0]) for each in (*told["outputs"], *told["again"])] == [2, 4, 8, 6]


def test_bound_calls_answer_as_runs_do(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    path = tensorflow_models / "several"
    signature = study(tensorflow_worker, path, "encode")
    samples = [{"rows": ROWS["rows"] * factor} for factor in (1, -2)]
    told = {"runtime": ADAPTER, "path": str(path), "signature": signature, "settings": {}, "samples": samples}
    handle = tensorflow_worker.call("dlconv.workers.timing:opened", keep=True, **told)
    for kept in (0, 1):
        tensorflow_worker.call(f"#{handle}.burst", runs=4, offset=0, kept=kept, rewarm_s=0.0)
    answers = tensorflow_worker.call(f"#{handle}.answers")
    assert answers["samples"] == [0, 1]
    for timed, untimed, sample in zip(answers["timed"], answers["untimed"], samples, strict=True):
        np.testing.assert_array_equal(timed["code"], untimed["code"])
        np.testing.assert_allclose(timed["code"], np.tanh(sample["rows"] @ EXACT), rtol=0, atol=1e-6)


def test_a_lambda_runs_only_with_trust(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    path = tensorflow_models / "keras_lambda.keras"
    signature = study(tensorflow_worker, path, trust=True)
    sample = drawn(signature)
    with pytest.raises((Unsupported, StepError), match="Lambda layer"):
        answer(tensorflow_worker, path, signature, [sample])
    assert not any(answer(tensorflow_worker, path, signature, [sample], trust=True)["errors"])


def test_a_model_is_described(tensorflow_worker: Worker, tensorflow_models: Path) -> None:
    told = tensorflow_worker.call(
        "dlconv.convert.tensorflow_signature:describe", path=str(tensorflow_models / "keras_pool.keras")
    )
    assert told["parameters"]["by_dtype"]["float32"] == 3 * 3 * 2 * 8 + 8 + 4 * 8 + 128 * 5 + 5
    assert told["operators"]["Conv2D"] == told["operators"]["MaxPool"] == 1
