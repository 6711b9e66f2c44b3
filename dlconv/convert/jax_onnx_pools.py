"""Poolings that jax2onnx writes over every axis, the batch and the channels too, written over the image alone.

ONNX Runtime has no MaxPool over more than three axes; (1, 1) of the window, two axes added before it and taken away
after it, change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_ADDED = 2  # axes that jax2onnx adds in front


def flatten_pools(graph: Proto) -> int:
    """Rewrite such MaxPools of the graph; how many there were."""
    from onnx import numpy_helper

    made = {name: node for node in graph.node for name in node.output}
    read: dict[str, list[Proto]] = {}
    for node in graph.node:
        for name in node.input:
            read.setdefault(name, []).append(node)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}

    def axes_of(node: Proto) -> list[int]:
        tensor = constants.get(node.input[1]) if len(node.input) > 1 else None
        return [int(axis) for axis in numpy_helper.to_array(tensor).ravel()] if tensor is not None else []

    count = 0
    for pool in [node for node in graph.node if node.op_type == "MaxPool" and len(node.output) == 1]:
        source, added = pool.input[0], 0
        while source in made and made[source].op_type == "Unsqueeze" and added < _ADDED:
            axes = axes_of(made[source])
            if axes not in ([0], [1], [0, 1]):
                break
            source, added = made[source].input[0], added + len(axes)
        after = read.get(pool.output[0], [])
        is_between = added == _ADDED and len(after) == 1 and after[0].op_type == "Squeeze"
        if not is_between or axes_of(after[0]) != [0, 1] or pool.output[0] in outputs or not _leaves_two(pool):
            continue
        pool.input[0], pool.output[0] = source, after[0].output[0]
        graph.node.remove(after[0])
        _drop_two(pool)
        count += 1
    if count:
        _drop_unread(graph)
    return count


def _leaves_two(pool: Proto) -> bool:
    """Whether the window does nothing to its first two axes."""
    told: dict[str, list[int]] = {item.name: list(item.ints) for item in pool.attribute}
    kernel = told["kernel_shape"]
    pads = told.get("pads") or [0] * (2 * len(kernel))
    ends = pads[:_ADDED] + pads[len(kernel) : len(kernel) + _ADDED]
    ones = [told.get(name, [1, 1])[:_ADDED] for name in ("kernel_shape", "strides", "dilations")]
    return len(kernel) > _ADDED and not any(ends) and all(each == [1, 1] for each in ones)


def _drop_two(pool: Proto) -> None:
    for item in pool.attribute:
        values: list[Any] = list(item.ints)
        if item.name == "pads":
            half = len(values) // 2
            item.ints[:] = values[_ADDED:half] + values[half + _ADDED :]
        elif item.name in ("kernel_shape", "strides", "dilations"):
            item.ints[:] = values[_ADDED:]


def _drop_unread(graph: Proto) -> None:
    """Take away the Unsqueezes that nothing reads any more, and the shapes told of them."""
    kept = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if node.op_type == "Unsqueeze" and not set(node.output) & kept:
            graph.node.remove(node)
        else:
            kept.update(node.input)
    names = {name for node in graph.node for name in node.output}
    for value in [value for value in graph.value_info if value.name not in names]:
        graph.value_info.remove(value)
