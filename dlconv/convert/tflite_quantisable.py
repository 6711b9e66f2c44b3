"""A TFLite file as ai-edge-quantizer takes it: with a signature, constants of the ranks that it can scale, and
activations within the sums that they follow."""

from __future__ import annotations

from copy import copy
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert import tflite_activations
from dlconv.runtimes import tflite_boundary, tflite_flatbuffer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dlconv.runtimes.tflite_flatbuffer import FlatGraph

_ONE_SCALE = ("PADV2", "SELECT", "SELECT_V2", "MAXIMUM")
"""Operators whose constants the package stores by their output's scale. It can where they are scalars or of its rank,
and else ends with "Ranks of scales (5) and zps (5) must be the same as the tensor rank (1)": what onnx2tf pads a max
pool with has the shape [1]."""


def content_of(path: Path) -> bytes:
    """The file's bytes, changed where the package would not take it, in what it says and not in what it computes.

    A file without a SignatureDef gets one of its tensors' names: the package gives samples to no other. A constant of
    one element is written as a scalar beside `_ONE_SCALE`. Activations are joined as `tflite_activations` says.
    """
    content = path.read_bytes()
    model = tflite_flatbuffer.load(path)
    lone = [list(_of_one_element(graph)) for graph in model.graphs]
    has_activations = any(operator.name.startswith("RELU") for operator in model.operators)
    if model.entries and not any(lone) and not has_activations:
        return content
    flat: Any = import_module("ai_edge_litert.tools.flatbuffer_utils")
    told = flat.read_model_from_bytearray(bytearray(content))
    if not model.entries:
        told.signatureDefs = [_signature(tflite_boundary.entry_of(model))]
    for graph, places in zip(told.subgraphs, lone, strict=True):
        scalars: dict[int, int] = {}
        for operator, place in places:
            inputs = graph.operators[operator].inputs
            if inputs[place] not in scalars:
                scalars[int(inputs[place])] = _scalar_of(told, graph, inputs[place])
            inputs[place] = scalars[inputs[place]]
    if not tflite_activations.join(told) and model.entries and not any(lone):
        return content
    return bytes(flat.convert_object_to_bytearray(told))


def _of_one_element(graph: FlatGraph) -> Iterator[tuple[int, int]]:
    """Of operators whose constants share a scale, the number and the place of an input that is one float, no scalar,
    and not of the output's rank."""
    for number, operator in enumerate(graph.operators):
        if operator.name not in _ONE_SCALE:
            continue
        rank = len(graph.tensors[operator.outputs[0]].shape)
        for place, at in enumerate(operator.inputs):
            tensor = graph.tensors[at]
            if tensor.is_stored and tensor.dtype == "float32" and set(tensor.shape) == {1} and len(tensor.shape) < rank:
                yield number, place


def _scalar_of(told: Any, graph: Any, number: int) -> int:
    """The number of a new tensor, a scalar of the same value: others, a bias of one channel, may want the old shape and
    float32."""
    scalar = copy(graph.tensors[number])
    told.buffers.append(copy(told.buffers[scalar.buffer]))
    scalar.shape, scalar.shapeSignature, scalar.buffer = [], None, len(told.buffers) - 1
    scalar.name = scalar.name + f"_scalar{len(graph.tensors)}".encode()
    graph.tensors.append(scalar)
    return len(graph.tensors) - 1


def _signature(entry: tflite_flatbuffer.FlatEntry) -> Any:
    schema: Any = import_module("ai_edge_litert.schema_py_generated")
    made = schema.SignatureDefT()
    made.signatureKey = tflite_boundary.USUAL_ENTRY.encode()
    made.subgraphIndex = entry.graph
    made.inputs, made.outputs = (_maps(schema, tensors) for tensors in (entry.inputs, entry.outputs))
    return made


def _maps(schema: Any, tensors: dict[str, int]) -> list[Any]:
    maps = []
    for name, index in tensors.items():
        each = schema.TensorMapT()
        each.name, each.tensorIndex = name.encode(), index
        maps.append(each)
    return maps
