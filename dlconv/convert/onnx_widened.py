"""ONNX in float16 or bfloat16 made float32, which holds their values exactly: for what has no kernels of theirs."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from dlconv.convert import onnx_reduced
from dlconv.graphs.onnx_graph import graphs_of, nodes_of, tensors_of

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Signature, TensorSpec

_FLOAT: Final = 1
_HALVES: Final = {10: "float16", 16: "bfloat16"}
_NAMING: Final = frozenset({"to", "dtype", "output_dtype", "output_datatype", "precision", "softmax_precision",
                            "stash_type"})  # fmt: skip
"""Attributes of ONNX's operators that are the number of a type."""


def write(source: Path, folder: Path, signature: Signature) -> tuple[Path, Signature, str]:
    """A copy of the model at `source` in the new `folder`, with float32 in place of every float16 and bfloat16: its
    path, its signature, and a note. What was float16 at the boundary is rounded to it still.
    """
    onnx: Any = import_module("onnx")
    model = onnx_reduced.load(source)
    met = _widen(model)
    folder.mkdir()
    is_large = model.ByteSize() > onnx_reduced.INLINE_LIMIT_BYTES
    path = folder / onnx_reduced.ENTRY
    onnx.save(model, str(path), save_as_external_data=is_large, location=onnx_reduced.ENTRY + ".data")
    wide = replace(
        signature,
        inputs=tuple(_wide(spec) for spec in signature.inputs),
        outputs=tuple(_wide(spec) for spec in signature.outputs),
    )
    return path, wide, f"{' and '.join(sorted(met)) or 'nothing'} made float32, which holds their values exactly"


def _wide(spec: TensorSpec) -> TensorSpec:
    if spec.dtype == "float16":
        return replace(spec, dtype="float32", boundary=spec.dtype)
    # Arrays of bfloat16 are float32 everywhere: NumPy lacks it.
    return replace(spec, dtype="float32") if spec.dtype == "bfloat16" else spec


def _widen(model: Proto) -> set[str]:
    """Change the model in place; what was found in it."""
    met: set[str] = set()
    for tensor in tensors_of(model):
        if tensor.data_type in _HALVES:
            met.add(_HALVES[tensor.data_type])
            _store(tensor)
    for graph in graphs_of(model):
        for value in (*graph.input, *graph.output, *graph.value_info):
            met |= _retype(value.type)
    for holder in (model.graph, *model.functions):
        for node in nodes_of(holder):
            for attribute in node.attribute:
                if attribute.name in _NAMING and attribute.i in _HALVES:
                    met.add(_HALVES[attribute.i])
                    attribute.i = _FLOAT
    for function in model.functions:
        del function.value_info[:]
    return met


def _store(tensor: Proto) -> None:
    arrays: Any = import_module("onnx.numpy_helper")
    tensor.CopyFrom(arrays.from_array(arrays.to_array(tensor).astype("float32"), tensor.name))


def _retype(kind: Proto) -> set[str]:
    """The type, or what the sequence or the optional is of, in float32; what it was where it was smaller."""
    which = kind.WhichOneof("value")
    if which in ("sequence_type", "optional_type"):
        return _retype(getattr(kind, which).elem_type)
    if which not in ("tensor_type", "sparse_tensor_type"):
        return set()
    held = getattr(kind, which)
    if held.elem_type not in _HALVES:
        return set()
    met = {_HALVES[held.elem_type]}
    held.elem_type = _FLOAT
    return met
