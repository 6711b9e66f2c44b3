"""Operators of TensorFlow that tf2onnx 1.17 lacks, written in ONNX exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Handler = Callable[[Any, Any, str, list[Any]], None]
"""Takes tf2onnx's graph, the node, its name and arguments; puts ONNX nodes in the node's place."""


def handlers() -> dict[str, tuple[Handler, list[Any]]]:
    """By TensorFlow's name of the operator, as tf2onnx takes them."""
    return {"Erfc": (_erfc, [])}


def _erfc(graph: Any, node: Any, name: str, _: list[Any]) -> None:
    """erfc(x) = 1 - erf(x)."""
    dtype = graph.get_dtype(node.output[0])
    shape = graph.get_shape(node.output[0])
    graph.remove_node(name)
    one = graph.make_const(f"{name}_one", np.array(1, _numpy(dtype)))
    erf = graph.make_node("Erf", node.input, dtypes=[dtype], shapes=[shape])
    graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=node.output, dtypes=[dtype], shapes=[shape])


def _numpy(dtype: int) -> Any:
    from tf2onnx import utils

    return utils.map_onnx_to_numpy_type(dtype)
