"""An ONNX graph made ready to be walked many times: attributes read, weights as arrays, last uses known.

Weights that lie outside of the model's file are mapped, not read: a model of any size is opened at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.graphs.onnx_clean import reads_of
from dlconv.graphs.onnx_graph import read_model
from dlconv.graphs.onnx_keep import name_nodes

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_SMALLER_FLOATS = {"float32", "float16", "bfloat16"}
_EXTERNAL = 1
_PACKED = {21, 22, 23, 25, 26}
"""Element types of which several share a byte: uint4, int4, float4, uint2, int2."""


@dataclass(frozen=True)
class Program:
    """A model: its main graph, and the version of each operator set that it imports."""

    plan: Plan
    opsets: dict[str, int]


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


def program_of(path: Path) -> Program:
    """The model at `path`, its own functions inlined. Raises FormatError as `read_model` does."""
    model = read_model(path)
    if model.functions:
        model = import_module("onnx.inliner").inline_local_functions(model)
    opsets = {"" if entry.domain == "ai.onnx" else entry.domain: int(entry.version) for entry in model.opset_import}
    name_nodes(model.graph)
    return Program(_plan_of(model.graph, path.parent), opsets)


def name_of(node: PlannedNode) -> str:
    """The node's name, as keep-lists have it."""
    return str(node.proto.name)


def kept_of(plan: Plan, names: Collection[str]) -> frozenset[int]:
    """The ids of the nodes of these names, in the plan and the graphs within it."""
    found = {id(node) for node in plan.nodes if name_of(node) in names}
    for node in plan.nodes:
        for body in node.bodies.values():
            found |= kept_of(body, names)
    return frozenset(found)


def _plan_of(graph: Proto, folder: Path) -> Plan:
    if graph.sparse_initializer:
        raise Unsupported("the model has sparse weights")
    return Plan(
        inputs=tuple(value.name for value in graph.input),
        outputs=tuple(value.name for value in graph.output),
        weights={tensor.name: _array_of(tensor, folder) for tensor in graph.initializer},
        nodes=tuple(_planned(node, done, folder) for node, done in zip(graph.node, _last_uses(graph), strict=True)),
    )


def _array_of(tensor: Proto, folder: Path) -> Any:
    helper: Any = import_module("onnx.helper")
    arrays: Any = import_module("onnx.numpy_helper")
    if tensor.data_location != _EXTERNAL or tensor.data_type in _PACKED:
        return arrays.to_array(tensor, str(folder))
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    entry = {pair.key: pair.value for pair in tensor.external_data}
    mapped = np.memmap(folder / entry["location"], dtype, "r", int(entry.get("offset") or 0), tuple(tensor.dims))
    return np.asarray(mapped)


def _last_uses(graph: Proto) -> list[tuple[str, ...]]:
    later = {value.name for value in graph.output}
    own = {name for node in graph.node for name in node.output if name}
    found: list[tuple[str, ...]] = []
    for node in reversed(graph.node):
        last = ((reads_of(node) | set(node.output)) & own) - later
        later |= last
        found.append(tuple(last))
    return found[::-1]


def _planned(node: Proto, done_with: tuple[str, ...], folder: Path) -> PlannedNode:
    helper: Any = import_module("onnx.helper")
    attributes: dict[str, Any] = {}
    bodies: dict[str, Plan] = {}
    for item in node.attribute:
        if item.HasField("g"):
            bodies[item.name] = _plan_of(item.g, folder)
            continue
        if item.HasField("t"):
            attributes[item.name] = _array_of(item.t, folder)
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
        return np.asarray(value, np.float32)
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
