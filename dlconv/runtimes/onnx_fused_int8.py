"""ONNX Runtime's own int8 operators, shown as what they stand for: of a tensor that one makes, the float that it means.

In a model that ONNX Runtime has optimised, Q/DQ have become operators whose outputs are integers of other names, with
the channels last. The constant that scales one is still called after the tensor that was quantised ("NAME_scale").
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_SCALE_AT: Final = {
    "QLinearConv": 6, "QLinearMatMul": 6, "QLinearAdd": 6, "QLinearMul": 6, "QGemm": 7, "QLinearSigmoid": 3,
    "QLinearLeakyRelu": 3, "QLinearGlobalAveragePool": 3, "QLinearAveragePool": 3, "QLinearSoftmax": 3,
    "QLinearConcat": 0, "QLinearWhere": 7,
}  # fmt: skip
"""The place of the output's scale among the inputs; its zero point follows."""
_SUFFIX: Final = "_scale"


def unfold(model: Proto) -> None:
    """After each such operator put a DequantizeLinear, whose output has the name of the tensor that it stands for and
    its axes, and a QuantizeLinear that gives the readers the very integers back.

    Left as they are: where a scale has another name, or is that of several tensors.
    """
    graph = model.graph
    known = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    scales = [_scale_of(node) for node in graph.node]
    nodes = list(graph.node)
    del graph.node[:]
    for node, scale in zip(nodes, scales, strict=True):
        meant = scale.removesuffix(_SUFFIX)
        is_clear = scale.endswith(_SUFFIX) and scales.count(scale) == 1 and meant not in known
        graph.node.extend([node, *_shown(node, meant)] if is_clear else [node])


def _scale_of(node: Proto) -> str:
    place = _SCALE_AT.get(node.op_type)
    return "" if place is None else str(node.input[place])


def _shown(node: Proto, meant: str) -> list[Proto]:
    """From what the operator makes, which is called otherwise now, to `meant`, and back to what its readers know."""
    helper: Any = import_module("onnx.helper")
    step = list(node.input[_SCALE_AT[node.op_type] :][:2])
    known, made = str(node.output[0]), f"{node.output[0]}/made"
    node.output[0] = made
    if not _is_turned(node):
        return [
            helper.make_node("DequantizeLinear", [made, *step], [meant]),
            helper.make_node("QuantizeLinear", [meant, *step], [known]),
        ]
    return [
        helper.make_node("DequantizeLinear", [made, *step], [f"{meant}/last"]),
        helper.make_node("Transpose", [f"{meant}/last"], [meant], perm=[0, 3, 1, 2]),
        helper.make_node("Transpose", [meant], [f"{meant}/again"], perm=[0, 2, 3, 1]),
        helper.make_node("QuantizeLinear", [f"{meant}/again", *step], [known]),
    ]


def _is_turned(node: Proto) -> bool:
    """Whether its channels are last; such operators are of pictures, whose tensors have four axes."""
    return any(item.name == "channels_last" and item.i for item in node.attribute)
