"""ONNX files read with care, and their graphs walked: what every ONNX edge and reader shares.

Nothing here loads external data: a model of any size is read as structure alone. Models, graphs, nodes and tensors
are the `onnx` package's protocol buffers, typed `Proto` because the package is only there in a worker.
"""

from __future__ import annotations

from importlib import import_module
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from dlconv.errors import FormatError, Unsupported
from dlconv.model import Dim, Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

Proto = Any
"""A protocol buffer of the onnx package (ModelProto, GraphProto, NodeProto, TensorProto)."""

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip
"""NumPy's names of ONNX element types."""

_NAMELESS = {"", "?", "*", "-1", "None"}
"""What exporters write in place of a free dimension's name."""
_EXTERNAL = 1
_SMALL_ELEMENTS = 64
_GRAPH_ATTRIBUTE, _GRAPHS_ATTRIBUTE = 5, 10
_EXPORT_AGAIN = "export the model again with the tool that made it, and give dlconv the new file"


def read_model(path: Path) -> Proto:
    """The model at `path` without its external data, which is known to lie inside the model's directory.

    Small external tensors are brought in: they decide shapes.

    Raises FormatError for a file that is no ONNX model and for external data that leaves the directory.
    """
    onnx: Any = import_module("onnx")
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise FormatError(f"{path} is not a file", wanted="an ONNX model", mend="give the path of the .onnx file")
    if path.stat().st_size == 0:
        raise FormatError(f"{path} is empty", wanted="an ONNX model", mend=_EXPORT_AGAIN)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise FormatError(
            f"{path} is not an ONNX model: {error}", wanted="an ONNX model", mend=_EXPORT_AGAIN
        ) from error
    if not model.ir_version or not model.graph.output:
        raise FormatError(
            f"{path} holds no ONNX graph with outputs",
            wanted="a ModelProto with an IR version and a graph",
            mend=_EXPORT_AGAIN,
        )
    require_contained(model, path.parent)
    _bring_in_small(model, path.parent)
    return model


def _bring_in_small(model: Proto, directory: Path) -> None:
    # What decides shapes must lie where shape inference looks: in the file.
    helper: Any = import_module("onnx.external_data_helper")
    for tensor in external_tensors(model):
        if prod(tensor.dims) <= _SMALL_ELEMENTS:
            helper.load_external_data_for_tensor(tensor, str(directory))
            tensor.data_location = 0
            del tensor.external_data[:]


def check(path: Path, *, full: bool = True) -> tuple[str, ...]:
    """Raise FormatError unless the onnx checker takes the model at `path`: shape inference and element types included,
    if full.

    The model's external data must be known to be contained (`read_model`) before this is called. Two faults are
    forgiven, and returned as notes: inner shapes that the file notes and its own graph contradicts, which a clean-up
    drops, and small tensors stored outside of the file, where inference does not look: `read_model` brings them in.
    """
    onnx: Any = import_module("onnx")
    import_module("onnx.checker")
    refusals = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError)
    try:
        onnx.checker.check_model(str(path), full_check=full)
    except refusals as error:
        if isinstance(error, onnx.shape_inference.InferenceError) and (forgiven := _forgiven(path)):
            return (forgiven,)
        raise FormatError(
            f"{path.name} is not a valid ONNX model: {_first_lines(str(error))}",
            wanted="a model that onnx.checker.check_model(full_check=True) takes",
            mend=_EXPORT_AGAIN,
        ) from error
    return ()


SMALL_OUTSIDE = "small tensors stored outside of the file were brought into it"
STALE_SHAPES = "shapes of inner tensors noted in the file contradict its graph: they were dropped"


def _forgiven(path: Path) -> str:
    """The note on the fault that shape inference stumbles over, "" if it is none of those that can be forgiven."""
    onnx: Any = import_module("onnx")
    model = read_model(path)
    empty_weights(model)
    for note in (SMALL_OUTSIDE, STALE_SHAPES):
        if note == STALE_SHAPES:
            for graph in graphs_of(model):
                del graph.value_info[:]
        try:
            onnx.checker.check_model(str(path))
            onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError):
            continue
        return note
    return ""


def empty_weights(model: Proto, over_bytes: int = 8192) -> None:
    """Drop the data of the model's large initializers; shape inference needs only the small ones."""
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            if len(tensor.raw_data) > over_bytes:
                tensor.ClearField("raw_data")


def require_contained(model: Proto, directory: Path) -> None:
    """Raise FormatError, with all troubles, unless every external tensor lies in a plain file below `directory`."""
    needed: dict[str, int] = {}
    for tensor in external_tensors(model):
        entry = {pair.key: pair.value for pair in tensor.external_data}
        location = entry.get("location", "")
        try:
            offset, length = int(entry.get("offset") or 0), int(entry.get("length") or 0)
        except ValueError:
            offset, length = -1, 0
        if offset < 0 or length < 0:
            raise FormatError(
                f"tensor {tensor.name!r} has a bad offset or length of its external data", mend=_EXPORT_AGAIN
            )
        needed[location] = max(needed.get(location, 0), offset + length)
    problems = tuple(
        problem for location, size in sorted(needed.items()) if (problem := _trouble_with(location, size, directory))
    )
    if problems:
        raise FormatError(
            f"the model's external data cannot be used: {problems[0]}",
            wanted="data files beside the model, in its directory or below it",
            mend="put the data files where the model names them, or save the model again with its weights beside it",
            problems=problems,
        )


