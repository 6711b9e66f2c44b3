"""What a SavedModel, a Keras file or a frozen graph takes and gives, and what else can be known before it runs."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.model import TensorSpec
from dlconv.runtimes.tensorflow_graph import WRITES, nodes_of, operators
from dlconv.runtimes.tensorflow_import import tensorflow
from dlconv.runtimes.tensorflow_program import open_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.runtimes.tensorflow_graph import Frozen, Proto
    from dlconv.runtimes.tensorflow_program import Program

_KEEPS_VALUES = {
    "Cast", "ExpandDims", "Identity", "Pack", "Placeholder", "Reshape", "Squeeze", "StopGradient", "Transpose",
}  # fmt: skip
_KEEPS_RANGE = _KEEPS_VALUES | {
    "MirrorPad", "Pad", "PadV2", "ResizeBilinear", "ResizeNearestNeighbor", "ReverseV2", "Slice", "StridedSlice",
}  # fmt: skip
_PIXELS = (0, 255)
_PIXEL_SCALES = (50.0, 256.0)
"""What pixels of a byte are divided by at the front of a model: 255, 127.5, or their deviation, of some 57."""
_RANDOM = {
    "Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoissonV2", "RandomShuffle",
    "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "StatefulRandomBinomial", "StatefulStandardNormalV2",
    "StatefulUniform", "TruncatedNormal",
}  # fmt: skip


def read(
    path: str, entry: str = "", trust: bool = False, inputs: list[dict[str, Any]] | None = None, outputs: Any = ()
) -> dict[str, Any]:
    """What the model at `path` takes and gives; runs in a worker that has TensorFlow.

    entry: the key of a SavedModel's signature. inputs and outputs: tensors of a frozen graph, as the user named them.
    Returns signature (a Signature as data), notes for the user, bounds (of inputs that select from a table, whatever
    their dtype: the range [low, high] of its rows), and stateful and deterministic.
    Raises as `open_program`.
    """
    asked = [TensorSpec.from_dict(spec) for spec in inputs or ()]
    program = open_program(Path(path), entry, trust=trust, inputs=asked, outputs=tuple(outputs))
    strings = [spec.name for spec in program.signature.inputs if spec.dtype == "string"]
    written = [*program.state, *sorted(program.operators & WRITES)]
    frozen = None if strings else _frozen(program, written)
    kinds = program.operators if frozen is None else program.operators | operators(frozen.graph_def)
    random = sorted(kinds & _RANDOM)
    notes = [f"read by {program.framework}"]
    if program.signature.entry:
        notes.append(f"the signature {program.signature.entry}")
    if random:
        notes.append(f"it draws random numbers in each call: {', '.join(random)}")
    return {
        "signature": program.signature.to_dict(),
        "notes": notes,
        "bounds": {} if frozen is None else bounds(frozen),
        "stateful": bool(written),
        "state": written,
        "deterministic": not random,
    }


def _frozen(program: Program, written: list[str]) -> Frozen | None:
    try:
        return program.frozen(False)
    except Unsupported:
        if not written:
            raise
        return None  # it runs nevertheless, and edges tell why they cannot convert it


def describe(path: str) -> dict[str, Any]:
    """What `dlconv inspect` tells of the model at `path`: its signature, operators with counts, and parameters.

    Constants of more than one element count as parameters. Raises as `open_program`.
    """
    tf = tensorflow()
    program = open_program(Path(path))
    notes = [f"read by {program.framework}"]
    if program.signature.entry:
        notes.append(f"the signature {program.signature.entry}")
    frozen = program.frozen(False)
    nodes = list(nodes_of(frozen.graph_def))
    count, size_bytes, by_dtype = 0, 0, dict[str, int]()
    for node in nodes:
        if node.op != "Const":
            continue
        elements = math.prod(each.size for each in node.attr["value"].tensor.tensor_shape.dim)
        if elements > 1:
            dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)
            count += elements
            size_bytes += elements * dtype.size
            by_dtype[dtype.name] = by_dtype.get(dtype.name, 0) + elements
    return {
        "signature": program.signature.to_dict(),
        "notes": notes,
        "operators": dict(Counter(node.op for node in nodes if node.op not in ("Const", "Placeholder", "NoOp"))),
        "parameters": {"count": count, "size_bytes": size_bytes, "by_dtype": by_dtype},
    }


def bounds(frozen: Frozen) -> dict[str, list[int]]:
    """For inputs that select rows of a constant table, or are made one-hot: the rows that there are. For float images
    that are scaled as pixels are at first: 0 to 255, for of numbers near 0 all would look alike behind that."""
    nodes = {node.name: node for node in frozen.graph_def.node}
    readers: dict[str, list[tuple[Proto, int]]] = {}
    for node in frozen.graph_def.node:
        for place, name in enumerate(node.input):
            readers.setdefault(name.partition(":")[0], []).append((node, place))
    found: dict[str, list[int]] = {}
    for name, tensor in frozen.inputs.items():
        tops = list(_tops(tensor.partition(":")[0], nodes, readers))
        if tops:
            found[name] = [0, min(tops)]
        elif _is_pixels(tensor.partition(":")[0], nodes, readers):
            found[name] = list(_PIXELS)
    return found


def _is_pixels(start: str, nodes: dict[str, Proto], readers: dict[str, list[tuple[Proto, int]]]) -> bool:
    """Whether the input is a float image, and all that first computes on it is a scaling of pixels."""
    shape = nodes[start].attr["shape"].shape
    if nodes[start].attr["dtype"].type != tensorflow().float32.as_datatype_enum or len(shape.dim) < 4:
        return False
    pending, scales = [start], list[bool]()
    while pending:
        for node, place in readers.get(pending.pop(), ()):
            if node.op == "Shape":
                continue
            shifts = node.op in ("Sub", "AddV2", "Add") and _constant(nodes, node.input[1 - place]) is not None
            if shifts or (node.op in _KEEPS_RANGE and place == 0):
                pending.append(node.name)
            else:
                scales.append(_scales_pixels(node, place, nodes))
    return bool(scales) and all(scales)


def _scales_pixels(node: Proto, place: int, nodes: dict[str, Proto]) -> bool:
    if node.op not in ("Mul", "RealDiv") or (node.op == "RealDiv" and place == 1):
        return False
    factor = _constant(nodes, node.input[1 - place])
    if factor is None or not factor.size or not np.all(factor > 0):
        return False
    divisor = 1 / factor.astype(np.float64) if node.op == "Mul" else factor
    return bool(_PIXEL_SCALES[0] <= divisor.min() and divisor.max() <= _PIXEL_SCALES[1])


def _tops(start: str, nodes: dict[str, Proto], readers: dict[str, list[tuple[Proto, int]]]) -> Iterator[int]:
    pending, seen = [start], {start}
    while pending:
        for node, place in readers.get(pending.pop(), ()):
            if node.op in _KEEPS_VALUES and place == 0 and node.name not in seen:
                seen.add(node.name)
                pending.append(node.name)
            elif node.op in ("GatherV2", "Gather") and place == 1:
                table = _constant(nodes, node.input[0])
                axis = _constant(nodes, node.input[2]) if len(node.input) > 2 else np.zeros(())
                if table is not None and axis is not None:
                    yield int(table.shape[int(axis)]) - 1
            elif node.op == "OneHot" and place == 0:
                depth = _constant(nodes, node.input[1])
                if depth is not None:
                    yield int(depth) - 1


def _constant(nodes: dict[str, Proto], name: str) -> np.ndarray[Any, Any] | None:
    node = nodes.get(name.partition(":")[0])
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0].partition(":")[0])
    if node is None or node.op != "Const":
        return None
    array: np.ndarray[Any, Any] = tensorflow().make_ndarray(node.attr["value"].tensor)
    return array
