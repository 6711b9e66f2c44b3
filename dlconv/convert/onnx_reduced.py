"""ONNX models whose precision is changed: read whole, and written with their signature kept."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, inherited
from dlconv.errors import StepError
from dlconv.graphs import onnx_graph
from dlconv.model import Signature

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

ENTRY = "model.onnx"
INLINE_LIMIT_BYTES = 1_900_000_000
"""A protobuf message ends at 2 GiB: weights of a larger model lie beside it."""


def load(path: Path) -> Proto:
    """The model with all its weights in memory. Raises FormatError as `read_model`."""
    onnx_graph.read_model(path)  # which looks where external weights lie, before anything is read from there
    onnx: Any = import_module("onnx")
    return onnx.load(str(path))


def write(
    model: Proto, out_dir: Path, known: Signature, notes: tuple[str, ...] = (), *, full_check: bool = True
) -> Made:
    """Save the model as "model.onnx", checked. Raises StepError where its inputs or outputs are not those of `known`
    any more, in name, order or dtype, or where ONNX's checker refuses it. full_check: element types too."""
    onnx: Any = import_module("onnx")
    signature = onnx_graph.signature_of(model)
    before, after = ([(s.name, s.dtype) for s in (*each.inputs, *each.outputs)] for each in (known, signature))
    if before != after:
        raise StepError(f"the signature became {after}", wanted=f"{before}")
    is_outside = model.ByteSize() > INLINE_LIMIT_BYTES
    onnx.save(
        model,
        str(out_dir / ENTRY),
        save_as_external_data=is_outside,
        location=ENTRY + ".data",
        size_threshold=1024,
    )
    del model
    onnx_graph.check(out_dir / ENTRY, full=full_check)
    inputs = inherited(signature.inputs, known.inputs)
    return Made(ENTRY, Signature(inputs, inherited(signature.outputs, known.outputs), known.constants), notes)
