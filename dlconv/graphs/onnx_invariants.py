"""What a loop of an ONNX graph carries from step to step and never changes, taken from outside instead.

tf2onnx carries weights so; OpenVINO's frontend counts what a body gives back as it took it wrongly, and fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.graphs.onnx_graph import subgraphs_of

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_FIXED = 2
"""Inputs of a Loop and of its body before those that it carries: the number of steps or of the step, the condition."""


def lift(graph: Proto) -> int:
    """Take out of the loops of `graph`, nested ones first, what they carry unchanged; how much that was."""
    count = 0
    kept = {value.name for value in graph.output}
    for node in graph.node:
        for inner in subgraphs_of(node):
            count += lift(inner)
        if node.op_type == "Loop":
            renamed = _lifted(node, kept)
            count += len(renamed)
            _rename(graph, renamed)
    return count


def _lifted(node: Proto, kept: set[str]) -> dict[str, str]:
    """The names outside by those of the loop's results that are gone; kept: results that have to stay."""
    body = next(item.g for item in node.attribute if item.name == "body")
    given = [value.name for value in body.output]
    made = {name for inner in body.node for name in inner.output} | {tensor.name for tensor in body.initializer}
    made |= {value.name for value in body.input}
    gone: dict[str, str] = {}
    for place in reversed(range(len(node.input) - _FIXED)):
        own, outer = body.input[place + _FIXED].name, node.input[place + _FIXED]
        result = node.output[place]
        if given[place + 1] != own or given.count(own) > 1 or not outer or outer in made or result in kept:
            continue
        _rename(body, {own: outer})
        del body.input[place + _FIXED], body.output[place + 1], node.input[place + _FIXED], node.output[place]
        gone[result] = outer
        given = [value.name for value in body.output]
    gone.pop("", None)
    return gone


def _rename(graph: Proto, names: dict[str, str]) -> None:
    """What nodes read under one name, nested graphs included, under another."""
    if not names:
        return
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in names:
                node.input[place] = names[name]
        for inner in subgraphs_of(node):
            for value in inner.output:  # a branch may give back what is outside as it is
                value.name = names.get(value.name, value.name)
            _rename(inner, names)
