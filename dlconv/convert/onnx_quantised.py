"""ONNX models that quantise what they are given anew in each call, as ONNX Runtime's dynamic quantisation writes them.

Two right implementations of such a model differ by a step here and there (`dlconv.validators.quantised`). One whose
scales stand in the file does not belong to them: its Q/DQ pairs are sums of floats, and round alike everywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dlconv.graphs.onnx_graph import nodes_of

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Signature, TensorSpec

_DYNAMIC: Final = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
"""ONNX's own, and those of the domain com.microsoft."""


def with_grids(model: Proto, signature: Signature) -> Signature:
    """The signature with a scale of 0.0, which each call finds, of its float tensors, where the model is such a one."""
    nodes = (node for holder in (model.graph, *model.functions) for node in nodes_of(holder))
    if not any(node.op_type in _DYNAMIC for node in nodes):
        return signature
    inputs, outputs = (tuple(_rounded(spec) for spec in specs) for specs in (signature.inputs, signature.outputs))
    return replace(signature, inputs=inputs, outputs=outputs)


def _rounded(spec: TensorSpec) -> TensorSpec:
    return replace(spec, scale=0.0) if spec.dtype.startswith("float") else spec
