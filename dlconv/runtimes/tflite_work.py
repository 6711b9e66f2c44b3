"""How the time of a TFLite model is shared out, estimated: its interpreter for Python gives no profile."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.runtimes import tflite_flatbuffer
from dlconv.runtimes.work import Work, estimated

if TYPE_CHECKING:
    from dlconv.runtimes.tflite_flatbuffer import FlatGraph, FlatOperator, FlatTensor

_BITS: Final = {"int4": 4, "uint4": 4, "int2": 2, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8}


def guessed(path: str) -> dict[str, Any]:
    """{"nodes": [[operator, node, share of the time from 0 to 1], ...]} of the main graph, a node named for its first
    output. Free sizes are 1; an operator that holds a graph (IF, WHILE) counts without it."""
    graph = tflite_flatbuffer.load(Path(path)).graphs[0]
    works = [work_of(operator, graph) for operator in graph.operators]
    return {"nodes": estimated(works)}


def work_of(operator: FlatOperator, graph: FlatGraph) -> Work:
    """What one operator of the graph has to do."""
    read = [graph.tensors[number] for number in operator.inputs if number >= 0]
    made = [graph.tensors[number] for number in operator.outputs if number >= 0]
    elements, factor = sum(map(_elements, made)), 1
    if len(read) > 1:
        first, second = read[0].shape, read[1].shape
        if operator.name in ("CONV_2D", "CONV_3D", "FULLY_CONNECTED") and second:
            # A filter is [out, ..., in] in two dimensions and for layers, [..., in, out] in three.
            factor = 2 * (prod(second[:-1]) if operator.name == "CONV_3D" else prod(second[1:]))
        elif operator.name == "DEPTHWISE_CONV_2D":
            factor = 2 * prod(second[1:3])
        elif operator.name == "TRANSPOSE_CONV" and len(read) > 2:
            elements, factor = _elements(read[2]), 2 * prod(second[:-1])
        elif operator.name == "BATCH_MATMUL" and first:
            factor = 2 * max(first[-1], 1)
    name = made[0].name if made else ""
    return Work(operator.name, name, elements * factor, sum(map(_size_bytes, (*read, *made))))


def _elements(tensor: FlatTensor) -> int:
    return prod(max(size, 1) for size in tensor.shape)


def _size_bytes(tensor: FlatTensor) -> int:
    if tensor.dtype in ("string", "resource", "variant"):
        return 0
    return _elements(tensor) * (_BITS.get(tensor.dtype) or 8 * np.dtype(tensor.dtype).itemsize) // 8
