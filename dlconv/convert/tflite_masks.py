"""Masks in a TFLite file: what is made of numbers so large that 8 bits hold nothing beside them, until a softmax."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np

_LARGE: Final = 1e4
"""Masks are -3.4e38, -inf, -1e9 or, of old, -10000: beside it a step of 8 bits is 40, and scores are within that."""
_CARRIES: Final = frozenset({
    "ADD", "BROADCAST_TO", "CONCATENATION", "EXPAND_DIMS", "GATHER", "MAXIMUM", "MINIMUM", "MUL", "RESHAPE", "SELECT",
    "SELECT_V2", "SLICE", "SQUEEZE", "STRIDED_SLICE", "SUB", "TILE", "TRANSPOSE",
})  # fmt: skip


def masks(content: bytes) -> set[str]:
    """The names of the tensors by which such numbers come to a softmax; none of a file without one."""
    flat: Any = import_module("ai_edge_litert.tools.flatbuffer_utils")
    schema: Any = import_module("ai_edge_litert.schema_py_generated")
    told = flat.read_model_from_bytearray(bytearray(content))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    kinds = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in told.operatorCodes]
    found: set[str] = set()
    for graph in told.subgraphs:
        operators = [(kinds[each.opcodeIndex], each) for each in graph.operators]
        if all(kind != "SOFTMAX" for kind, _ in operators):
            continue
        large = {number for number, tensor in enumerate(graph.tensors) if _is_large(told, schema, tensor)}
        for kind, each in operators:  # in the order of computation
            if kind in _CARRIES and large.intersection(each.inputs):
                large.update(each.outputs)
                found.update(graph.tensors[number].name.decode() for number in each.outputs)
    return found


def _is_large(told: Any, schema: Any, tensor: Any) -> bool:
    data = told.buffers[tensor.buffer].data
    if data is None or tensor.type != schema.TensorType.FLOAT32:
        return False
    values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
    return bool(values.size and np.abs(values).max() >= _LARGE)
