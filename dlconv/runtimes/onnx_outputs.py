"""Parts of an ONNX model as models of their own: from given tensors to given tensors, with the weights they use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import RequestError
from dlconv.graphs.onnx_clean import reads_of
from dlconv.graphs.onnx_graph import external_tensors, inputs_of, nodes_of, read_model, subgraphs_of
from dlconv.graphs.onnx_masks import before_softmax
from dlconv.runtimes import onnx_fused_int8, onnx_int8_part
from dlconv.runtimes.onnx_joined import joined
from dlconv.runtimes.onnx_plan import program_of
from dlconv.runtimes.onnx_rounding import rounding

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_IN_ONE_FILE_BYTES = 1 << 30
_INTEGER_KERNELS = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger",
}  # fmt: skip
_FLOAT, _FLOAT16, _BFLOAT16 = 1, 10, 16


def opened(path: Path) -> Proto:
    """The model at `path`, its own functions inlined, and ONNX Runtime's int8 operators shown (`onnx_fused_int8`).
    Raises FormatError as `read_model` does."""
    model = read_model(path)
    model = import_module("onnx.inliner").inline_local_functions(model) if model.functions else model
    onnx_fused_int8.unfold(model)
    return model


def outline(path: str) -> dict[str, Any]:
    """The main graph as data: its "operators" in order, each with name, kind, inputs (no weights; what its subgraphs
    read included) and outputs; its "inputs" and "outputs" by name; the coarsest "precision" that it is stored in; and
    "aliases": of a tensor that is only quantised, what its readers take for it.
    """
    model = opened(Path(path))
    graph = model.graph
    weights = _weights_of(graph)
    return {
        "operators": [
            {
                "name": str(node.name),
                "kind": str(node.op_type),
                "inputs": [name for name in _in_order(node) if name not in weights],
                "outputs": [str(name) for name in node.output if name],
            }
            for node in graph.node
        ],
        "inputs": [str(value.name) for value in inputs_of(graph)],
        "outputs": [str(value.name) for value in graph.output],
        "precision": _precision_of(graph),
        "aliases": _quantised(graph),
    }


def cut(
    path: str,
    to: str,
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    rounded: str = "",
    floats: Sequence[str] = (),
    ranges: Mapping[str, Sequence[float]] | None = None,
) -> list[str]:
    """Write the part of the model at `path` that makes `outputs` of `inputs` to the file `to`; the inputs it takes.

    inputs, outputs: by name the dtype, and the sizes. rounded: a precision that its float32 weights and its tensors
    `floats` are rounded through, by casts. ranges: instead, the part is emulated in int8 (`onnx_int8_part`), with these
    ranges of its tensors. Raises RequestError where the part needs a tensor that is not among `inputs`.
    """
    helper: Any = import_module("onnx.helper")
    source = Path(path)
    model = opened(source)
    nodes = needed(model.graph.node, outputs, set(inputs))
    kinds = {name: element_type(dtype) for name, (dtype, *_) in inputs.items()}
    part = part_of(model, source.parent, nodes, kinds, list(outputs))
    for values, told in ((part.graph.input, inputs), (part.graph.output, outputs)):
        for value in values:
            dtype, *sizes = told[value.name]
            value.CopyFrom(helper.make_tensor_value_info(value.name, element_type(dtype), sizes))
    if ranges is not None:
        inner = {maker.outputs[0] for maker, _ in joined(program_of(source).plan)}
        spans = {name: span for name, span in ranges.items() if name not in inner}
        onnx_int8_part.emulate(part, spans, before_softmax(model.graph.node))
    elif rounded:
        _round(part, rounded, set(floats))
    save(part, Path(to))
    return [str(value.name) for value in part.graph.input]


def needed(nodes: Sequence[Proto], outputs: Iterable[str], given: set[str]) -> list[Proto]:
    """Those of the nodes, in order, that `outputs` are made by, back to what is given."""
    open_names = set(outputs) - given
    kept: list[Proto] = []
    for node in reversed(nodes):
        if open_names.isdisjoint(node.output):
            continue
        kept.append(node)
        open_names -= set(node.output)
        open_names |= reads_of(node) - given
    return kept[::-1]


def part_of(
    model: Proto, folder: Path, nodes: Sequence[Proto], kinds: Mapping[str, int], outputs: Sequence[str]
) -> Proto:
    """A model of these nodes alone. kinds: element types of tensors that may be given, weights aside. Its external
    weights, which lie in `folder`, are brought in. RequestError for a tensor that is neither made nor given."""
    onnx: Any = import_module("onnx")
    external: Any = import_module("onnx.external_data_helper")
    made = {name for node in nodes for name in node.output}
    read = {name for node in nodes for name in reads_of(node)} | (set(outputs) - made)
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read and tensor.name not in kinds]
    inner = {name for node in nodes for name in _inner_names(node)}
    missing = read - made - inner - {tensor.name for tensor in weights} - kinds.keys()
    if missing:
        raise RequestError(f"a part of the model needs {', '.join(sorted(missing))}", wanted="tensors that are given")
    graph = onnx.GraphProto(name="part")
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    for name, kind in kinds.items():
        if name in read - made:
            graph.input.append(onnx.helper.make_tensor_value_info(name, kind, None))
    # A name alone: ONNX Runtime infers the rest.
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    part = onnx.ModelProto(ir_version=max(model.ir_version, 4), graph=graph)
    part.opset_import.extend(model.opset_import)
    for tensor in external_tensors(part):
        external.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = 0
        del tensor.external_data[:]
    return part


def save(model: Proto, path: Path) -> None:
    """Write the model, its weights beside it where one file could not hold them."""
    onnx: Any = import_module("onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    outside = model.ByteSize() > _IN_ONE_FILE_BYTES
    onnx.save_model(model, str(path), save_as_external_data=outside, location=f"{path.stem}.data" if outside else None)


def element_type(dtype: str) -> int:
    """ONNX's number of a dtype by NumPy's name."""
    helper: Any = import_module("onnx.helper")
    named = np.dtype(import_module("ml_dtypes").bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    return int(helper.np_dtype_to_tensor_dtype(named))


def _in_order(node: Proto) -> list[str]:
    own = [str(name) for name in node.input if name]
    inner = {name for name in reads_of(node) - set(own) if name not in _inner_names(node)}
    return [*dict.fromkeys(own), *sorted(inner)]


def _inner_names(node: Proto) -> set[str]:
    """Names that the node's subgraphs bring themselves."""
    found: set[str] = set()
    for graph in subgraphs_of(node):
        found |= {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        for inner in nodes_of(graph):
            found |= set(inner.output)
            for deeper in subgraphs_of(inner):
                found |= {value.name for value in deeper.input} | {tensor.name for tensor in deeper.initializer}
    return found


def _weights_of(graph: Proto) -> set[str]:
    return {tensor.name for tensor in graph.initializer} | {item.values.name for item in graph.sparse_initializer}


def _quantised(graph: Proto) -> dict[str, str]:
    """The dequantised tensor by the name of the one that is quantised, where nobody reads it as it is: a Relu before it
    may be gone into the limits of the integers."""
    readers: dict[str, list[Proto]] = {}
    for node in graph.node:
        for name in reads_of(node):
            readers.setdefault(name, []).append(node)
    known = {value.name for value in graph.output}
    found: dict[str, str] = {}
    for name, (node, *others) in readers.items():
        after = readers.get(node.output[0], []) if node.op_type == "QuantizeLinear" and not others else []
        if name not in known and node.input[0] == name and [each.op_type for each in after] == ["DequantizeLinear"]:
            found[str(name)] = str(after[0].output[0])
    return found


def _precision_of(graph: Proto) -> str:
    if any(node.op_type in _INTEGER_KERNELS for node in graph.node):
        return "int8"
    kinds = {tensor.data_type for tensor in graph.initializer}
    return "bfloat16" if _BFLOAT16 in kinds else "float16" if _FLOAT16 in kinds else "float32"


def _round(part: Proto, precision: str, floats: set[str]) -> None:
    """Emulate a precision in the part: every weight, and what a node makes or is given, goes through it and back."""
    arrays: Any = import_module("onnx.numpy_helper")
    helper: Any = import_module("onnx.helper")
    through = rounding(precision).saturating
    graph = part.graph
    for tensor in graph.initializer:
        if tensor.data_type == _FLOAT:
            tensor.CopyFrom(arrays.from_array(through.through(arrays.to_array(tensor))[0], tensor.name))
    nodes = list(graph.node)
    casts = [(value.name, f"{value.name}/rounded") for value in graph.input if value.name in floats]
    del graph.node[:]

    def cast(source: str, target: str) -> None:
        narrow = f"{target}/narrow"
        graph.node.append(helper.make_node("Cast", [source], [narrow], to=element_type(precision)))
        graph.node.append(helper.make_node("Cast", [narrow], [target], to=_FLOAT))

    renamed = dict(casts)
    for source, target in casts:
        cast(source, target)
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        exact = [name for name in node.output if name in floats]
        node.output[:] = [f"{name}/exact" if name in floats else name for name in node.output]
        graph.node.append(node)
        for name in exact:
            cast(f"{name}/exact", name)
