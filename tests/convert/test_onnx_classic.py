"""Operators of ai.onnx.ml written in ONNX's own: the answers are ONNX Runtime's of the operators themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv.convert import onnx_classic, onnx_to_openvino
from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_signature import read
from dlconv.errors import Unreachable, Unsupported
from dlconv.graphs import onnx_graph
from dlconv.model import Signature
from dlconv.workers import toolchains
from dlconv.workers.worker import Worker

pytestmark = pytest.mark.onnx

FLOAT, INT64 = 1, 7


def _model(kind: str, outputs: dict[str, int], opset: int = 17, features: int = 3, ml: int = 3, **told: Any) -> Any:
    from onnx import helper

    node = helper.make_node(kind, ["x"], list(outputs), domain="ai.onnx.ml", **told)
    taken = [helper.make_tensor_value_info("x", FLOAT, ["N", features])]
    given = [
        helper.make_tensor_value_info(name, dtype, ["N", "K"][: 2 if dtype == FLOAT else 1])
        for name, dtype in outputs.items()
    ]
    sets = [helper.make_opsetid("ai.onnx.ml", ml), *([helper.make_opsetid("", opset)] if opset else [])]
    return helper.make_model(helper.make_graph([node], "g", taken, given), opset_imports=sets, ir_version=8)


def _answers(model: Any, x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(answer) for answer in session.run(None, {"x": x})]


def _rows(missing: bool = False) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(0)
    rows = random.integers(-3, 4, size=(64, 3)).astype(np.float32) / 2  # many lie on a threshold
    return np.where(random.random(rows.shape) < 0.2, np.nan, rows).astype(np.float32) if missing else rows


def _same(model: Any, rows: np.ndarray[Any, Any], varied: int = 2) -> Any:
    import onnx

    wanted = _answers(model, rows)
    onnx_classic.spell_out(model, "a target")
    onnx.checker.check_model(model, full_check=True)
    assert not any(node.domain for node in model.graph.node)
    for one, other in zip(wanted, _answers(model, rows), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-6)
        assert len(np.unique(one[~np.isnan(one)])) >= varied
    return model


def _trees(mode: str, missing: bool = False) -> dict[str, Any]:
    """Two trees: one of two levels, whose nodes are in no order but for the root, and one of one."""
    leaf = "LEAF"
    return {
        "nodes_treeids": [0, 0, 0, 0, 0, 4, 4, 4],
        "nodes_nodeids": [0, 3, 1, 2, 4, 0, 1, 2],
        "nodes_featureids": [1, 0, 2, 0, 0, 0, 0, 0],
        "nodes_values": [0.5, 0.0, -0.5, 0.0, 0.0, 1.0, 0.0, 0.0],
        "nodes_modes": [mode, leaf, mode, leaf, leaf, mode, leaf, leaf],
        "nodes_truenodeids": [1, 0, 3, 0, 0, 1, 0, 0],
        "nodes_falsenodeids": [2, 0, 4, 0, 0, 2, 0, 0],
        "nodes_missing_value_tracks_true": [int(missing), 0, 0, 0, 0, int(missing), 0, 0],
    }


def _leaves(kind: str, ids: list[int], weights: list[float]) -> dict[str, Any]:
    """What the five leaves give."""
    return {
        f"{kind}_treeids": [0, 0, 0, 4, 4],
        f"{kind}_nodeids": [3, 4, 2, 1, 2],
        f"{kind}_ids": ids,
        f"{kind}_weights": weights,
    }


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_regression_forest(mode: str, missing: bool) -> None:
    leaves = _leaves("target", [0, 0, 0, 1, 1], [1.0, -2.0, 3.5, 0.25, 7.0])
    told = {**_trees(mode, missing), **leaves, "n_targets": 2, "base_values": [0.5, -1.0]}
    _same(_model("TreeEnsembleRegressor", {"y": FLOAT}, **told), _rows(missing=True))


def test_a_base_of_what_not_every_leaf_gives_is_left_to_onnx_runtime() -> None:
    leaves = _leaves("target", [0, 1, 0, 0, 0], [1.0, -2.0, 3.5, 0.25, 7.0])
    told = {**_trees("BRANCH_LEQ"), **leaves, "n_targets": 2}
    _same(_model("TreeEnsembleRegressor", {"y": FLOAT}, **told), _rows())
    with pytest.raises(Unreachable):
        onnx_classic.spell_out(_model("TreeEnsembleRegressor", {"y": FLOAT}, **told, base_values=[0.5, -1.0]), "TFLite")


@pytest.mark.parametrize("how", ["SUM", "AVERAGE"])
def test_trees_are_summed_or_averaged(how: str) -> None:
    leaves = _leaves("target", [0] * 5, [1.0, -2.0, 3.5, 0.25, 7.0])
    told = {**_trees("BRANCH_LEQ"), **leaves, "n_targets": 1, "aggregate_function": how}
    _same(_model("TreeEnsembleRegressor", {"y": FLOAT}, opset=9, **told), _rows())


@pytest.mark.parametrize("after", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_a_classifying_forest(after: str) -> None:
    leaves = _leaves("class", [0, 1, 2, 1, 0], [1.0, 2.0, 3.5, 0.25, 0.75])
    told = {**_trees("BRANCH_LEQ"), **leaves, "classlabels_int64s": [7, 3, 5], "post_transform": after}
    _same(_model("TreeEnsembleClassifier", {"label": INT64, "scores": FLOAT}, **told), _rows())


@pytest.mark.parametrize(
    ("weights", "after", "base"),
    [
        ([0.1, 0.4, 0.2, 0.05, 0.3], "NONE", []),
        ([1.0, -2.0, 0.5, 0.25, -0.75], "LOGISTIC", [0.25]),
        ([1.0, -2.0, 0.5, 0.25, -0.75], "NONE", []),
    ],
)
def test_two_classes_by_one_score(weights: list[float], after: str, base: list[float]) -> None:
    leaves = _leaves("class", [0] * 5, weights)
    told = {**_trees("BRANCH_LT"), **leaves, "classlabels_int64s": [4, 9], "post_transform": after}
    model = _model("TreeEnsembleClassifier", {"label": INT64, "scores": FLOAT}, **told, base_values=base or None)
    _same(model, _rows())


def test_a_model_without_operators_of_onnxs_own_gets_their_opset() -> None:
    leaves = _leaves("target", [0] * 5, [1.0, -2.0, 3.5, 0.25, 7.0])
    told = {**_trees("BRANCH_LEQ"), **leaves, "n_targets": 1}
    model = _same(_model("TreeEnsembleRegressor", {"y": FLOAT}, opset=0, **told), _rows())
    assert onnx_graph.opset_of(model) == 13


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("Scaler", {"offset": [1.0, 2.0, -3.0], "scale": [0.5, 2.0, 3.0]}),
        ("Scaler", {"offset": [1.0], "scale": [0.5]}),
        ("LinearRegressor", {"coefficients": [1.0, 2.0, 3.0, -1.0, 0.5, 0.0], "intercepts": [1.0, -1.0], "targets": 2}),
        ("Normalizer", {"norm": "L1"}),
        ("Normalizer", {"norm": "L2"}),
        ("Binarizer", {"threshold": 0.5}),
        ("Imputer", {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": 0.5}),
    ],
)
@pytest.mark.parametrize("opset", [9, 17, 20])
def test_numbers_in_numbers_out(kind: str, told: dict[str, Any], opset: int) -> None:
    rows = _rows()
    rows[3] = 0.0  # of no length
    _same(_model(kind, {"y": FLOAT}, opset=opset, **told), rows)


def test_a_missing_number_is_imputed() -> None:
    told = {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": float("nan")}
    _same(_model("Imputer", {"y": FLOAT}, **told), _rows(missing=True))


@pytest.mark.parametrize("after", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_a_linear_classifier(after: str) -> None:
    told = {"coefficients": [1.0, 0.0, 0.5, -1.0, 2.0, 0.0, 0.5, 0.5, -2.0], "intercepts": [0.1, 0.2, 0.3]}
    outputs = {"label": INT64, "scores": FLOAT}
    _same(_model("LinearClassifier", outputs, **told, classlabels_ints=[5, 1, 8], post_transform=after), _rows())


@pytest.mark.parametrize("is_list", [False, True])
def test_elements_are_picked(is_list: bool) -> None:
    from onnx import helper, numpy_helper

    places = numpy_helper.from_array(np.array([2, 0]), "places")
    table = numpy_helper.from_array(np.array([3.0, 4.0, 5.0], np.float32), "table")
    data = "table" if is_list else "x"
    nodes = [
        helper.make_node("ArrayFeatureExtractor", [data, "places"], ["picked"], domain="ai.onnx.ml"),
        helper.make_node("ReduceSum", ["x"], ["all"], keepdims=1),
        helper.make_node("Add", ["picked", "all"], ["y"]),
    ]
    taken, given = (
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", 1, ["N", 2])],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph(nodes, "g", taken, given, [places, table])
    _same(helper.make_model(graph, opset_imports=sets, ir_version=8), _rows())


def test_a_tree_whose_root_does_not_come_first_is_left_to_onnx_runtime() -> None:
    told = {**_trees("BRANCH_LEQ"), **_leaves("target", [0] * 5, [1.0, -2.0, 3.5, 0.25, 7.0]), "n_targets": 1}
    turned = {name: [values[1], values[0], *values[2:]] if name.startswith("nodes_") else values
              for name, values in told.items() if isinstance(values, list)}  # fmt: skip
    with pytest.raises(Unreachable):
        onnx_classic.spell_out(_model("TreeEnsembleRegressor", {"y": FLOAT}, **{**told, **turned}), "TFLite")


def test_what_cannot_be_written_so_is_refused_for_the_target() -> None:
    model = _model("LabelEncoder", {"y": INT64}, keys_floats=[1.0, 2.0], values_int64s=[1, 2])
    with pytest.raises(Unreachable, match=r"OpenVINO has nothing for .* LabelEncoder") as caught:
        onnx_classic.spell_out(model, "OpenVINO")
    assert "leave OpenVINO out" in caught.value.mend and "TreeEnsembleRegressor" in caught.value.wanted


def test_classes_that_are_strings_are_refused_with_what_would_do() -> None:
    leaves = _leaves("class", [0, 1, 2, 1, 0], [1.0, 2.0, 3.5, 0.25, 0.75])
    told = {**_trees("BRANCH_LEQ"), **leaves, "classlabels_strings": ["a", "b", "c"]}
    model = _model("TreeEnsembleClassifier", {"label": 8, "scores": FLOAT}, **told)
    with pytest.raises(Unreachable) as caught:
        onnx_classic.spell_out(model, "TFLite")
    assert "whole numbers as classes" in caught.value.mend


def test_maps_are_refused_with_the_word_that_leaves_them_out() -> None:
    from onnx import helper

    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, [])))
    model = _model("ZipMap", {"y": FLOAT}, classlabels_int64s=[0, 1, 2])
    model.graph.output[0].CopyFrom(helper.make_value_info("y", maps))
    with pytest.raises(Unsupported, match="'y' is a sequence") as caught:
        onnx_graph.signature_of(model)
    assert "'zipmap': False" in caught.value.mend


def _step(folder: Path) -> Step:
    import onnx

    leaves = _leaves("class", [0, 1, 2, 1, 0], [1.0, 2.0, 3.5, 0.25, 0.75])
    told = {
        **_trees("BRANCH_LEQ", missing=True),
        **leaves,
        "classlabels_int64s": [7, 3, 5],
        "post_transform": "SOFTMAX",
    }
    onnx.save(_model("TreeEnsembleClassifier", {"label": INT64, "scores": FLOAT}, **told), str(folder / "model.onnx"))
    (folder / "out").mkdir()
    signature = Signature.from_dict(read(str(folder / "model.onnx"))["signature"])
    return Step(folder / "model.onnx", folder / "out", signature, {"x": _rows()})


@pytest.mark.openvino
def test_openvino_runs_a_forest(tmp_path: Path) -> None:
    import onnx

    from dlconv.runtimes import openvino

    step = _step(tmp_path)
    made = onnx_to_openvino.convert(step)
    assert made.notes == ("1 operators of ai.onnx.ml written in ONNX's own",)
    got = openvino.open(step.out_dir / made.entry, made.signature, {}).run({"x": _rows(missing=True)})
    label, scores = _answers(onnx.load(str(step.source)), _rows(missing=True))
    assert (got["label"] == label).all()
    np.testing.assert_allclose(got["scores"], scores, rtol=0, atol=1e-6)


@pytest.mark.onnx2tf
@pytest.mark.tflite
def test_tflite_runs_a_forest(tmp_path: Path) -> None:
    import onnx

    from dlconv.runtimes import tflite

    step, located = _step(tmp_path), toolchains.locate(toolchains.get("onnx2tf"))
    assert isinstance(located, toolchains.Located)
    with Worker(located.interpreter, "onnx2tf", tmp_path / "onnx2tf.log", timeout_s=120) as worker:
        told = worker.call("dlconv.workers.tasks:run_edge", module="dlconv.convert.onnx_to_tflite", step=step.to_dict())
    made = Made.from_dict(told["made"])
    got = tflite.open(step.out_dir / made.entry, made.signature, {"threads": 1}).run({"x": _rows(missing=True)})
    label, scores = _answers(onnx.load(str(step.source)), _rows(missing=True))
    assert (got["label"] == label).all()
    np.testing.assert_allclose(got["scores"], scores, rtol=0, atol=1e-6)
