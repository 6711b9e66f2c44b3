"""What of a TFLite file is in which precision: see `account`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from dlconv.runtimes import account

if TYPE_CHECKING:
    from dlconv.runtimes.tflite_flatbuffer import FlatModel

_CASTS = {"CAST", "QUANTIZE", "DEQUANTIZE"}


def of(model: FlatModel) -> dict[str, Any]:
    """The account of a file. An operator is in the dtype of its first output; int8 where that is quantised."""
    operators = [
        (operator.name, graph.tensors[operator.outputs[0]].dtype)
        for graph in model.graphs
        for operator in graph.operators
        if operator.name not in _CASTS and operator.outputs
    ]
    weights = [
        (tensor.dtype, prod(tensor.shape))
        for graph in model.graphs
        for tensor in graph.tensors
        if tensor.is_stored and (tensor.scale or tensor.dtype.startswith("float"))
    ]
    return account.made(operators, weights)
