"""A TensorFlow graph without variables: what it takes and gives by name, cut down to that, and run in a session.

The graph is a GraphDef, typed `Proto` because TensorFlow is only there in a worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import SignatureError
from dlconv.runtimes.tensorflow_import import tensorflow

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors

Proto = Any

WRITES = {
    "Assign", "AssignAdd", "AssignAddVariableOp", "AssignSub", "AssignSubVariableOp", "AssignVariableOp",
    "ResourceScatterUpdate", "ResourceStridedSliceAssign",
}  # fmt: skip
"""Operators that leave something for the next call."""


@dataclass(frozen=True)
class Frozen:
    """A GraphDef and its inputs and outputs: the user's name of each, and the tensor's in the graph ("x:0")."""

    graph_def: Proto
    inputs: dict[str, str]
    outputs: dict[str, str]


class GraphSession:
    """A frozen graph, ready to run: no optimiser rewrites it, so that what runs is what the file says."""

    def __init__(self, frozen: Frozen, threads: int = 0) -> None:
        tf = tensorflow()
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        config.graph_options.optimizer_options.opt_level = -1  # L0: no constant is folded, no subexpression merged
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(frozen.graph_def, name="")
        self._names = list(frozen.outputs)
        self._inputs = list(frozen.inputs)
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        self._call = self._session.make_callable(
            list(frozen.outputs.values()), feed_list=[graph.get_tensor_by_name(name) for name in frozen.inputs.values()]
        )

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by the user's names."""
        return dict(zip(self._names, self._call(*(inputs[name] for name in self._inputs)), strict=True))


def nodes_of(graph_def: Proto) -> Iterator[Proto]:
    """Every node, those of the function library included."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def operators(graph_def: Proto) -> frozenset[str]:
    """The kinds of operators in the graph and in the functions that it can reach."""
    return frozenset(node.op for node in nodes_of(graph_def))


def cut(graph_def: Proto, inputs: dict[str, Any], outputs: list[str]) -> Proto:
    """The part of the graph between tensors: a placeholder stands for each of `inputs` ("name:0": TensorSpec).

    A tensor that is fed from within takes its node's place under the same name, so only first outputs can be fed;
    SignatureError where the graph reads another. What no output depends on is left out, be it an input.
    """
    tf = tensorflow()
    fed = {name.rpartition(":")[0]: spec for name, spec in inputs.items()}
    cut_off = tf.compat.v1.GraphDef()
    cut_off.versions.CopyFrom(graph_def.versions)
    cut_off.library.CopyFrom(graph_def.library)
    for node in graph_def.node:
        if node.name not in fed:
            cut_off.node.add().CopyFrom(node)
            continue
        spec = fed[node.name]
        placeholder = cut_off.node.add(name=node.name, op="Placeholder")
        placeholder.attr["dtype"].type = spec.dtype.as_datatype_enum
        placeholder.attr["shape"].shape.CopyFrom(spec.shape.as_proto())
    wanted = list(dict.fromkeys(name.rpartition(":")[0] for name in outputs))
    part = tf.compat.v1.graph_util.extract_sub_graph(cut_off, wanted)
    for node in part.node:
        for name in node.input:
            source, _, place = name.partition(":")
            if source in fed and place not in ("", "0"):
                raise SignatureError(
                    f"{node.name} reads another output of {source} than the first, for which alone an input stands",
                    wanted="an input behind what reads both",
                    mend=f"--input {node.name}:SHAPE",
                )
    return part


def to_numpy(tensor: Any) -> np.ndarray[Any, Any]:
    """The tensor as an array; bfloat16, which NumPy lacks, comes as float32 of the same values."""
    array: np.ndarray[Any, Any] = tensor.numpy()
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
