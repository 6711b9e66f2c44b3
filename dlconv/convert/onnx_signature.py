"""What an ONNX file says of its inputs and outputs, and the user's `--input` laid over it."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.convert.onnx_features import features_of
from dlconv.convert.onnx_quantised import with_grids
from dlconv.convert.onnx_trees import TREES
from dlconv.errors import SignatureError
from dlconv.graphs import onnx_graph
from dlconv.model import Dim, Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.graphs.onnx_graph import Proto

_SMALL_BYTES = 8192
_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
_KEEPS_VALUES = {
    "Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose", "Expand", "Slice", "Concat", "Tile",
    "Gather",
}  # fmt: skip


def read(path: str) -> dict[str, Any]:
    """What the checked model at `path` takes and gives; runs in a worker that has onnx.

    Returns signature (a Signature as data), notes for the user, opset (a number), bounds: for integer inputs the
    range of values [low, high] that the model's tables and comparisons allow, where it can be derived; and features: of
    inputs that are rows of a table, where its columns lie (`onnx_features`); and trees: the operators that hold them.
    Raises FormatError where the file is no valid model, Unsupported for inputs that are no tensors.
    """
    source = Path(path)
    model = onnx_graph.read_model(source)
    stale = onnx_graph.check(source)
    notes = [*stale, *_notes_on(model)]
    bounds = _bounds_of(model)
    features = features_of(model)
    return {
        "signature": with_grids(model, inferred_signature(model)).to_dict(),
        "notes": notes,
        "opset": onnx_graph.opset_of(model),
        "bounds": bounds,
        "features": features,
        "trees": sorted({node.op_type for node in model.graph.node if node.op_type in TREES}),
    }


def apply_inputs(signature: Signature, given: tuple[TensorSpec, ...]) -> Signature:
    """`signature` with the shapes of `given` (from `--input`): sizes fix free dimensions, names rename them.

    A name stands for one size everywhere: fixing it in one input fixes it in the others and in the outputs.
    An empty dtype means none was given. Raises SignatureError with every misfit and what the model has.
    """
    problems: list[str] = []
    chosen: dict[str, Dim] = {}
    by_name = {spec.name: spec for spec in signature.inputs}
    shapes: dict[str, tuple[Dim, ...]] = {}
    for wish in given:
        spec = by_name.get(wish.name)
        if spec is None:
            problems.append(f"the model has no input {wish.name!r}")
            continue
        if wish.dtype and wish.dtype != spec.dtype:
            problems.append(f"{wish.name} is {spec.dtype} in the model, not {wish.dtype}")
        if wish.shape is None:
            continue
        if spec.shape is None:
            shapes[spec.name] = wish.shape
        elif len(spec.shape) != len(wish.shape):
            problems.append(f"{wish.name} has {len(spec.shape)} dimensions in the model, not {len(wish.shape)}")
        else:
            problems.extend(_fit(spec, wish.shape, chosen))
    if problems:
        raise SignatureError(
            f"--input does not fit the model: {problems[0]}",
            wanted="inputs as the model has them: " + ", ".join(str(spec) for spec in signature.inputs),
            mend="--input " + " --input ".join(str(spec) for spec in signature.inputs),
            problems=tuple(problems),
        )
    return replace(
        signature,
        inputs=tuple(_settled(spec, shapes.get(spec.name, spec.shape), chosen) for spec in signature.inputs),
        outputs=tuple(_settled(spec, spec.shape, chosen) for spec in signature.outputs),
    )


def _fit(spec: TensorSpec, wish: tuple[Dim, ...], chosen: dict[str, Dim]) -> Iterator[str]:
    for axis, (has, wants) in enumerate(zip(spec.shape or (), wish, strict=True)):
        if isinstance(has, int):
            if wants != has:
                yield f"axis {axis} of {spec.name} is {has} in the model, not {wants}"
        elif chosen.setdefault(has, wants) != wants:
            yield f"{has!r} (axis {axis} of {spec.name}) is asked to be both {chosen[has]} and {wants}"


def _settled(spec: TensorSpec, shape: tuple[Dim, ...] | None, chosen: dict[str, Dim]) -> TensorSpec:
    if shape is None:
        return spec
    return replace(spec, shape=tuple(chosen.get(size, size) if isinstance(size, str) else size for size in shape))


def _notes_on(model: Proto) -> list[str]:
    notes: list[str] = []
    stored = len(model.graph.input) - len(onnx_graph.inputs_of(model.graph))
    if stored:
        notes.append(f"{stored} initializers are also listed as inputs: they are weights and stay fixed")
    foreign = sorted({node.domain for node in onnx_graph.nodes_of(model.graph)} - {"", "ai.onnx"})
    if foreign:
        notes.append("operators of other domains than ONNX's own: " + ", ".join(foreign))
    return notes


def inferred_signature(model: Proto) -> Signature:
    """The declared signature, with the output dimensions that shape inference finds where the file leaves them open.

    Empties the model's large weights: it is not to be used afterwards.
    """
    onnx: Any = import_module("onnx")
    declared = onnx_graph.signature_of(model)
    names = {size for spec in declared.inputs for size in spec.shape or () if isinstance(size, str)}
    if all(_known(spec, names) for spec in declared.outputs):
        return declared
    onnx_graph.empty_weights(model)
    onnx_graph.set_shapes(model.graph, declared.inputs)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        # Only the names of free output dimensions are lost.
        return declared
    found = {spec.name: spec for spec in onnx_graph.signature_of(inferred).outputs}
    return replace(declared, outputs=tuple(_merged(spec, found.get(spec.name), names) for spec in declared.outputs))


def _known(spec: TensorSpec, names: set[str]) -> bool:
    return spec.shape is not None and all(isinstance(size, int) or size in names for size in spec.shape)


def _merged(spec: TensorSpec, found: TensorSpec | None, names: set[str]) -> TensorSpec:
    if found is None or found.shape is None:
        return spec
    if spec.shape is None:
        return replace(spec, shape=found.shape)
    if len(found.shape) != len(spec.shape):
        return spec
    better = (
        new if isinstance(old, str) and old not in names and (isinstance(new, int) or new in names) else old
        for old, new in zip(spec.shape, found.shape, strict=True)
    )
    return replace(spec, shape=tuple(better))


def _bounds_of(model: Proto) -> dict[str, list[int]]:
    """For integer inputs: the indices that the tables they select from have, or the values they are compared with."""
    constants = _constants_of(model)
    readers: dict[str, list[tuple[Proto, int]]] = {}
    for node in onnx_graph.nodes_of(model.graph):
        for place, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, place))
    bounds: dict[str, list[int]] = {}
    for spec in onnx_graph.signature_of(model).inputs:
        if spec.dtype in _INTEGERS:
            found = list(_ranges(spec.name, readers, constants))
            tables = [top for kind, _, top in found if kind == "table"]
            compared = [(low, top) for kind, low, top in found if kind == "compared"]
            if tables:
                bounds[spec.name] = [0, min(tables)]
            elif compared:
                bounds[spec.name] = list(compared[0])
    return bounds


def _ranges(
    name: str, readers: dict[str, list[tuple[Proto, int]]], constants: dict[str, Proto]
) -> Iterator[tuple[str, int, int]]:
    pending, seen = [name], {name}
    while pending:
        current = pending.pop()
        for node, place in readers.get(current, ()):
            if (node.op_type in _KEEPS_VALUES and place == 0) or node.op_type == "Concat":
                fresh = [made for made in node.output if made not in seen]
                seen.update(fresh)
                pending.extend(fresh)
            elif node.op_type in ("Gather", "GatherElements") and place == 1:
                table = constants.get(node.input[0])
                axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
                if table is not None and -len(table.dims) <= axis < len(table.dims):
                    yield "table", 0, table.dims[axis] - 1
            elif node.op_type == "Equal":
                values = _integers(constants.get(node.input[1 - place]))
                if values:
                    yield "compared", min(values), max(values)


def _constants_of(model: Proto) -> dict[str, Proto]:
    constants = {tensor.name: tensor for graph in onnx_graph.graphs_of(model) for tensor in graph.initializer}
    for node in onnx_graph.nodes_of(model.graph):
        if node.op_type == "Constant":
            tensors = [item.t for item in node.attribute if item.HasField("t")]
            constants.update(zip(node.output, tensors, strict=False))
        elif node.op_type in ("Identity", "Cast", "DequantizeLinear") and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    return constants


def _integers(tensor: Proto | None) -> list[int]:
    helper: Any = import_module("onnx.numpy_helper")
    if tensor is None or onnx_graph.DTYPES.get(tensor.data_type) not in _INTEGERS or tensor.data_location:
        return []
    values = helper.to_array(tensor)
    return [int(value) for value in values.ravel()] if 0 < values.size <= _SMALL_BYTES else []
