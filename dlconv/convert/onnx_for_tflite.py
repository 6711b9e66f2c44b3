"""ONNX graphs rewritten for TFLite: exact mends, made outside the converter, of what it or TFLite's kernels lack.

Every rewriting keeps the answers. Runs where onnx is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert import onnx_fold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dlconv.convert.onnx_graph import Proto
    from dlconv.model import Dim

_INT64 = 7
_KERNEL_RANK = 5  # TFLite's SLICE, SPLIT and reductions end here
_FIRST_IR_WITH_FREE_WEIGHTS = 4  # before it every initializer had to be listed as an input too


def prepare(model: Proto, shapes: Mapping[str, tuple[Dim, ...]]) -> tuple[Proto, tuple[str, ...]]:
    """A copy of `model` with the inputs' shapes set, its constants folded, and mended.

    shapes: by input's name; a text leaves the dimension free. Returns the model and a line for each kind of mend.
    """
    onnx: Any = import_module("onnx")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if copy.functions:
        copy = import_module("onnx.inliner").inline_local_functions(copy)
    copy.ir_version = max(copy.ir_version, _FIRST_IR_WITH_FREE_WEIGHTS)
    _set_shapes(copy.graph, shapes)
    copy = onnx_fold.fold(copy)
    counts: dict[str, int] = {}
    for what, mend in _MENDS.items():
        count = _apply(copy.graph, mend)
        if count:
            counts[what] = count
            del copy.graph.value_info[:]  # inference went astray where the operator is one of those mended
            copy = onnx.shape_inference.infer_shapes(copy)
    return copy, tuple(f"{count} {what}" for what, count in counts.items())


def _set_shapes(graph: Proto, shapes: Mapping[str, tuple[Dim, ...]]) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    changed = False
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, shapes[value.name], strict=True):
            if isinstance(size, str):
                changed |= dim.dim_param != size
                dim.dim_param = size
            else:
                changed |= dim.dim_value != size
                dim.dim_value = size
    if changed:  # what was noted of inner tensors is no longer true
        del graph.value_info[:]
        for value in graph.output:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()


@dataclass
class Rewriting:
    """The graph under rewriting, seen by one mend: the shapes that are known, and new nodes and constants."""

    graph: Proto
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    integers: set[str] = field(default_factory=set)
    count: int = 0

    def constant(self, values: list[int]) -> str:
        """The name of a new constant of int64."""
        numpy_helper: Any = import_module("onnx.numpy_helper")
        name = self.name("sizes")
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def name(self, stem: str) -> str:
        self.count += 1
        return f"dlconv/{stem}/{len(self.graph.initializer)}/{self.count}"

    def reshape(self, source: str, sizes: tuple[int, ...], target: str = "") -> tuple[Proto, str]:
        """A Reshape node, and the name of its output."""
        target = target or self.name("reshaped")
        return self.node("Reshape", [source, self.constant(list(sizes))], [target]), target

    def node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Proto:
        helper: Any = import_module("onnx.helper")
        return helper.make_node(kind, inputs, outputs, name=self.name(kind), **attributes)


def _apply(graph: Proto, mend: Callable[[Proto, Rewriting], list[Proto]]) -> int:
    """Replace each node for which `mend` gives others; how many there were."""
    numpy_helper: Any = import_module("onnx.numpy_helper")
    known = Rewriting(graph)
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type == _INT64:
            known.integers.add(value.name)
        if tensor.HasField("shape") and all(dim.dim_value > 0 for dim in tensor.shape.dim):
            known.shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    for tensor in graph.initializer:
        known.shapes[tensor.name] = tuple(tensor.dims)
        if len(tensor.dims) <= 1 and tensor.data_type == _INT64:
            known.constants[tensor.name] = numpy_helper.to_array(tensor)
    nodes: list[Proto] = []
    replaced = 0
    for node in graph.node:
        others = mend(node, known)
        replaced += bool(others)
        nodes += others or [node]
    if replaced:
        kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
    return replaced


def _attributes(node: Proto) -> dict[str, Any]:
    helper: Any = import_module("onnx.helper")
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _lift_grouped_conv1d(node: Proto, known: Rewriting) -> list[Proto]:
    """A grouped convolution over one axis as one over two, the first of them of size 1."""
    attributes = _attributes(node)
    groups = attributes.get("group", 1)
    if node.op_type not in ("Conv", "ConvTranspose") or groups == 1:
        return []
    data, weights = known.shapes.get(node.input[0]), known.shapes.get(node.input[1])
    result = known.shapes.get(node.output[0])
    if data is None or weights is None or result is None or len(data) != 3:
        return []
    flat = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0}
    for name, neutral in flat.items():
        if name in attributes:
            attributes[name] = [neutral, *attributes[name]]
    if "pads" in attributes:
        begin, end = attributes["pads"]
        attributes["pads"] = [0, begin, 0, end]
    attributes.pop("output_shape", None)
    grow, grown = known.reshape(node.input[0], (*data[:2], 1, data[2]))
    widen, widened = known.reshape(node.input[1], (*weights[:2], 1, weights[2]))
    wide = known.name("wide")
    convolution = known.node(node.op_type, [grown, widened, *node.input[2:]], [wide], **attributes)
    shrink, _ = known.reshape(wide, result, node.output[0])
    return [grow, widen, convolution, shrink]


def _flatten_high_rank(node: Proto, known: Rewriting) -> list[Proto]:
    """Split, Slice or a reduction along one axis of a tensor of high rank, done in three axes: before, it, after."""
    shape = known.shapes.get(node.input[0]) if node.input else None
    results = [known.shapes.get(name) for name in node.output]
    axis = _single_axis(node, known)
    if shape is None or axis is None or len(shape) <= _KERNEL_RANK or None in results:
        return []
    axis %= len(shape)
    before, after = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
    fold, folded = known.reshape(node.input[0], (before, shape[axis], after))
    attributes = _attributes(node)
    inputs = [folded, *node.input[1:]]
    if "axis" in attributes:
        attributes["axis"] = 1
    if "axes" in attributes:
        attributes["axes"] = [1]
    elif node.op_type == "Slice" or (node.op_type.startswith("Reduce") and len(inputs) > 1):
        inputs[3 if node.op_type == "Slice" else 1] = known.constant([1])
    inner = [known.name("part") for _ in node.output]
    work = known.node(node.op_type, inputs, inner, **attributes)
    back = [known.reshape(source, result or (), name)[0]
            for source, result, name in zip(inner, results, node.output, strict=True)]  # fmt: skip
    return [fold, work, *back]


def _single_axis(node: Proto, known: Rewriting) -> int | None:
    """The one axis along which the node works; None for other nodes, and for more axes than one."""
    attributes = _attributes(node)
    if node.op_type == "Split":
        return int(attributes.get("axis", 0))
    if node.op_type == "Slice":
        axes = known.constants.get(node.input[3]) if len(node.input) > 3 else attributes.get("axes")
    elif node.op_type.startswith("Reduce"):
        axes = known.constants.get(node.input[1]) if len(node.input) > 1 else attributes.get("axes")
    else:
        return None
    return int(axes[0]) if axes is not None and len(axes) == 1 else None


def _merge_transpose(node: Proto, known: Rewriting) -> list[Proto]:
    """A transposition of high rank with the axes that stay neighbours taken together, and those of size 1 left out."""
    shape = known.shapes.get(node.input[0]) if node.op_type == "Transpose" else None
    if shape is None or len(shape) <= _KERNEL_RANK:
        return []
    order = list(_attributes(node).get("perm", range(len(shape))[::-1]))
    groups: list[list[int]] = []
    for axis in (axis for axis in order if shape[axis] != 1):
        if groups and all(shape[between] == 1 for between in range(groups[-1][-1] + 1, axis)) and axis > groups[-1][-1]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    places = sorted(range(len(groups)), key=lambda index: groups[index][0])
    merged = tuple(int(np.prod([shape[axis] for axis in groups[place]])) for place in places) or (1,)
    if len(merged) == len(shape):
        return []
    fold, folded = known.reshape(node.input[0], merged)
    turned = known.name("turned")
    turn = known.node(
        "Transpose", [folded], [turned], perm=[places.index(index) for index in range(len(groups))] or [0]
    )
    unfold, _ = known.reshape(turned, tuple(shape[axis] for axis in order), node.output[0])
    return [fold, turn, unfold]


def _spell_out_integer_abs(node: Proto, known: Rewriting) -> list[Proto]:
    """|x| of integers as max(x, -x): TFLite's ABS takes none of 64 bits."""
    if node.op_type != "Abs" or node.input[0] not in known.integers:
        return []
    turned = known.name("negative")
    negate = known.node("Neg", [node.input[0]], [turned])
    return [negate, known.node("Max", [node.input[0], turned], [node.output[0]])]


