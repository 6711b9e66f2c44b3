"""Models of tables, as skl2onnx writes them, through `dlconv export`: drawn rows, every target, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.onnx, pytest.mark.openvino, pytest.mark.tflite, pytest.mark.onnx2tf]


def forest(folder: Path, **classes: Any) -> Path:
    """Twelve trees of one question each on three columns that lie around 1000, three classes; labels of one row, as
    LightGBM's converter declares them."""
    import onnx
    from onnx import helper

    random = np.random.default_rng(3)
    trees = range(12)
    each = {
        "nodes_treeids": lambda tree: [tree] * 3,
        "nodes_nodeids": lambda _: [0, 1, 2],
        "nodes_featureids": lambda tree: [tree % 3, 0, 0],
        "nodes_values": lambda _: [float(random.normal(1000, 30)), 0.0, 0.0],
        "nodes_modes": lambda _: ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": lambda _: [1, 0, 0],
        "nodes_falsenodeids": lambda _: [2, 0, 0],
        "class_treeids": lambda tree: [tree] * 6,
        "class_nodeids": lambda _: [1, 1, 1, 2, 2, 2],
        "class_ids": lambda _: [0, 1, 2] * 2,
        "class_weights": lambda _: random.random(6).tolist(),
    }
    told = {name: [value for tree in trees for value in made(tree)] for name, made in each.items()}
    kind = 8 if "classlabels_strings" in classes else 7
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", **told, **classes
    )
    given = [helper.make_tensor_value_info("label", kind, [1]), helper.make_tensor_value_info("scores", 1, ["N", 3])]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, ["N", 3])], given)
    sets = [helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), str(folder / "forest.onnx"))
    return folder / "forest.onnx"


def test_a_forest_reaches_every_target_on_drawn_rows(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    source = forest(tmp_path, classlabels_int64s=[4, 5, 7])
    ran = dlconv("export", source, "--to", "onnx,onnxruntime,openvino,tflite", "-o", tmp_path, "--json", "-")
    assert ran.code == 0, ran.out + ran.err
    assert [outcome["verdict"]["word"] for outcome in ran.data["outcomes"]] == ["PASS"] * 4
    again = dlconv("verify", tmp_path / "forest-openvino-fp32")
    assert again.code == 0, again.out + again.err


def test_trees_are_not_rounded(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    ran = dlconv("export", forest(tmp_path, classlabels_int64s=[4, 5, 7]), "--to", "tflite", "--fp16", "-o", tmp_path)
    assert ran.code == 4
    assert "decision trees (TreeEnsembleClassifier) has nothing to compute in fp16" in ran.err


def test_classes_that_are_strings(dlconv: Callable[..., Any], tmp_path: Path) -> None:
    source = forest(tmp_path, classlabels_strings=["a", "bb", "ccc"])
    ran = dlconv("export", source, "--to", "onnxruntime,openvino", "-o", tmp_path, "--json", "-")
    assert ran.code == 4
    made, refused = ran.data["outcomes"]
    assert made["verdict"]["word"] == "PASS"
    assert refused["error"]["code"] == "unreachable"
    assert not refused["error"]["problems"]
