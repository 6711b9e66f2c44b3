"""An ONNX file as a PyTorch exporter left it: its names checked, its weights in one file beside it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from dlconv.errors import StepError
from dlconv.model import Dim, Signature, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

DATA_NAME = "model.onnx.data"


def finish(path: Path, signature: Signature) -> tuple[Signature, tuple[str, ...]]:
    """Gathers external weights into "model.onnx.data", and returns the artifact's own signature, and notes.

    Inputs that the exporter dropped are left out and told; StepError where an output is missing or renamed.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    if _gather_weights(model, path.parent):
        onnx.save(model, path)
    inputs, outputs = _names(model.graph.input), _names(model.graph.output)
    lost = [spec.name for spec in signature.outputs if spec.name not in outputs]
    strange = [name for name in inputs if name not in {spec.name for spec in signature.inputs}]
    if lost or strange or len(outputs) != len(signature.outputs):
        raise StepError(
            f"the exporter left the inputs {list(inputs)} and the outputs {list(outputs)}",
            wanted=f"{[s.name for s in signature.inputs]} and {[s.name for s in signature.outputs]}",
            mend="another route",
        )
    kept = tuple(spec for spec in signature.inputs if spec.name in inputs)
    dropped = [spec.name for spec in signature.inputs if spec.name not in inputs]
    notes = tuple(f"the input {name} has no effect on any output, and the exporter left it out" for name in dropped)
    return Signature(kept, tuple(_as_declared(spec, outputs[spec.name]) for spec in signature.outputs)), notes


def _names(values: Any) -> dict[str, Any]:
    return {value.name: value for value in values}


def _as_declared(spec: TensorSpec, value: Any) -> TensorSpec:
    if spec.shape is not None:
        return spec
    dims: list[Dim] = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        dims.append(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{spec.name}_{axis}")
    return TensorSpec(spec.name, spec.dtype, tuple(dims), spec.source, spec.permutation)


def _gather_weights(model: Any, folder: Path) -> bool:
    """Streams every external tensor into one file; memory holds no more than a piece of one."""
    tensors = [tensor for tensor in _tensors(model.graph) if tensor.external_data]
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in tensors]
    files = {place["location"] for place in places}
    if not tensors or files == {DATA_NAME}:
        return False
    with (folder / f"{DATA_NAME}.part").open("wb") as whole:
        for tensor, place in zip(tensors, places, strict=True):
            whole.write(b"\0" * (-whole.tell() % 4096))
            start = whole.tell()
            with (folder / place["location"]).open("rb") as part:
                part.seek(int(place.get("offset", 0)))
                _copy(part, whole, int(place["length"]) if "length" in place else None)
            length = whole.tell() - start
            del tensor.external_data[:]
            for key, value in (("location", DATA_NAME), ("offset", start), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
    for name in files:
        (folder / name).unlink()
    (folder / f"{DATA_NAME}.part").rename(folder / DATA_NAME)
    return True


def _copy(part: Any, whole: Any, length: int | None) -> None:
    if length is None:
        shutil.copyfileobj(part, whole, 1 << 22)
        return
    while length > 0:
        block = part.read(min(length, 1 << 22))
        if not block:
            raise StepError("a file of external weights is shorter than the graph says")
        whole.write(block)
        length -= len(block)


def _tensors(graph: Any) -> list[Any]:
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                found.append(attribute.t)
            if attribute.HasField("g"):
                found += _tensors(attribute.g)
            for inner in attribute.graphs:
                found += _tensors(inner)
    return found
