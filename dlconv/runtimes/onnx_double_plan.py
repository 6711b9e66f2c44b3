"""An ONNX graph made ready to be walked many times: attributes read, weights as arrays, last uses known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_clean import reads_of
from dlconv.errors import Unsupported

if TYPE_CHECKING:
    from dlconv.convert.onnx_graph import Proto

_SMALLER_FLOATS = {"float32", "float16", "bfloat16"}


@dataclass(frozen=True)
class Plan:
    """A graph: its inputs and outputs by name, its weights as stored, and its nodes in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: dict[str, Any]
    nodes: tuple[PlannedNode, ...]


@dataclass(frozen=True)
class PlannedNode:
    """A node. done_with are this graph's tensors that nobody reads after it; bodies its subgraphs by attribute."""

    proto: Proto
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    key: bytes
    done_with: tuple[str, ...]
    bodies: dict[str, Plan] = field(default_factory=dict)


def plan_of(graph: Proto) -> Plan:
    """The plan of a graph and of all graphs within it. Raises Unsupported for sparse weights."""
    helper: Any = import_module("onnx.numpy_helper")
    if graph.sparse_initializer:
        raise Unsupported("the model has sparse weights")
    return Plan(
        inputs=tuple(value.name for value in graph.input),
        outputs=tuple(value.name for value in graph.output),
        weights={tensor.name: helper.to_array(tensor) for tensor in graph.initializer},
        nodes=tuple(_planned(node, done) for node, done in zip(graph.node, _last_uses(graph), strict=True)),
    )


def _last_uses(graph: Proto) -> list[tuple[str, ...]]:
    later = {value.name for value in graph.output}
    own = {name for node in graph.node for name in node.output if name}
    found: list[tuple[str, ...]] = []
    for node in reversed(graph.node):
        last = ((reads_of(node) | set(node.output)) & own) - later
        later |= last
        found.append(tuple(last))
    return found[::-1]


def _planned(node: Proto, done_with: tuple[str, ...]) -> PlannedNode:
    helper: Any = import_module("onnx.helper")
    arrays: Any = import_module("onnx.numpy_helper")
    attributes: dict[str, Any] = {}
    bodies: dict[str, Plan] = {}
    for item in node.attribute:
        if item.HasField("g"):
            bodies[item.name] = plan_of(item.g)
            continue
        if item.HasField("t"):
            attributes[item.name] = widened(arrays.to_array(item.t))
            continue
        value = helper.get_attribute_value(item)
        attributes[item.name] = value.decode() if isinstance(value, bytes) else value
    domain = "" if node.domain == "ai.onnx" else node.domain
    kind = f"{domain}.{node.op_type}" if domain else str(node.op_type)
    if kind == "Constant":
        attributes = {"value": _constant(attributes)}
    # What decides, with the types of its inputs, which kernel runs the node.
    marks = "".join("+" if name else "-" for name in node.output)
    parts = [item.SerializeToString(deterministic=True) for item in node.attribute if not item.HasField("g")]
    return PlannedNode(
        proto=node,
        kind=kind,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
        key=b"\0".join([kind.encode(), marks.encode(), *sorted(parts)]),
        done_with=done_with,
        bodies=bodies,
    )


def _constant(attributes: dict[str, Any]) -> Any:
    ((name, value),) = attributes.items()
    if name == "value":
        return value
    if name in ("value_float", "value_floats"):
        return np.asarray(value, np.float64)
    if name in ("value_int", "value_ints"):
        return np.asarray(value, np.int64)
    raise Unsupported(f"a Constant of the kind {name}")


def widened(value: Any) -> Any:
    """The array in float64 where it is a smaller float, else as it is; None stays None."""
    return value.astype(np.float64) if value is not None and value.dtype.name in _SMALLER_FLOATS else value


def narrowed(value: Any) -> Any:
    """The array in float32 where it is float64, else as it is; None stays None."""
    return value.astype(np.float32) if value is not None and value.dtype == np.float64 else value


def filled(inputs: Sequence[Any], count: int) -> list[Any]:
    """An operator's inputs, those left out at the end as None, `count` in all."""
    return [*inputs, *[None] * count][:count]
