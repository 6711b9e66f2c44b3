"""A way around a fault of OpenVINO's CPU plugin: attention with as many heads as tokens.

It compiles MatMul, Softmax and MatMul into one kernel, and takes the transpositions before and behind them into it.
Where heads and tokens are the same number (seen with OpenVINO 2026.4), such a transposition leaves the shape as it was,
and the answers are wrong. By way of a fifth axis of size 1 it is no longer taken in. Free sizes are answered rightly.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HEADS, _TOKENS = 1, 2


def guard(model: Any) -> tuple[str, ...]:
    """Rewrites in place the transpositions that would be lost; a note where there were any."""
    found = [node for node in model.get_ordered_ops() if node.get_type_name() == "Transpose" and _is_lost(node)]
    for node in found:
        _by_five_axes(node)
    if not found:
        return ()
    model.validate_nodes_and_infer_types()
    return (
        f"transpositions of as many heads as tokens, which OpenVINO's attention loses, go by five axes: {len(found)}",
    )


def _is_lost(node: Any) -> bool:
    """Whether axes 1 and 2 are of one size and the first of the new ones is the old second."""
    shape, order = node.input(0).get_partial_shape(), _order(node)
    return (
        shape.is_static
        and len(order) == 4
        and order[0] == 0
        and order[1] == _TOKENS
        and shape[_HEADS].get_length() == shape[_TOKENS].get_length() > 1
    )


def _order(node: Any) -> list[int]:
    constant = node.input(1).get_source_output().get_node()
    return [int(axis) for axis in constant.get_data()] if constant.get_type_name() == "Constant" else []


def _by_five_axes(node: Any) -> None:
    operators = import_module("openvino.opset13")
    source, order = node.input(0).get_source_output(), _order(node)
    shape = [size.get_length() for size in node.input(0).get_partial_shape()]
    wide = operators.reshape(source, operators.constant([*shape[:3], 1, shape[3]]), special_zero=False)
    # The axis of size 1 stands before the old axis 3, wherever that goes.
    moved = [axis for old in order for axis in ([3, 4] if old == 3 else [old])]
    turned = operators.transpose(wide, operators.constant(moved))
    narrow = operators.reshape(turned, operators.constant([shape[axis] for axis in order]), special_zero=False)
    narrow.set_friendly_name(node.get_friendly_name())
    names = node.output(0).get_names()
    for target in node.output(0).get_target_inputs():
        target.replace_source_output(narrow.output(0))
    narrow.output(0).set_names(names)
