"""Where a table's columns lie: read from the scalers and the trees that were fitted on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlconv.convert.onnx_features import features_of

pytestmark = pytest.mark.onnx

STUMPS = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2],
    "nodes_featureids": [1, 0, 0, 1, 0, 0],
    "nodes_values": [100.0, 7.0, 7.0, 300.0, 7.0, 7.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
    "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
    "target_treeids": [0, 0, 1, 1],
    "target_nodeids": [1, 2, 1, 2],
    "target_ids": [0] * 4,
    "target_weights": [1.0, 2.0, 3.0, 4.0],
    "n_targets": 1,
}


def _model(*nodes: tuple[str, str, str, str, dict[str, Any]], kind: int = 1) -> Any:
    from onnx import helper

    made = [helper.make_node(op, [x], [y], domain=domain, **told) for op, x, y, domain, told in nodes]
    taken = [helper.make_tensor_value_info("x", kind, ["N", 3])]
    return helper.make_model(helper.make_graph(made, "g", taken, [helper.make_tensor_value_info("y", 1, ["N", 1])]))


def test_columns_lie_around_what_trees_ask_of_them() -> None:
    cast = ("Cast", "x", "c", "", {"to": 1})
    model = _model(cast, ("TreeEnsembleRegressor", "c", "y", "ai.onnx.ml", STUMPS), kind=11)
    assert features_of(model) == {"x": [[0.0, 200.0, 0.0], [1.0, 100.0, 1.0]]}


def test_a_scaler_before_them_says_it_better() -> None:
    scaler = ("Scaler", "x", "s", "ai.onnx.ml", {"offset": [1.0, 2.0, 3.0], "scale": [0.5, 0.0, 2.0]})
    model = _model(scaler, ("TreeEnsembleRegressor", "s", "y", "ai.onnx.ml", STUMPS))
    middle, width = features_of(model)["x"]
    np.testing.assert_allclose(middle, [1, 2, 3])
    np.testing.assert_allclose(width, [2, 1, 0.5])


def test_nothing_is_known_of_other_inputs() -> None:
    assert features_of(_model(("Relu", "x", "y", "", {}))) == {}
    assert features_of(_model(("Relu", "x", "r", "", {}), ("Scaler", "r", "y", "ai.onnx.ml", {"offset": [1.0]}))) == {}
    assert features_of(_model(("Scaler", "x", "y", "ai.onnx.ml", {"offset": [1.0, 2.0]}))) == {}
