"""Sums that a softmax reads: where attention adds its mask. Beside a mask's -3.4e38 no score is left in 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.graphs.onnx_clean import reads_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlconv.graphs.onnx_graph import Proto


def before_softmax(nodes: Iterable[Proto]) -> set[str]:
    """The tensors of a graph that an Add makes and Softmax alone reads: int8 leaves such an Add in float32, as it does
    the softmax."""
    summed: set[str] = set()
    read: set[str] = set()
    others: set[str] = set()
    for node in nodes:
        summed |= {node.output[0]} if node.op_type == "Add" else set()
        (read if node.op_type == "Softmax" else others).update(reads_of(node))
    return (summed & read) - others
