"""A frozen TensorFlow graph in float64: every float32, float16 and bfloat16 in it made a float64, exactly.

Types, constants and the signatures of functions are rewritten; batch normalisation, whose kernel knows no float64, is
replaced by arithmetic that is the same by its definition. What can be neither is refused, and named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.tensorflow_graph import Frozen, nodes_of
from dlconv.runtimes.tensorflow_import import tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.tensorflow_graph import Proto

_NARROW = {
    "AudioSpectrogram", "CropAndResize", "CudnnRNN", "CudnnRNNV2", "CudnnRNNV3", "DecodeWav",
    "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel", "LRN", "Mfcc",
    "NonMaxSuppression", "NonMaxSuppressionV2", "QuantizeV2", "ResizeArea", "ResizeBicubic", "ResizeBilinear",
    "ScaleAndTranslate",
}  # fmt: skip
"""Operators whose answers, or kernels, are float32 by definition."""

_GIVES_FLOW = {"TensorArrayScatterV3", "TensorArraySplitV3", "TensorArrayWriteV3", "TensorArrayGradV3"}
_PASSES_ON = {"Enter", "Exit", "Identity", "Merge", "NextIteration", "Switch"}

_BATCH_NORMALISATIONS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}


def widened(frozen: Frozen) -> Frozen:
    """The same graph in float64; its floating inputs and outputs become float64. Raises Unsupported."""
    tf = tensorflow()
    graph_def = tf.compat.v1.GraphDef()
    graph_def.CopyFrom(frozen.graph_def)
    narrow = sorted({node.op for node in nodes_of(graph_def)} & _NARROW)
    if narrow:
        raise _refusal(", ".join(narrow))
    _unfuse(graph_def.node, graph_def.node.add, ())
    for function in graph_def.library.function:
        _unfuse(function.node_def, function.node_def.add, function.ret)
    for function in graph_def.library.function:
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            argument.type = _wide(argument.type)
        _widen(function.attr)
    flows = _flows(graph_def)
    for node in nodes_of(graph_def):
        if node.name not in flows:
            _widen(node.attr)
    return Frozen(graph_def, frozen.inputs, frozen.outputs)


def has_halves(frozen: Frozen) -> bool:
    """Whether something in the graph is in float16 or bfloat16."""
    tf = tensorflow()
    halves = {tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}
    return any(each.type in halves for node in nodes_of(frozen.graph_def) for each in node.attr.values())


def _flows(graph_def: Proto) -> set[str]:
    """The nodes that pass on the flow of a TensorArray: a float32 by definition, that only orders its writes."""
    found: set[str] = set()
    sources = {f"{node.name}:1" for node in graph_def.node if node.op == "TensorArrayV3"}
    sources |= {node.name for node in graph_def.node if node.op in _GIVES_FLOW}
    while True:
        more = {
            node.name
            for node in graph_def.node
            if node.op in _PASSES_ON and node.name not in found and node.input[0] in sources
        }
        if not more:
            return found
        found |= more
        sources |= more | {f"{name}:1" for name in more}


def _refusal(where: str) -> Unsupported:
    return Unsupported(
        f"the model cannot run in float64, because of {where}",
        wanted="operators that have float64 kernels",
        mend="the model's own precision serves as the reference",
    )


def _wide(kind: int) -> int:
    tf = tensorflow()
    wide = {
        **{kind.as_datatype_enum: tf.float64.as_datatype_enum for kind in (tf.float32, tf.float16, tf.bfloat16)},
        tf.complex64.as_datatype_enum: tf.complex128.as_datatype_enum,
    }
    return int(wide.get(kind, kind))


def _widen(attributes: Any) -> None:
    """Every type and constant among the attributes. Those with a leading "_" are notes of TensorFlow's own."""
    tf = tensorflow()
    for key, value in attributes.items():
        if key.startswith("_"):
            continue
        kind = value.WhichOneof("value")
        if kind == "type":
            value.type = _wide(value.type)
        elif kind == "list":
            value.list.type[:] = [_wide(each) for each in value.list.type]
        elif kind == "func":
            _widen(value.func.attr)
        elif kind == "tensor" and _wide(value.tensor.dtype) != value.tensor.dtype:
            array = tf.make_ndarray(value.tensor)
            wide = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
            value.tensor.CopyFrom(tf.make_tensor_proto(wide, shape=wide.shape))