def _trouble_with(location: str, size_bytes: int, directory: Path) -> str:
    relative = PurePosixPath(location)
    if not location or relative.is_absolute() or PureWindowsPath(location).is_absolute() or "\\" in location:
        return f"{location!r} is not a path relative to the model"
    if ".." in relative.parts:
        return f"{location!r} leaves the model's directory"
    here = directory
    for part in relative.parts:
        here = here / part
        if here.is_symlink():
            return f"{location!r} is or passes a symbolic link"
    if not here.is_file():
        return f"{location!r} is missing"
    if here.stat().st_size < size_bytes:
        return f"{location!r} is truncated: {here.stat().st_size} bytes of at least {size_bytes}"
    return ""


def nodes_of(graph: Proto) -> Iterator[Proto]:
    """Every node of a graph (or function), those of nested subgraphs included."""
    for node in graph.node:
        yield node
        for subgraph in subgraphs_of(node):
            yield from nodes_of(subgraph)


def subgraphs_of(node: Proto) -> Iterator[Proto]:
    """The graphs that a node carries as attributes (If, Loop, Scan)."""
    for attribute in node.attribute:
        if attribute.type == _GRAPH_ATTRIBUTE:
            yield attribute.g
        elif attribute.type == _GRAPHS_ATTRIBUTE:
            yield from attribute.graphs


def graphs_of(model: Proto) -> Iterator[Proto]:
    """The main graph and every nested one."""
    yield model.graph
    for node in nodes_of(model.graph):
        yield from subgraphs_of(node)


def external_tensors(model: Proto) -> Iterator[Proto]:
    """Every tensor of the model whose data lies in another file, wherever in the model it is."""
    return (tensor for tensor in list(tensors_of(model)) if tensor.data_location == _EXTERNAL)


def locations_of(model: Proto) -> list[str]:
    """The data files of the model, relative to its directory."""
    pairs = (pair for tensor in external_tensors(model) for pair in tensor.external_data)
    return sorted({pair.value for pair in pairs if pair.key == "location"})


def tensors_of(model: Proto) -> Iterator[Proto]:
    """Every stored tensor: initializers, sparse ones, and nodes' attributes, in all graphs and functions."""
    training = [part for info in model.training_info for part in (info.initialization, info.algorithm)]
    graphs = [*graphs_of(model), *training]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for holder in (model.graph, *training, *model.functions):
        for node in nodes_of(holder):
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)


def inputs_of(graph: Proto) -> list[Proto]:
    """The true inputs: old files list their initializers among the inputs as well; those are weights."""
    stored = {tensor.name for tensor in graph.initializer} | {item.values.name for item in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in stored]


def opset_of(model: Proto) -> int:
    """The opset of ONNX's own operators; 0 if the model imports none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def signature_of(model: Proto) -> Signature:
    """The declared inputs and outputs. A free dimension without a name is called "dim_N", each by a name of its own."""
    values = [*inputs_of(model.graph), *model.graph.output]
    taken = {dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim}
    fresh = (name for number in range(1 << 30) if (name := f"dim_{number}") not in taken)
    return Signature(
        inputs=tuple(_spec_of(value, fresh) for value in inputs_of(model.graph)),
        outputs=tuple(_spec_of(value, fresh) for value in model.graph.output),
    )


def _spec_of(value: Proto, fresh: Iterator[str]) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    if kind not in (None, "tensor_type"):
        holds = "export the model so that it takes and gives tensors"
        if kind == "sequence_type" and value.type.sequence_type.elem_type.WhichOneof("value") == "map_type":
            holds += ": skl2onnx's to_onnx(..., options={'zipmap': False}), onnxmltools' convert_...(..., zipmap=False)"
        raise Unsupported(
            f"{value.name!r} is a {kind.removesuffix('_type')}, not a tensor",
            wanted="inputs and outputs that are tensors",
            mend=holds,
        )
    tensor = value.type.tensor_type
    dtype = DTYPES.get(tensor.elem_type, f"type{tensor.elem_type}")
    if not tensor.HasField("shape"):
        return TensorSpec(value.name, dtype, None)
    return TensorSpec(value.name, dtype, tuple(_dim_of(dim, fresh) for dim in tensor.shape.dim))


def _dim_of(dim: Proto, fresh: Iterator[str]) -> Dim:
    # Some exporters write a free size as -1, others name every one alike: such sizes need not be equal.
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return next(fresh) if dim.dim_param in _NAMELESS else str(dim.dim_param)


def set_shapes(graph: Proto, specs: tuple[TensorSpec, ...]) -> bool:
    """Write the shapes of `specs` to the graph's inputs and outputs of the same names; tells whether any changed."""
    by_name = {spec.name: spec.shape for spec in specs if spec.shape is not None}
    changed = False
    for value in (*inputs_of(graph), *graph.output):
        shape = by_name.get(value.name)
        if shape is None:
            continue
        tensor = value.type.tensor_type
        before = tensor.shape.SerializeToString() if tensor.HasField("shape") else None
        del tensor.shape.dim[:]
        tensor.shape.SetInParent()
        for size in shape:
            dim = tensor.shape.dim.add()
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size
        changed = changed or tensor.shape.SerializeToString() != before
    return changed


def _first_lines(text: str) -> str:
    return " ".join(line.strip() for line in text.strip().splitlines()[:3])[:500]
