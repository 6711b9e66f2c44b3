"""Constants of an ONNX graph folded, sizes and branches settled.

With the inputs' sizes known, what computes sizes becomes constant, and an If whose condition is constant becomes one
of its branches. The simplifiers do this too, and more, and end the process on some models; here the graph is changed
in Python and ONNX Runtime computes constants alone. Worker-side; needs onnx and onnxruntime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_trial import Trial
from dlconv.errors import Unsupported
from dlconv.graphs.onnx_graph import subgraphs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dlconv.graphs.onnx_graph import Proto

_ROUNDS = 20
_LIMIT_BYTES = 64 << 20  # of one folded constant
_NOT_FOLDED = {
    "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout",
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "If", "Loop", "Scan", "SequenceMap",
}  # fmt: skip
_INT64 = 7

Array = np.ndarray[Any, Any]


def fold(model: Proto, apart: Collection[str] = (), told: Callable[[dict[str, Array]], None] | None = None) -> Proto:
    """`model`, changed in place where something folds; the result is the one to go on with.

    apart: tensors that are computed when the model runs, though they could be known. told: what was folded, by name.
    """
    onnx: Any = import_module("onnx")
    for _ in range(_ROUNDS):
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        shapes, inlined = _settle_shapes(model.graph), _inline_branches(model.graph)
        constants = _fold_constants(model, apart)
        if told:
            told(shapes | constants)
        if not (shapes or inlined or constants):
            break
        _drop_unused(model.graph)
    return model


def _settle_shapes(graph: Proto) -> dict[str, Array]:
    """Shape and Size of what has a known shape become constants, these."""
    shapes: dict[str, list[int | None]] = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes[value.name] = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    outputs = {value.name for value in graph.output}
    settled: dict[str, Array] = {}
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") or node.input[0] not in shapes or node.output[0] in outputs:
            continue
        ends = {attribute.name: attribute.i for attribute in node.attribute}
        sizes = shapes[node.input[0]][ends.get("start", 0) : ends.get("end")]
        if None not in sizes:
            whole = np.array(sizes, np.int64)
            settled[node.output[0]] = whole if node.op_type == "Shape" else np.array(whole.prod(), np.int64)
    _replace(graph, settled)
    return settled


def _fold_constants(model: Proto, apart: Collection[str]) -> dict[str, Array]:
    """Nodes whose inputs are all constant are computed, all of them in one run: what they give."""
    helper: Any = import_module("onnx.helper")
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    known, nodes = set(weights), list[Any]()
    for node in graph.node:
        is_plain = node.op_type not in _NOT_FOLDED and not outputs & set(node.output) and not list(subgraphs_of(node))
        is_plain &= not any(name in apart for name in node.output)
        if is_plain and node.domain in ("", "ai.onnx") and all(name in known or not name for name in node.input):
            nodes.append(node)
            known |= set(node.output)
    if not nodes:
        return {}
    wanted = [name for node in nodes for name in node.output if name]
    needed = {name for node in nodes for name in node.input}
    values = [helper.make_empty_tensor_value_info(name) for name in wanted]
    part = helper.make_graph(nodes, "constants", [], values, [weights[name] for name in needed if name in weights])
    whole = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    computed = Trial(whole.SerializeToString()).answers({}) or {}
    # What is computed can be a sequence, which is a list here, and no constant of a graph.
    arrays = {name: value for name, value in computed.items() if hasattr(value, "nbytes")}
    small = {name: value for name, value in arrays.items() if value.nbytes <= _LIMIT_BYTES}
    _replace(graph, small)
    return small


def _replace(graph: Proto, values: dict[str, Array]) -> None:
    """Put constants in the place of the nodes that make them."""
    numpy_helper: Any = import_module("onnx.numpy_helper")
    kept = [node for node in graph.node if not all(name in values or not name for name in node.output)]
    made = {name for node in kept for name in node.output}
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        for name, value in values.items()
        if name not in made
    )
    set_nodes(graph, kept)


def set_nodes(graph: Proto, nodes: list[Proto]) -> None:
    """Make these the graph's nodes."""
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _inline_branches(graph: Proto) -> int:
    """An If whose condition is a constant becomes the nodes of its branch."""
    helper: Any = import_module("onnx.helper")
    numpy_helper: Any = import_module("onnx.numpy_helper")
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[Proto] = []
    inlined = 0
    for node in graph.node:
        if node.op_type != "If" or node.input[0] not in weights:
            nodes.append(node)
            continue
        wanted = "then_branch" if numpy_helper.to_array(weights[node.input[0]]).item() else "else_branch"
        results = _unfolded(graph, node, wanted, nodes, "")
        nodes += [helper.make_node("Identity", [name], [to]) for name, to in zip(results, node.output, strict=True)]
        inlined += 1
    if inlined:
        set_nodes(graph, nodes)
    return inlined


def _unfolded(graph: Proto, node: Proto, which: str, nodes: list[Proto], mark: str) -> list[str]:
    """A branch of an If among the nodes of the graph; the names of its results."""
    branch = next(attribute.g for attribute in node.attribute if attribute.name == which)
    # Two branches may use one name for different things: inside, all names get the If's own.
    rename(branch, {name: f"{node.output[0]}/{mark}{name}" for name in _made_in(branch)})
    graph.initializer.extend(branch.initializer)
    nodes.extend(branch.node)
    return [value.name for value in branch.output]


