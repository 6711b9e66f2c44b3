"""What of an ONNX file is in which precision: see `account`."""

from __future__ import annotations

from importlib import import_module
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.graphs.onnx_graph import DTYPES, empty_weights, nodes_of, read_model, tensors_of
from dlconv.runtimes import account

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_CASTS = {"Cast", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Constant", "Identity"}
_INT8 = ("QLinear", "QGemm", "QAttention", "Integer", "QOrdered")
"""In the names of ONNX Runtime's operators that compute in 8 bits."""


def of(path: Path) -> dict[str, Any]:
    """The account of the model at `path`. An operator that takes two dequantised tensors is int8: that is what Q/DQ say
    to every runtime; others are in the dtype that they give, as shape inference or their inputs tell."""
    model = read_model(path)
    weights = [(DTYPES.get(tensor.data_type, ""), prod(tensor.dims)) for tensor in tensors_of(model)]
    known = _dtypes_of(model)
    restored = {name for node in nodes_of(model.graph) if node.op_type == "DequantizeLinear" for name in node.output}
    stored = {name for node in nodes_of(model.graph) if node.op_type == "DequantizeLinear"
              and known.get(f"={node.input[0]}") for name in node.output}  # fmt: skip
    operators = []
    for node in nodes_of(model.graph):
        if node.op_type in _CASTS:
            continue
        dtype = _dtype_of(node, known, restored, stored)
        if dtype in ("float32", "float16", "float64", "bfloat16", "int8"):
            operators.append((str(node.op_type), dtype))
    return account.made(operators, weights)


def is_int8(operator: str) -> bool:
    """Whether ONNX Runtime's operator of this name computes in 8 bits."""
    return any(mark in operator for mark in _INT8)


def _dtype_of(node: Proto, known: dict[str, str], restored: set[str], stored: set[str]) -> str:
    if is_int8(node.op_type):
        return "int8"
    read = [name for name in node.input if name]
    # Dequantised weights beside a float activation are storage alone.
    if any(name in restored and name not in stored for name in read[:1]) and all(n in restored for n in read[:2]):
        return "int8"
    return next((known[name] for name in (*node.output, *read) if name in known), "")


def _dtypes_of(model: Proto) -> dict[str, str]:
    """The dtype of each tensor that is known; "=NAME" is there for one that is stored."""
    onnx: Any = import_module("onnx")
    known = {tensor.name: DTYPES.get(tensor.data_type, "") for tensor in model.graph.initializer}
    known |= {f"={tensor.name}": "stored" for tensor in model.graph.initializer}
    empty_weights(model)
    inferred = onnx.shape_inference.infer_shapes(model)
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        known[value.name] = DTYPES.get(value.type.tensor_type.elem_type, "")
    return known
