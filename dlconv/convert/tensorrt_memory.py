"""How much of the GPU's memory a plan will need, told before it is built: by shapes alone, no weight is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import MachineError
from dlconv.graphs import onnx_graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dlconv.graphs.onnx_graph import Proto

_FLOAT_BITS: Final = {"fp16": 16, "bf16": 16, "int8": 8}
"""What a stored float32 may shrink to at a precision."""
_GIB: Final = 1 << 30


@dataclass(frozen=True)
class Estimate:
    """weights_bytes: of all stored tensors, at the precision: what is needed at the least. tensors_bytes: the most that
    is alive at one time, node by node, at the largest sizes: fused layers need less. unknown: tensors whose size is not
    known before a run, which are not counted."""

    weights_bytes: int
    tensors_bytes: int
    unknown: int


def estimated(path: Path, profiles: Sequence[Mapping[str, Sequence[Sequence[int]]]], precision: str) -> Estimate:
    """Of the ONNX model at `path`. profiles: by input, the least, best and largest shape."""
    model = onnx_graph.read_model(path)
    weights = sum(_bytes(tensor.data_type, tensor.dims, precision) for tensor in onnx_graph.tensors_of(model))
    onnx_graph.empty_weights(model)
    largest: dict[str, list[int]] = {}
    for profile in profiles:
        for name, (_, _, most) in profile.items():
            sizes = largest.setdefault(name, list(most))
            largest[name] = [max(pair) for pair in zip(sizes, most, strict=True)]
    for value in onnx_graph.inputs_of(model.graph):
        for dim, size in zip(value.type.tensor_type.shape.dim, largest.get(value.name, ()), strict=False):
            dim.dim_value = size
    inference: Any = import_module("onnx.shape_inference")
    graph = inference.infer_shapes(model, data_prop=True).graph
    known = {value.name: _value_bytes(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    stored = {tensor.name for tensor in graph.initializer}
    made = [name for node in graph.node for name in node.output if name]
    sizes_of = {name: known[name] or 0 for name in known if name not in stored}
    return Estimate(weights, _peak(graph, sizes_of), sum(known.get(name) is None for name in made))


def require_room(estimate: Estimate, free_bytes: int, whole_bytes: int, *, is_streamed: bool) -> str:
    """What to tell of it. Raises MachineError where the weights alone are more than is free, and are not streamed."""
    room = f"{free_bytes / _GIB:.1f} of the {whole_bytes / _GIB:.1f} GiB of the GPU's memory are free"
    if estimate.weights_bytes > free_bytes and not is_streamed:
        raise MachineError(
            f"the model's weights are {estimate.weights_bytes / _GIB:.1f} GiB, and {room}",
            wanted="room for the weights at least",
            mend="keep them in the host's memory: --trt weight-streaming=on (TensorRT 10 and newer); or use a lower "
            "precision, or a GPU with more memory",
        )
    least = "at least " if estimate.unknown else ""
    told = (
        f"estimated before the build: weights {_shown(estimate.weights_bytes)}, tensors {least}"
        f"{_shown(estimate.tensors_bytes)} at the largest sizes; {room}"
    )
    needed = estimate.tensors_bytes + (0 if is_streamed else estimate.weights_bytes)
    return f"{told}: it may not be enough" if needed > free_bytes else told


def _peak(graph: Proto, sizes: Mapping[str, int]) -> int:
    """The most bytes that are alive at once, where each tensor is freed after the last node that reads it."""
    last: dict[str, int] = {value.name: len(graph.node) for value in graph.output}
    for place, node in enumerate(graph.node):
        for name in _read_by(node):
            last[name] = max(place, last.get(name, 0))
    alive = {value.name: sizes.get(value.name, 0) for value in onnx_graph.inputs_of(graph)}
    peak = total = sum(alive.values())
    for place, node in enumerate(graph.node):
        for name in node.output:
            alive[name] = sizes.get(name, 0)
            total += alive[name]
        peak = max(peak, total)
        for name in {*_read_by(node), *node.output}:
            if last.get(name, place) <= place:
                total -= alive.pop(name, 0)
    return peak


def _read_by(node: Proto) -> Iterator[str]:
    yield from node.input
    for graph in onnx_graph.subgraphs_of(node):
        for inner in onnx_graph.nodes_of(graph):
            yield from inner.input


def _value_bytes(value: Proto) -> int | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape") or any(not dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return _bytes(kind.elem_type, [dim.dim_value for dim in kind.shape.dim])


def _bytes(kind: int, dims: Sequence[int], precision: str = "fp32") -> int:
    name = onnx_graph.DTYPES.get(kind, "")
    digits = re.search(r"\d+", name)
    bits = int(digits[0]) if digits else 8
    if name == "float32":
        bits = _FLOAT_BITS.get(precision, bits)
    return prod(dims) * bits // 8


def _shown(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
