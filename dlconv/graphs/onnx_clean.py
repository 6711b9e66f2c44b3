"""Clean-ups of an ONNX graph that change no answer: each makes a later tool's life easier, or keeps it alive.

They work on structure alone, so a model whose weights lie in another file is cleaned without loading them.
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.graphs import onnx_invariants
from dlconv.graphs.onnx_graph import graphs_of, inputs_of, locations_of, nodes_of, subgraphs_of

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.graphs.onnx_graph import Proto

_FIRST_IR_WITH_FREE_WEIGHTS = 4


def clean(model: Proto) -> tuple[str, ...]:
    """Clean `model` in place; tells what was done, a line each. Inputs and outputs stay as they are."""
    counts = {
        "trailing empty inputs stripped": _strip_trailing_inputs(model),
        "initializers taken off the list of inputs": _free_weights(model),
        "values that loops carry unchanged taken from outside": onnx_invariants.lift(model.graph),
        "nodes without effect removed": _remove_dead_nodes(model.graph),
        "repeated initializers merged": _merge_initializers(model),
        "unused initializers removed": _remove_unused_initializers(model.graph),
    }
    return tuple(f"{count} {what}" for what, count in counts.items() if count)


def save_cleaned(model: Proto, source: Path, folder: Path) -> Path:
    """Write `model`, read from `source`, into the new `folder`, beside copies of its data files; its path.

    Copies, because onnx refuses data behind links, hard ones too.
    """
    onnx: Any = import_module("onnx")
    folder.mkdir()
    for location in locations_of(model):
        (folder / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.parent / location, folder / location)
    onnx.save_model(model, str(folder / source.name))
    return folder / source.name


def drop_inner_shapes(model: Proto) -> None:
    """Forget the noted shapes of inner tensors, in every graph: they are wrong once an input's shape changes."""
    for graph in graphs_of(model):
        del graph.value_info[:]


def _strip_trailing_inputs(model: Proto) -> int:
    # `LayerNormalization(x, scale, "")` is valid and ends ONNX Runtime's optimiser with a segmentation fault.
    defs: Any = import_module("onnx.defs")
    versions = {entry.domain.replace("ai.onnx", "") if entry.domain == "ai.onnx" else entry.domain: entry.version
                for entry in model.opset_import}  # fmt: skip
    stripped = 0
    for holder in (model.graph, *model.functions):
        for node in nodes_of(holder):
            if not node.input or node.input[-1]:
                continue
            try:
                least = defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain).min_input
            except defs.SchemaError:
                continue
            while len(node.input) > least and not node.input[-1]:
                del node.input[-1]
                stripped += 1
    return stripped


def pool_globally(model: Proto) -> int:
    """Make average pools global whose window is larger than the image, where sizes are known; how many there were.

    ceil_mode allows such windows. OpenVINO refuses them and onnx2tf gets them wrong; without padding, what they average
    is the image.
    """
    graph = model.graph
    if not any(node.op_type == "AveragePool" for node in graph.node):
        return 0
    inferred: Any = import_module("onnx.shape_inference").infer_shapes(model)
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim][2:]
        for value in (*inferred.graph.input, *inferred.graph.value_info)
    }
    changed = 0
    for node in graph.node:
        if node.op_type != "AveragePool" or not sizes.get(node.input[0]):
            continue
        told = {item.name: list(item.ints) or item.s or item.i for item in node.attribute}
        pads = any(told.get("pads", ())) or told.get("auto_pad", b"NOTSET") != b"NOTSET"
        windows = zip(told["kernel_shape"], sizes[node.input[0]], strict=True)
        if told.get("ceil_mode") and not pads and all(0 < size <= kernel for kernel, size in windows):
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]
            changed += 1
    return changed


def _free_weights(model: Proto) -> int:
    true_inputs = {value.name for value in inputs_of(model.graph)}
    stored = [place for place, value in enumerate(model.graph.input) if value.name not in true_inputs]
    for place in reversed(stored):
        del model.graph.input[place]
    if stored:
        model.ir_version = max(model.ir_version, _FIRST_IR_WITH_FREE_WEIGHTS)
    return len(stored)


def reads_of(node: Proto) -> set[str]:
    """The names that a node reads, those that its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for graph in subgraphs_of(node):
        names.update(value.name for value in graph.output)
        for inner in graph.node:
            names.update(reads_of(inner))
    return names


def _remove_dead_nodes(graph: Proto) -> int:
    needed = {value.name for value in graph.output}
    dead: list[int] = []
    for place in range(len(graph.node) - 1, -1, -1):
        node = graph.node[place]
        if any(name in needed for name in node.output):
            needed |= reads_of(node)
        else:
            dead.append(place)
    for place in dead:
        del graph.node[place]
    return len(dead)


def _merge_initializers(model: Proto) -> int:
    graph = model.graph
    outputs = {value.name for value in graph.output}
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.data_location or tensor.name in outputs:
            continue
        key = _content_of(tensor)
        if first.setdefault(key, tensor.name) != tensor.name:
            renamed[tensor.name] = first[key]
    if renamed:
        for node in nodes_of(graph):
            for place, name in enumerate(node.input):
                node.input[place] = renamed.get(name, name)
        for place in range(len(graph.initializer) - 1, -1, -1):
            if graph.initializer[place].name in renamed:
                del graph.initializer[place]
        _rename_subgraph_outputs(graph, renamed)
    return len(renamed)


def _rename_subgraph_outputs(graph: Proto, renamed: dict[str, str]) -> None:
    # A branch may give back an outer weight as it is.
    for node in graph.node:
        for inner in subgraphs_of(node):
            for value in inner.output:
                value.name = renamed.get(value.name, value.name)
            _rename_subgraph_outputs(inner, renamed)


def _content_of(tensor: Proto) -> bytes:
    state = sha256(f"{tensor.data_type}:{list(tensor.dims)}:".encode())
    if tensor.HasField("raw_data"):
        state.update(tensor.raw_data)
        return state.digest()
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    state.update(b"typed" + repr([list(field) for field in fields] + list(tensor.string_data)).encode())
    return state.digest()


def _remove_unused_initializers(graph: Proto) -> int:
    needed = {value.name for value in graph.output}
    for node in graph.node:
        needed |= reads_of(node)
    unused = [place for place, tensor in enumerate(graph.initializer) if tensor.name not in needed]
    for place in reversed(unused):
        del graph.initializer[place]
    return len(unused)