def _spell_out_einsum(node: Proto, known: Rewriting) -> list[Proto]:
    """An Einsum of two operands without repeated or summed-out lone labels, as a matrix product."""
    shapes = [known.shapes.get(name) for name in node.input] if node.op_type == "Einsum" else []
    if len(shapes) != 2 or shapes[0] is None or shapes[1] is None:
        return []
    equation = _attributes(node)["equation"].decode().replace(" ", "")
    operands, arrow, result = equation.partition("->")
    left, right = operands.split(",")
    plain = all(word.isalpha() and len(set(word)) == len(word) for word in (left, right, result))
    both = [label for label in left if label in right]
    batch, summed = ([label for label in both if (label in result) is wanted] for wanted in (True, False))
    rows, columns = ([label for label in word if label not in both] for word in (left, right))
    if not arrow or not plain or set(result) != {*batch, *rows, *columns}:
        return []
    size = dict(zip(left + right, (*shapes[0], *shapes[1]), strict=True))
    labels_of = {"batch": batch, "rows": rows, "summed": summed, "columns": columns}
    count = {part: int(np.prod([size[label] for label in labels])) for part, labels in labels_of.items()}
    made: list[Proto] = []

    def matrix(name: str, labels: str, order: list[str], parts: tuple[str, str]) -> str:
        turned = known.name("turned")
        made.append(known.node("Transpose", [name], [turned], perm=[labels.index(label) for label in order]))
        made.append((reshaped := known.reshape(turned, (count["batch"], count[parts[0]], count[parts[1]])))[0])
        return reshaped[1]

    one = matrix(node.input[0], left, [*batch, *rows, *summed], ("rows", "summed"))
    other = matrix(node.input[1], right, [*batch, *summed, *columns], ("summed", "columns"))
    product, order = known.name("product"), [*batch, *rows, *columns]
    made.append(known.node("MatMul", [one, other], [product]))
    apart, unfolded = known.reshape(product, tuple(size[label] for label in order))
    turn = known.node("Transpose", [unfolded], [node.output[0]], perm=[order.index(label) for label in result])
    return [*made, apart, turn]


_MENDS: dict[str, Callable[[Proto, Rewriting], list[Proto]]] = {
    "grouped convolutions over one axis written as over two": _lift_grouped_conv1d,
    "Einsums written as matrix products": _spell_out_einsum,
    "absolute values of integers spelled out": _spell_out_integer_abs,
    "operators on tensors of more than five axes written on three": _flatten_high_rank,
    "transpositions of more than five axes merged": _merge_transpose,
}
