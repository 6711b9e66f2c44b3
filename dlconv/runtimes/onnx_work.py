"""How the time of an ONNX model is shared out, estimated by its operators' work: for one that cannot be run."""

from __future__ import annotations

from importlib import import_module
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.graphs.onnx_graph import DTYPES, empty_weights, inputs_of, read_model
from dlconv.runtimes.work import Work, estimated

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto


def guessed(path: str) -> dict[str, Any]:
    """{"nodes": [[operator, node, share of the time from 0 to 1], ...]} of the main graph. Free sizes are 1; a tensor
    whose shape inference does not find counts nothing; an operator that holds a graph counts without it."""
    model = read_model(Path(path))
    empty_weights(model)
    for value in inputs_of(model.graph):
        for dim in value.type.tensor_type.shape.dim:
            dim.dim_value = dim.dim_value or 1
    inference: Any = import_module("onnx.shape_inference")
    graph = inference.infer_shapes(model, data_prop=True).graph
    known: dict[str, tuple[tuple[int, ...], str]] = {
        value.name: (
            tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim),
            DTYPES.get(value.type.tensor_type.elem_type, ""),
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    known |= {each.name: (tuple(each.dims), DTYPES.get(each.data_type, "")) for each in graph.initializer}
    works = [_work_of(node, known) for node in graph.node if node.op_type != "Constant"]
    return {"nodes": estimated(works)}


def _work_of(node: Proto, known: dict[str, tuple[tuple[int, ...], str]]) -> Work:
    read = [known[name] for name in node.input if name in known]
    made = [known[name] for name in node.output if name in known]
    elements = sum(prod(shape) for shape, _ in made)
    size_bytes = sum(prod(shape) * _width(dtype) for shape, dtype in (*read, *made))
    shapes = [shape for shape, _ in read]
    factor = 1
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
        # 2 operations for each weight of a filter, for each element of the output.
        place = 3 if node.op_type == "QLinearConv" else 1
        factor = 2 * prod(shapes[place][1:]) if len(shapes) > place else 1
    elif node.op_type == "ConvTranspose" and len(shapes) > 1:
        # Each element of the input meets the whole of its filters: those of the output, for each channel.
        elements, factor = prod(shapes[0]), 2 * prod(shapes[1][1:])
    elif node.op_type in ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul") and shapes and shapes[0]:
        transposed = any(each.name == "transA" and each.i for each in node.attribute)
        factor = 2 * shapes[0][0 if transposed else -1]
    return Work(node.op_type, node.name or (node.output[0] if node.output else ""), elements * factor, size_bytes)


def _width(dtype: str) -> int:
    """Bytes of an element."""
    if dtype in ("bfloat16", ""):
        return 2 if dtype else 0
    try:
        return np.dtype(dtype).itemsize
    except TypeError:  # of 8 bits or less: int4, float8_e4m3fn
        return 1
