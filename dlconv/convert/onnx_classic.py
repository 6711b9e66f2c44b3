"""Operators of the domain ai.onnx.ml, in which scikit-learn, LightGBM and XGBoost models are written, in ONNX's own.

OpenVINO and TFLite know none of that domain. Runs where onnx is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from dlconv.convert.onnx_classes import AFTER, FLOAT, classified, numbers
from dlconv.convert.onnx_rewriting import apply, attributes_of
from dlconv.convert.onnx_trees import TREES, spell_out_trees
from dlconv.errors import Unreachable
from dlconv.graphs import onnx_graph

if TYPE_CHECKING:
    from dlconv.convert.onnx_rewriting import Rewriting
    from dlconv.graphs.onnx_graph import Proto

DOMAIN = "ai.onnx.ml"
_STRING = 8
_FIRST_OPSET = 13
"""Of those written here: comparisons of all numbers, GatherElements, Softmax along one axis."""
_FIRST_OPSET_OF_NORM_AXES = 18  # reductions take them as an attribute before it


def spell_out(model: Proto, target: str) -> tuple[str, ...]:
    """Rewrite in place what can be rewritten; a note of it.

    Raises Unreachable for the operators of the domain that are left, which `target` has nothing for.
    """
    if not any(node.domain == DOMAIN for node in onnx_graph.nodes_of(model.graph)):
        return ()
    if not onnx_graph.opset_of(model):
        model.opset_import.add(domain="", version=_FIRST_OPSET)  # it has none of ONNX's own operators
    elif onnx_graph.opset_of(model) < _FIRST_OPSET:
        newer = import_module("onnx.version_converter").convert_version(model, _FIRST_OPSET)
        model.CopyFrom(newer)
    count = apply(model.graph, _spelled, onnx_graph.opset_of(model))
    left = sorted({node.op_type for node in onnx_graph.nodes_of(model.graph) if node.domain == DOMAIN})
    if left:
        raise Unreachable(
            f"{target} has nothing for the classic machine learning operators {', '.join(left)} ({DOMAIN})",
            wanted="operators of ONNX's own domain, or " + ", ".join(sorted((*_MENDS, *TREES))) + " of numbers",
            mend=f"leave {target} out: ONNX Runtime runs the model (--to onnxruntime)"
            + ("; or train it on whole numbers as classes" if _gives_strings(model) else ""),
        )
    del model.graph.value_info[:]
    for place in reversed([at for at, entry in enumerate(model.opset_import) if entry.domain == DOMAIN]):
        del model.opset_import[place]
    return (f"{count} operators of {DOMAIN} written in ONNX's own",)


def _gives_strings(model: Proto) -> bool:
    return any(value.type.tensor_type.elem_type == _STRING for value in model.graph.output)


def _spelled(node: Proto, known: Rewriting) -> list[Proto]:
    mend = _MENDS.get(node.op_type) if node.domain == DOMAIN else None
    if mend is None:
        return spell_out_trees(node, known) if node.domain == DOMAIN else []
    return mend(node, known)


def _none() -> list[Proto]:
    return []


def _scaler(node: Proto, known: Rewriting) -> list[Proto]:
    told, made = attributes_of(node), _none()
    offset, scale = (np.array(told.get(name, [neutral]), np.float32) for name, neutral in (("offset", 0), ("scale", 1)))
    shifted = known.name("shifted")
    made.append(known.node("Sub", [numbers(node, known, made), known.tensor(offset, "offset")], [shifted]))
    made.append(known.node("Mul", [shifted, known.tensor(scale, "scale")], [node.output[0]]))
    return made


def _product(node: Proto, known: Rewriting, made: list[Proto], rows: int, target: str) -> None:
    told = attributes_of(node)
    weights = np.array(told["coefficients"], np.float32).reshape(rows, -1).T
    shift = np.array(told.get("intercepts") or [0.0] * rows, np.float32)
    product = known.name("product")
    made.append(known.node("MatMul", [numbers(node, known, made), known.tensor(weights, "weights")], [product]))
    made.append(known.node("Add", [product, known.tensor(shift, "intercepts")], [target]))


def _linear_regressor(node: Proto, known: Rewriting) -> list[Proto]:
    told, made = attributes_of(node), _none()
    if told.get("post_transform", b"NONE") != b"NONE":
        return []
    _product(node, known, made, int(told.get("targets", 1)), node.output[0])
    return made


def _linear_classifier(node: Proto, known: Rewriting) -> list[Proto]:
    told, made = attributes_of(node), _none()
    labels = told.get("classlabels_ints")
    after = told.get("post_transform", b"NONE")
    rows = len(told.get("intercepts") or ())
    if labels is None or len(labels) != rows or rows < 2 or after not in AFTER:
        return []
    scores = known.name("scores")
    _product(node, known, made, rows, scores)
    return [*made, *classified(known, scores, labels, after, node.output)]


def _normalizer(node: Proto, known: Rewriting) -> list[Proto]:
    norm, made = attributes_of(node).get("norm", b"MAX"), _none()
    if norm not in (b"L1", b"L2"):
        return []
    x, length, some = numbers(node, known, made), known.name("length"), known.name("some")
    kind = "ReduceL1" if norm == b"L1" else "ReduceL2"
    axes = {"axes": [1]} if known.opset < _FIRST_OPSET_OF_NORM_AXES else {}
    given = [x] if axes else [x, known.constant([1])]
    one = known.tensor(np.ones((), np.float32), "one")
    none, zero = known.name("none"), known.tensor(np.zeros((), np.float32), "zero")
    made += [
        known.node(kind, given, [length], keepdims=1, **axes),
        known.node("Equal", [length, zero], [none]),
        known.node("Where", [none, one, length], [some]),
        known.node("Div", [x, some], [node.output[0]]),
    ]
    return made


def _picked(node: Proto, known: Rewriting) -> list[Proto]:
    """ArrayFeatureExtractor: some of the last axis; of a list a row."""
    data, places = node.input
    flat, is_list = known.reshape(places, (-1,)), len(known.shapes.get(data, (0, 0))) == 1
    picked = known.name("picked") if is_list else node.output[0]
    gather = known.node("Gather", [data, flat[1]], [picked], axis=0 if is_list else -1)
    return [flat[0], gather, *([known.reshape(picked, (1, -1), node.output[0])[0]] if is_list else [])]


def _imputer(node: Proto, known: Rewriting) -> list[Proto]:
    told, made = attributes_of(node), _none()
    values = told.get("imputed_value_floats")
    if values is None:
        return []
    x, same, replaced = numbers(node, known, made), known.name("same"), told.get("replaced_value_float", 0.0)
    imputed = known.tensor(np.array(values, np.float32), "imputed")
    if np.isnan(replaced):  # a NaN alone is not itself
        made.append(known.node("Equal", [x, x], [same]))
        return [*made, known.node("Where", [same, x, imputed], [node.output[0]])]
    made.append(known.node("Equal", [x, known.tensor(np.array(replaced, np.float32), "replaced")], [same]))
    return [*made, known.node("Where", [same, imputed, x], [node.output[0]])]


def _binarizer(node: Proto, known: Rewriting) -> list[Proto]:
    made, above = _none(), known.name("above")
    bound = known.tensor(np.array(attributes_of(node).get("threshold", 0.0), np.float32), "threshold")
    made.append(known.node("Greater", [numbers(node, known, made), bound], [above]))
    return [*made, known.node("Cast", [above], [node.output[0]], to=FLOAT)]


_MENDS = {
    "ArrayFeatureExtractor": _picked,
    "Binarizer": _binarizer,
    "Imputer": _imputer,
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
}
