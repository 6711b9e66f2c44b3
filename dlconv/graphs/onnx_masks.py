"""What a softmax reads by a sum: where attention adds its mask. Beside a mask's -3.4e38 no score is left in 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dlconv.graphs.onnx_clean import reads_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.graphs.onnx_graph import Proto

_CARRIES: Final = frozenset({
    "Add", "And", "Cast", "Clip", "Concat", "Div", "Equal", "Expand", "Gather", "Greater", "Less", "Max", "Min", "Mul",
    "Neg", "Not", "Or", "Reshape", "Slice", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""What masks are made of, and scores scaled by."""


def before_softmax(nodes: Sequence[Proto]) -> set[str]:
    """The tensors of a graph, its nodes in order, that an Add makes for Softmax alone, and those made for such an Add
    alone, back to the products: int8 leaves their nodes in float32, as it does the softmax."""
    readers: dict[str, set[int]] = {}
    for number, node in enumerate(nodes):
        for name in reads_of(node):
            readers.setdefault(name, set()).add(number)
    spared: set[int] = set()
    for number in reversed(range(len(nodes))):
        node = nodes[number]
        read_by = set().union(*(readers.get(name, ()) for name in node.output))
        is_summed = node.op_type == "Add" and {nodes[each].op_type for each in read_by} == {"Softmax"}
        if is_summed or (read_by and read_by <= spared and node.op_type in _CARRIES):
            spared.add(number)
    return {name for number in spared for name in nodes[number].output}
