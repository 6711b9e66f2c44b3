"""ONNX graphs rewritten for TFLite: exact mends, made outside the converter, of what it or TFLite's kernels lack.

Every rewriting keeps the answers. Runs where onnx is.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert import onnx_fold, onnx_unroll
from dlconv.convert.onnx_einsum import spell_out_einsum
from dlconv.convert.onnx_followers import Followers, sized
from dlconv.convert.onnx_recurrent import spell_out_recurrent
from dlconv.convert.onnx_rewriting import apply, attributes_of
from dlconv.convert.onnx_roi_align import spell_out_roi_align
from dlconv.graphs import onnx_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.convert.onnx_rewriting import Mend, Rewriting
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Dim

_INT32, _BOOL = 6, 9
_KERNEL_RANK = 5  # TFLite's SLICE, SPLIT and reductions end here


@dataclass(frozen=True)
class Prepared:
    """A graph that is fit for TFLite. notes: a line for each kind of mend. merged: conditions, both of whose branches
    are computed now."""

    model: Proto
    notes: tuple[str, ...]
    merged: int


def prepare(model: Proto, shapes: Mapping[str, tuple[Dim, ...]], follow: Followers | None = None) -> Prepared:
    """A copy of `model` with the inputs' shapes set, its constants folded, and mended.

    shapes: by input's name; a text leaves the dimension free. follow: what follows sizes that are to be free.
    Raises Unsupported for conditions whose branches cannot both be computed, and for loops whose length is not known.
    """
    onnx: Any = import_module("onnx")
    follow = follow or Followers()
    copy, unrolled = onnx_unroll.unroll(onnx_fold.fold(sized(model, shapes), follow.apart), follow.apart)
    copy, merged = onnx_fold.merge_branches(copy, follow.apart)
    onnx_unroll.refuse_loops(copy)
    counts = {"conditions chosen from both branches, which are both computed": merged} if merged else dict[str, int]()
    if unrolled:
        counts["loops of known length written out step by step"] = unrolled
    for what, mend in _MENDS.items():
        count = apply(copy.graph, mend, onnx_graph.opset_of(copy), follow.axes)
        if count:
            counts[what] = count
            del copy.graph.value_info[:]  # inference went astray where the operator is one of those mended
            copy = onnx.shape_inference.infer_shapes(copy)
    return Prepared(copy, tuple(f"{count} {what}" for what, count in counts.items()), merged)


def _lift_grouped_conv1d(node: Proto, known: Rewriting) -> list[Proto]:
    """A grouped convolution over one axis as one over two, the first of them of size 1."""
    attributes = attributes_of(node)
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


def _flatten_pool(node: Proto, known: Rewriting) -> list[Proto]:
    """A largest value over three axes as over the last two of them, and then over the first."""
    shape = known.shapes.get(node.input[0]) if node.op_type == "MaxPool" else None
    result = known.shapes.get(node.output[0])
    attributes = attributes_of(node)
    is_plain = len(node.output) == 1 and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    if shape is None or result is None or len(shape) != 5 or not is_plain:
        return []
    if known.free_axes.get(node.input[0], set()) - {0}:
        return []
    _, channels, depth, *sides = shape
    told = {name: list(attributes.get(name, [1] * 3)) for name in ("kernel_shape", "strides", "dilations")}
    pads = list(attributes.get("pads", [0] * 6))
    common = {"ceil_mode": attributes.get("ceil_mode", 0)}
    flat = {**common, **{name: values[1:] for name, values in told.items()}, "pads": [*pads[1:3], *pads[4:6]]}
    deep = {**common, **{name: [values[0], 1] for name, values in told.items()}, "pads": [pads[0], 0, pads[3], 0]}
    fold, folded = known.reshape(node.input[0], (0, channels * depth, *sides))
    turn, turned = known.reshape(small := known.name("pooled"), (0, channels, depth, result[3] * result[4]))
    unfold, _ = known.reshape(pooled := known.name("pooled"), (0, *result[1:]), node.output[0])
    over = known.node("MaxPool", [folded], [small], **flat)
    return [fold, over, turn, known.node("MaxPool", [turned], [pooled], **deep), unfold]


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
    attributes = attributes_of(node)
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
    attributes = attributes_of(node)
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
    order = list(attributes_of(node).get("perm", range(len(shape))[::-1]))
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


def _reverse_as_numbers(node: Proto, known: Rewriting) -> list[Proto]:
    """ReverseSequence of truth values on numbers: TFLite's takes no others."""
    if node.op_type != "ReverseSequence" or node.input[0] not in known.booleans:
        return []
    numbers, turned = known.name("numbers"), known.name("turned")
    return [
        known.node("Cast", [node.input[0]], [numbers], to=_INT32),
        known.node("ReverseSequence", [numbers, node.input[1]], [turned], **attributes_of(node)),
        known.node("Cast", [turned], list(node.output), to=_BOOL),
    ]


def _spread_condition(node: Proto, known: Rewriting) -> list[Proto]:
    """Where with a single condition for many values: TFLite's SELECT wants one for each."""
    result = known.shapes.get(node.output[0]) if node.op_type == "Where" else None
    condition = known.shapes.get(node.input[0]) if node.op_type == "Where" else None
    if result is None or condition is None or condition == result or int(np.prod(condition)) != 1:
        return []
    spread = known.name("condition")
    widen = known.node("Expand", [node.input[0], known.constant(list(result))], [spread])
    return [widen, known.node("Where", [spread, *node.input[1:]], list(node.output))]


def _count_triangle(node: Proto, known: Rewriting) -> list[Proto]:
    """Trilu of a free size as a choice by the numbers of rows and columns: the converter writes a mask of one size."""
    shape = known.shapes.get(node.input[0]) if node.op_type == "Trilu" else None
    shift = known.constants.get(node.input[1]) if len(node.input) > 1 and node.input[1] else np.array(0)
    if shape is None or shift is None or not known.free_axes.get(node.input[0]):
        return []
    rows = known.tensor(np.arange(shape[-2])[:, None] + int(shift.item()), "rows")
    columns = known.tensor(np.arange(shape[-1])[None], "columns")
    kept, kind = known.name("kept"), "GreaterOrEqual" if attributes_of(node).get("upper", 1) else "LessOrEqual"
    zero = known.tensor(np.zeros((), np.int64 if node.input[0] in known.integers else np.float32), "zero")
    return [
        known.node(kind, [columns, rows], [kept]),
        known.node("Where", [kept, node.input[0], zero], list(node.output)),
    ]


_MENDS: dict[str, Mend] = {
    "triangles of a free size counted": _count_triangle,
    "recurrent layers' last states and starts spelled out": spell_out_recurrent,
    "grouped convolutions over one axis written as over two": _lift_grouped_conv1d,
    "Einsums written as matrix products": spell_out_einsum,
    "reversals of truth values done on numbers": _reverse_as_numbers,
    "poolings over three axes written as over two and one": _flatten_pool,
    "RoiAligns written as gathers and averages": spell_out_roi_align,
    "single conditions spread over what they choose": _spread_condition,
    "absolute values of integers spelled out": _spell_out_integer_abs,
    "operators on tensors of more than five axes written on three": _flatten_high_rank,
    "transpositions of more than five axes merged": _merge_transpose,
}
