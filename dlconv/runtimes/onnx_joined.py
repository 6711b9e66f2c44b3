"""Activations that an int8 implementation computes in one with what they read: only what comes after them is rounded.

ONNX Runtime's quantiser leaves such a node out and lets the grid of its output clip instead; OpenVINO, TFLite and
TensorRT have it as the last step of their convolutions, products and sums.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from dlconv.graphs.onnx_clean import reads_of
from dlconv.runtimes.onnx_int8_operators import WEIGHED

if TYPE_CHECKING:
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode

_ACTIVATIONS: Final = frozenset({"Clip", "Relu"})
_MAKERS: Final = frozenset({*WEIGHED, "Add", "Mul"})


def joined(plan: Plan) -> list[tuple[PlannedNode, PlannedNode]]:
    """Each node whose only reader is such an activation, with the activation; of the plan and those within it."""
    reads = Counter(name for node in plan.nodes for name in reads_of(node.proto))
    reads.update(plan.outputs)
    makers = {node.outputs[0]: node for node in plan.nodes if node.kind in _MAKERS and reads[node.outputs[0]] == 1}
    found = [
        (makers[node.inputs[0]], node) for node in plan.nodes if node.kind in _ACTIVATIONS and node.inputs[0] in makers
    ]
    return found + [pair for node in plan.nodes for body in node.bodies.values() for pair in joined(body)]
