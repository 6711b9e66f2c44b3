"""Where the columns of a table lie, as the model that was fitted on it tells: by its scalers and by what its trees ask.

Numbers drawn elsewhere all fall on one side of every threshold, and could show no fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_rewriting import attributes_of
from dlconv.convert.onnx_trees import TREES
from dlconv.graphs import onnx_graph

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_DOMAIN = "ai.onnx.ml"
_KEEPS_VALUES = {"Cast", "Identity", "Imputer"}


def features_of(model: Proto) -> dict[str, list[list[float]]]:
    """The middle and the width of each column, two lists, by the name of the input [N, columns] of floats."""
    found: dict[str, list[list[float]]] = {}
    for spec in onnx_graph.signature_of(model).inputs:
        columns = spec.shape[-1] if spec.shape else None
        if spec.dtype in ("float32", "float64") and isinstance(columns, int):
            node = _reader(model, spec.name)
            lies = None if node is None else (_scaled if node.op_type == "Scaler" else _asked)(node, columns)
            if lies is not None:
                found[spec.name] = [np.asarray(each, float).tolist() for each in lies]
    return found


def _reader(model: Proto, name: str) -> Proto | None:
    """The first scaler or ensemble of trees that reads the input as it is."""
    names = {name}
    for node in model.graph.node:
        if not names.intersection(node.input[:1]):
            continue
        if node.domain == _DOMAIN and node.op_type in ("Scaler", *TREES):
            return node
        if node.op_type in _KEEPS_VALUES:
            names.update(node.output)
    return None


def _scaled(node: Proto, columns: int) -> tuple[Any, Any] | None:
    told = attributes_of(node)
    offset, scale = (np.array(told.get(name, [neutral])) for name, neutral in (("offset", 0.0), ("scale", 1.0)))
    if offset.size not in (1, columns) or scale.size not in (1, columns):
        return None
    width = 1 / np.where(scale == 0, 1, np.abs(scale))
    return np.broadcast_to(offset, columns), np.broadcast_to(width, columns)


def _asked(node: Proto, columns: int) -> tuple[Any, Any] | None:
    told = attributes_of(node)
    if not told.get("nodes_values"):
        return None
    middle, width = np.zeros(columns), np.ones(columns)
    branches = np.array([mode != b"LEAF" for mode in told["nodes_modes"]])
    asked, values = np.array(told["nodes_featureids"])[branches], np.array(told["nodes_values"], float)[branches]
    for column in set(asked.tolist()) & set(range(columns)):
        bounds = values[asked == column]
        middle[column] = bounds.mean()
        width[column] = bounds.std() or abs(bounds.mean()) / 2 or 1.0
    return middle, width
