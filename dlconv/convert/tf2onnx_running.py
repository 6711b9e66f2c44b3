"""TensorFlow graphs to ONNX by tf2onnx: names, free sizes and layouts stay the source's; what it lacks is told."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.names_apart import apart
from dlconv.convert.tensorflow_opened import frozen, opened, refuse_strings
from dlconv.convert.tf2onnx_handlers import handlers
from dlconv.errors import Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes.tensorflow_import import tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OPSET = 18
"""The highest that tf2onnx 1.17 writes."""
ENTRY = "model.onnx"
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")


def convert(step: Step) -> Made:
    """The ONNX model of a SavedModel, a frozen graph or a Keras file, as "model.onnx". settings: "opset"."""
    refuse_strings(step.signature)
    program, signature = opened(step)
    graph = frozen(program)
    opset = int(step.settings.get("opset", OPSET))
    made = write(graph.graph_def, graph.inputs, graph.outputs, signature, step.out_dir / ENTRY, opset)
    return Made(ENTRY, replace(made, constants=(), entry=""))


def write(
    graph_def: Any, inputs: dict[str, str], outputs: dict[str, str], signature: Signature, path: Path, opset: int
) -> Signature:
    """Writes the frozen graph at `path`, and gives the signature that the file has.

    inputs, outputs: the graph's tensors ("x:0") by the signature's names. An output that is called as an input is gets
    another name in the file, for ONNX knows one tensor by each.
    Raises Unsupported with the names of all operators that tf2onnx cannot convert.
    """
    onnx: Any = import_module("onnx")
    known = apart(signature)
    fed = [inputs[spec.name] for spec in signature.inputs]
    graph_def, given = _with_outputs(graph_def, [outputs[spec.name] for spec in signature.outputs])
    names = [spec.name for spec in (*known.inputs, *known.outputs)]
    model = _converted(graph_def, fed, given, dict(zip((*fed, *given), names, strict=True)), opset)
    _refuse_unknown(model)
    _declare(model.graph.input, known.inputs)
    _declare(model.graph.output, known.outputs)
    onnx.save(model, str(path))
    return known


def _with_outputs(graph_def: Any, tensors: list[str]) -> tuple[Any, list[str]]:
    """The graph with a node of its own for each output: an input or a constant may be one, and a tensor two."""
    tf = tensorflow()
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        given = [
            tf.identity(graph.get_tensor_by_name(name), name=f"dlconv_output_{n}") for n, name in enumerate(tensors)
        ]
    return graph.as_graph_def(add_shapes=True), [tensor.name for tensor in given]


def _converted(graph_def: Any, fed: list[str], given: list[str], renamed: dict[str, str], opset: int) -> Any:
    tf = tensorflow()
    tf2onnx: Any = import_module("tf2onnx")
    import_module("tf2onnx.convert")
    with tf.device("/cpu:0"):
        with tf.Graph().as_default():
            tf.import_graph_def(graph_def, name="")
            graph_def = tf2onnx.tf_loader.tf_optimize(fed, given, graph_def)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            made = tf2onnx.tfonnx.process_tf_graph(
                graph,
                opset=opset,
                input_names=fed,
                output_names=given,
                tensors_to_rename=renamed,
                custom_op_handlers=handlers(),
                continue_on_error=True,  # all unknown operators are collected
            )
    return tf2onnx.optimizer.optimize_graph(made).make_model("dlconv")


def _refuse_unknown(model: Any) -> None:
    onnx: Any = import_module("onnx")
    unknown = sorted(
        {
            node.op_type
            for node in _nodes(model.graph)
            if node.domain not in _STANDARD or not onnx.defs.has(node.op_type, node.domain)
        }
    )
    if unknown:
        raise Unsupported(
            f"tf2onnx has no ONNX for the TensorFlow operators: {', '.join(unknown)}",
            mend="another route may take them (dlconv plan shows all); or give the part of the model without them",
            problems=tuple(unknown),
        )


def _nodes(graph: Any) -> Iterable[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _declare(values: Any, specs: tuple[TensorSpec, ...]) -> None:
    """Free sizes get the signature's names, and sizes that the signature knows are written."""
    known = {spec.name: spec for spec in specs}
    for value in values:
        shape = known[value.name].shape
        if shape is None:
            continue
        dims = value.type.tensor_type.shape.dim
        del dims[:]
        value.type.tensor_type.shape.SetInParent()
        for size in shape:
            dim = dims.add()
            if isinstance(size, int):
                dim.dim_value = size
            else:
                dim.dim_param = size
