"""ONNX models that compute on quantised activations: what their float inputs and outputs are rounded to.

Two right implementations of such a model differ by a step here and there (`dlconv.validators.quantised`). Where weights
alone are quantised, and dequantised before they are used, nothing is rounded that an input reaches.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from dlconv.graphs.onnx_graph import graphs_of, nodes_of

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Signature, TensorSpec

_STATIC: Final = "QuantizeLinear"
_ROUNDING: Final = frozenset({
    "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger",
    "QGemm", "QAttention", "QEmbedLayerNormalization", "QLinearAdd", "QLinearMul", "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul", "DynamicQuantizeLSTM",
})  # fmt: skip
"""ONNX's own, and those of the domain com.microsoft, that ONNX Runtime's quantiser writes."""


def with_grids(model: Proto, signature: Signature) -> Signature:
    """The signature with the scales of float tensors, where the model quantises activations: that of the quantiser that
    alone reads an input, of the dequantiser that makes an output, else 0.0. Scales that lie in another file are 0.0."""
    stored = {tensor.name: tensor for graph in graphs_of(model) for tensor in graph.initializer}
    stored |= {
        node.output[0]: attribute.t
        for node in nodes_of(model.graph)
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    nodes = [node for holder in (model.graph, *model.functions) for node in nodes_of(holder)]
    if not any(_rounds(node, stored) for node in nodes):
        return signature
    readers: dict[str, list[Proto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    makers = {name: node for node in nodes for name in node.output}

    def taken(spec: TensorSpec) -> TensorSpec:
        read = readers.get(spec.name, [])
        return _rounded(spec, read[0] if len(read) == 1 and read[0].op_type == _STATIC else None, stored)

    def given(spec: TensorSpec) -> TensorSpec:
        maker = makers.get(spec.name)
        is_dequantised = maker is not None and maker.op_type == "DequantizeLinear"
        return _rounded(spec, maker if is_dequantised else None, stored)

    return replace(
        signature,
        inputs=tuple(taken(spec) for spec in signature.inputs),
        outputs=tuple(given(spec) for spec in signature.outputs),
    )


def _rounds(node: Proto, stored: dict[str, Proto]) -> bool:
    return node.op_type in _ROUNDING or (node.op_type == _STATIC and node.input[0] not in stored)


def _rounded(spec: TensorSpec, node: Proto | None, stored: dict[str, Proto]) -> TensorSpec:
    if not spec.dtype.startswith("float"):
        return spec
    numbers = [_number(stored.get(name)) for name in node.input[1:3]] if node is not None else []
    if not numbers or None in numbers:
        return replace(spec, scale=0.0)
    scale, zero_point = (*numbers, 0)[:2]
    return replace(spec, scale=float(scale or 0.0), zero_point=int(zero_point or 0))


def _number(tensor: Proto | None) -> Any:
    """What a stored tensor of one element holds; None for others, and where it lies in another file."""
    if tensor is None or tensor.external_data:
        return None
    array = import_module("onnx.numpy_helper").to_array(tensor)
    return array.item() if array.size == 1 else None