def merge_branches(model: Proto, apart: Collection[str] = ()) -> tuple[Proto, int]:
    """Both branches of each If computed, and one taken by its condition; the model to go on with, and how many.

    It answers the same, since branches have no effects. Lists of different lengths are joined, all of one and none of
    the other. Raises Unsupported where two branches give other different shapes.
    """
    merged = 0
    while pairs := _merge_branches(model):
        merged += len({place for place, _, _ in pairs})
        model = fold(model, apart)
        shapes = _shapes_of(model.graph)
        for _, one, other in pairs:
            if shapes.get(one) != shapes.get(other) and not _are_lists(shapes.get(one), shapes.get(other)):
                raise Unsupported(
                    f"the branches of a condition give shapes {shapes.get(one)} and {shapes.get(other)}",
                    wanted="branches that give the same shapes, or a condition that is known",
                )
    return model, merged


Shape = tuple[int | str, ...]


def _shapes_of(graph: Proto) -> dict[str, Shape]:
    """What is known of them: a size is a number, or a text."""
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in graph.value_info:
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param
                                       for dim in tensor.shape.dim)  # fmt: skip
    return shapes


def _are_lists(one: Shape | None, other: Shape | None) -> bool:
    """Whether these are of one axis, whose sizes may differ."""
    return one is not None and other is not None and len(one) == len(other) == 1 and (one != other or "" in one)


def _merge_branches(model: Proto) -> list[tuple[int, str, str]]:
    """Each result of each If: the If's number, the names of the two that it is chosen from."""
    onnx: Any = import_module("onnx")
    helper: Any = import_module("onnx.helper")
    graph = model.graph
    nodes: list[Proto] = []
    choices: list[tuple[int, str, str, str, str]] = []
    pairs: list[tuple[int, str, str]] = []
    for place, node in enumerate(graph.node):
        if node.op_type != "If":
            nodes.append(node)
            continue
        sides = [_unfolded(graph, node, which, nodes, f"{which}/") for which in ("then_branch", "else_branch")]
        for one, other, to in zip(*sides, node.output, strict=True):
            choices.append((len(nodes), node.input[0], one, other, to))
            pairs.append((place, one, other))
    if not pairs:
        return []
    # Of a Where between lists inference would tell one length, and that would be taken for a fact.
    set_nodes(graph, nodes)
    nodes = list(graph.node)
    shapes = _shapes_of(onnx.shape_inference.infer_shapes(model, data_prop=True).graph)
    for at, condition, one, other, to in reversed(choices):
        if _are_lists(shapes.get(one), shapes.get(other)):
            nodes[at:at] = _joined(graph, condition, (one, other), to)
        else:
            nodes.insert(at, helper.make_node("Where", [condition, one, other], [to]))
    set_nodes(graph, nodes)
    return pairs


def _joined(graph: Proto, condition: str, lists: tuple[str, str], to: str) -> list[Proto]:
    """Nodes that join two lists, all of the one that is taken and none of the other."""
    helper: Any = import_module("onnx.helper")
    numpy_helper: Any = import_module("onnx.numpy_helper")
    none, whole, turned = (f"{to}/joined/{word}" for word in ("none", "whole", "not"))
    for name, value in ((none, 0), (whole, -1)):
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    nodes = [helper.make_node("Not", [condition], [turned])]
    parts = []
    for place, (chosen, side) in enumerate(zip((condition, turned), lists, strict=True)):
        one, flag, length, end, part = (
            f"{to}/joined/{place}/{word}" for word in ("one", "flag", "length", "end", "part")
        )
        nodes += [
            helper.make_node("Cast", [chosen], [one], to=_INT64),
            helper.make_node("Reshape", [one, whole], [flag]),
            helper.make_node("Shape", [side], [length]),
            helper.make_node("Mul", [flag, length], [end]),
            helper.make_node("Slice", [side, none, end], [part]),
        ]
        parts.append(part)
    return [*nodes, helper.make_node("Concat", parts, [to], axis=0)]


def _made_in(graph: Proto) -> set[str]:
    return {name for node in graph.node for name in node.output if name} | {each.name for each in graph.initializer}


def rename(graph: Proto, names: dict[str, str]) -> None:
    """Give tensors other names, in the graph and in those nested in it."""
    for value in (*graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for nested in subgraphs_of(node):
            hidden = _made_in(nested) | {value.name for value in nested.input}
            rename(nested, {name: new for name, new in names.items() if name not in hidden})


def _drop_unused(graph: Proto) -> None:
    used = {value.name for value in graph.output}
    nodes: list[Proto] = []
    for node in reversed(graph.node):
        if used & set(node.output):
            nodes.append(node)
            used |= used_by(node)
    set_nodes(graph, nodes[::-1])
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(kept) < len(graph.initializer):
        copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(copies)


def used_by(node: Proto) -> set[str]:
    """The names that a node reads, in the graphs nested in it too."""
    names = set(node.input)
    for nested in subgraphs_of(node):
        names |= {value.name for value in nested.output}
        for inner in nested.node:
            names |= used_by(inner)
    return names