def _unfuse(nodes: Any, add: Any, returned: Any) -> None:
    """Batch normalisations as arithmetic: (x - mean) * (scale / sqrt(variance + epsilon)) + offset, channels last.

    nodes: of the graph, or of a function, whose tensors are named otherwise ("node:z:0" for "node"), and whose
    `returned` names some of them.
    """
    inside = returned != ()
    fused = [node for node in nodes if node.op in _BATCH_NORMALISATIONS]
    renamed: dict[str, str] = {}
    for node in fused:
        renamed[f"{node.name}:y:0"] = f"{node.name}:z:0"
        _Arithmetic(node.name, add, inside).write(node)
    if not inside:
        return
    for node in nodes:
        node.input[:] = [renamed.get(each, each) for each in node.input]
    for key, each in returned.items():
        returned[key] = renamed.get(each, each)


class _Arithmetic:
    """Writes the nodes of one batch normalisation, called after it; each method gives the name of what it made."""

    def __init__(self, name: str, add: Callable[..., Proto], inside: bool) -> None:
        self._name = name
        self._add = add
        self._inside = inside
        self._single = int(tensorflow().float32.as_datatype_enum)

    def write(self, node: Proto) -> None:
        """In the place of `node`: its first output alone is there afterwards, under its name."""
        is_first = node.attr["data_format"].s in (b"NCHW", b"NCDHW")
        is_training, epsilon = node.attr["is_training"].b, float(node.attr["epsilon"].f)
        x, scale, offset, mean, variance = list(node.input)[:5]
        if is_first:
            scale, offset = (self._column(what, each) for what, each in (("scale", scale), ("offset", offset)))
        if is_training:  # of the batch itself: how Keras 2 writes a layer normalisation
            mean = self._mean("mean", x, is_first)
            variance = self._mean("variance", self._binary("squares", "SquaredDifference", x, mean), is_first)
        elif is_first:
            mean, variance = (self._column(what, each) for what, each in (("mean", mean), ("variance", variance)))
        shifted = self._binary("shifted", "AddV2", variance, self._constant("epsilon", np.float32(epsilon)))
        root = self._node("root", "Rsqrt", [shifted], "y")
        factor = self._binary("factor", "Mul", root, scale)
        scaled = self._binary("scaled", "Mul", self._binary("centred", "Sub", x, mean), factor)
        node.Clear()
        node.name, node.op = self._name, "AddV2"
        node.input.extend([scaled, offset])
        node.attr["T"].type = self._single

    def _node(self, what: str, op: str, inputs: list[str], output: str) -> str:
        name = f"{self._name}/exactly_{what}"
        self._last = self._add(name=name, op=op, input=inputs)
        self._last.attr["T"].type = self._single
        return f"{name}:{output}:0" if self._inside else name

    def _binary(self, what: str, op: str, left: str, right: str) -> str:
        return self._node(what, op, [left, right], "z")

    def _constant(self, what: str, value: np.ndarray[Any, Any] | np.generic) -> str:
        tf = tensorflow()
        name = f"{self._name}/exactly_{what}"
        node = self._add(name=name, op="Const")
        content = tf.make_tensor_proto(value)
        node.attr["dtype"].type = content.dtype
        node.attr["value"].tensor.CopyFrom(content)
        return f"{name}:output:0" if self._inside else name

    def _mean(self, what: str, x: str, is_first: bool) -> str:
        axes = self._constant(f"{what}_axes", np.array([0, 2, 3] if is_first else [0, 1, 2], np.int32))
        name = self._node(what, "Mean", [x, axes], "output")
        self._last.attr["Tidx"].type = int(tensorflow().int32.as_datatype_enum)
        self._last.attr["keep_dims"].b = True
        return name

    def _column(self, what: str, vector: str) -> str:
        shape = self._constant(f"{what}_shape", np.array([-1, 1, 1], np.int32))
        name = self._node(f"{what}_column", "Reshape", [vector, shape], "output")
        self._last.attr["Tshape"].type = int(tensorflow().int32.as_datatype_enum)
        return name
