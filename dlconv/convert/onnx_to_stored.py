"""ONNX in float32 to ONNX that computes in float32 from weights stored smaller: float16, or int8 by channel."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert import onnx_reduced
from dlconv.convert.edge import Made, Step
from dlconv.errors import Unsupported
from dlconv.graphs import onnx_keep
from dlconv.graphs.int8_channels import CHANNELS, quantised
from dlconv.graphs.onnx_graph import graphs_of

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_FLOAT = 1
_DEQUANTISED_BY_CHANNEL = 13
"""The opset as of which DequantizeLinear has an axis."""


def convert(step: Step) -> Made:
    """The model, each of its large weights stored in "dtype" and turned back to float32 where it is read.

    settings: "dtype" ("float16", or "int8" with a scale a channel for the weights of Conv, ConvTranspose, Gemm and
    MatMul), "keep", names of nodes whose weights stay. Raises Unsupported where no weight can be stored so.
    """
    model = onnx_reduced.load(step.source)
    keep = set(onnx_keep.kept(step.settings, model.graph))
    dtype = str(step.settings["dtype"])
    stored = sum(_store(graph, dtype, keep) for graph in graphs_of(model))
    if not stored:
        raise Unsupported(f"the model has no weights that could be stored in {dtype}", mend="leave it in float32")
    if dtype == "int8":
        _require_opset(model)
    return onnx_reduced.write(model, step.out_dir, step.signature, (f"{stored} weights are stored in {dtype}",))


def _store(graph: Proto, dtype: str, keep: set[str]) -> int:
    numpy: Any = import_module("onnx.numpy_helper")
    readers: dict[str, list[tuple[Proto, int]]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, place))
    given = {value.name for value in (*graph.input, *graph.output)}
    stored = 0
    for tensor in list(graph.initializer):
        read = readers.get(tensor.name, [])
        is_weight = tensor.data_type == _FLOAT and len(tensor.dims) >= 2  # not a bias, nor a scale
        if not is_weight or tensor.name in given or not read or any(node.name in keep for node, _ in read):
            continue
        array = numpy.to_array(tensor)
        made = _halved(array, tensor.name) if dtype == "float16" else _in_int8(array, tensor.name, read)
        if made is None:
            continue
        node, weights = made
        graph.initializer.remove(tensor)
        graph.initializer.extend(numpy.from_array(value, name) for name, value in weights.items())
        graph.node.insert(0, node)
        stored += 1
    return stored


def _halved(array: Any, name: str) -> tuple[Proto, dict[str, Any]] | None:
    if not np.abs(array).max(initial=0.0) <= np.finfo(np.float16).max:
        return None  # it would become infinite
    helper: Any = import_module("onnx.helper")
    stored = f"{name}/float16"
    return helper.make_node("Cast", [stored], [name], f"{name}/float32", to=_FLOAT), {stored: array.astype(np.float16)}


def _in_int8(array: Any, name: str, read: list[tuple[Proto, int]]) -> tuple[Proto, dict[str, Any]] | None:
    axes = {CHANNELS[node.op_type](node, place, array.ndim) if node.op_type in CHANNELS else None
            for node, place in read}  # fmt: skip
    if len(axes) != 1 or None in axes or not np.isfinite(array).all():
        return None
    (axis,) = axes
    assert axis is not None
    helper: Any = import_module("onnx.helper")
    values, scales = quantised(array, axis)
    weights = {f"{name}/int8": values, f"{name}/scale": scales, f"{name}/zero": np.zeros(len(scales), np.int8)}
    return helper.make_node("DequantizeLinear", list(weights), [name], f"{name}/float32", axis=axis), weights


def _require_opset(model: Proto) -> None:
    if any(entry.domain in ("", "ai.onnx") and entry.version < _DEQUANTISED_BY_CHANNEL for entry in model.opset_import):
        raise Unsupported(
            "DequantizeLinear has no channels before opset 13",
            mend=f"--opset {_DEQUANTISED_BY_CHANNEL}, or a later one",
        )
