"""ONNX in float32 to ONNX in float16: casts in the graph, by ONNX Runtime's pass; inputs and outputs stay float32."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert import onnx_boundary, onnx_reduced
from dlconv.convert.edge import Made, Step
from dlconv.graphs import onnx_keep
from dlconv.graphs.onnx_graph import nodes_of

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_SMALLEST, _LARGEST = 5.96e-8, 65504.0
"""float16's smallest subnormal and its largest number: the pass moves a weight beyond them there."""
_NARROWING, _WIDENING = ("graph_input_cast", "_cast_to_fp16_node"), ("graph_output_cast", "_cast_to_fp32_node")
"""How the pass names its own casts of float32 to float16 and back: by this beginning, or by this end."""


def convert(step: Step) -> Made:
    """The model with every node in float16 but for those of "keep", and operators that have no float16.

    settings: "boundary", the dtypes of inputs and outputs (`onnx_boundary.narrow`), float32 without; "keep", names of
    nodes that stay in float32. A tensor between two nodes that stay is not rounded.
    Raises RequestError for a name that is no node's.
    """
    model = onnx_reduced.load(step.source)
    keep = onnx_keep.kept(step.settings, model.graph)
    is_large = model.ByteSize() > onnx_reduced.INLINE_LIMIT_BYTES
    passes: Any = import_module("onnxruntime.transformers.float16")
    model = passes.convert_float_to_float16(
        model,
        min_positive_val=_SMALLEST,
        max_finite_val=_LARGEST,
        keep_io_types=True,
        disable_shape_infer=is_large,
        node_block_list=keep,
    )
    joined = _join_casts(model.graph)
    signature = step.signature
    if "boundary" in step.settings:
        signature = onnx_boundary.narrow(model, signature, step.settings["boundary"])
    _sort(model)
    notes = (f"{len(keep)} nodes stay in float32",) if keep else ()
    return onnx_reduced.write(
        model, step.out_dir, signature, (*notes, *((f"{joined} casts there and back left out",) if joined else ()))
    )


def _join_casts(graph: Proto) -> int:
    """Let what reads a float32 tensor by way of float16, through two casts of the pass, read it itself. How many."""
    narrowed = {node.output[0]: node.input[0] for node in graph.node if _is_named(node, _NARROWING)}
    wide = {
        node.output[0]: narrowed[node.input[0]]
        for node in graph.node
        if _is_named(node, _WIDENING) and node.input[0] in narrowed
    }
    given = {value.name for value in graph.output}
    for node in nodes_of(graph):
        for place, name in enumerate(node.input):
            if name in wide:
                node.input[place] = wide[name]
    for node in graph.node:
        if node.output and node.output[0] in wide and node.output[0] in given:  # an output keeps its name
            node.op_type, node.input[0] = "Identity", wide[node.output[0]]
            del node.attribute[:]
    _drop_unread_casts(graph)
    return len(wide)


def _drop_unread_casts(graph: Proto) -> None:
    read = {name for node in nodes_of(graph) for name in node.input} | {value.name for value in graph.output}
    for names in (_WIDENING, _NARROWING):  # a cast back may have been the last to read the cast there
        for node in [node for node in graph.node if _is_named(node, names) and node.output[0] not in read]:
            graph.node.remove(node)
        read = {name for node in nodes_of(graph) for name in node.input} | {value.name for value in graph.output}


def _is_named(node: Proto, names: tuple[str, str]) -> bool:
    beginning, end = names
    name = str(node.name)
    return bool(node.op_type == "Cast") and (name.startswith(beginning) or name.endswith(end))


def _sort(model: Proto) -> None:
    """In the order of computation: the pass appends its casts."""
    onnx_model: Any = import_module("onnxruntime.transformers.onnx_model")
    onnx_model.OnnxModel(model).topological_sort()
