"""ONNX operators that the standard defines by other operators, written out as those: for a target that lacks them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlconv.graphs.onnx_graph import Proto


def definable(model: Proto, kinds: Iterable[str]) -> tuple[str, ...]:
    """Those of ONNX's own operators that the standard defines by others, at the model's opset."""
    defs: Any = import_module("onnx.defs")
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    found = [kind for kind in kinds if defs.has(kind, opset, "")]
    schemas = {kind: defs.get_schema(kind, opset, "") for kind in found}
    return tuple(kind for kind in found if schemas[kind].has_function or schemas[kind].has_context_dependent_function)


def written_out(model: Proto, kinds: Iterable[str]) -> Proto:
    """A model in which each node of `kinds` is what the standard defines it by. The other nodes keep their names.

    The model's weights may lie outside of it. Raises RuntimeError where the types of a node's inputs are not known.
    """
    onnx: Any = import_module("onnx")
    inliner: Any = import_module("onnx.inliner")
    typed = onnx.shape_inference.infer_shapes(model)
    known = {value.name for value in (*typed.graph.value_info, *typed.graph.input)}
    for weight in typed.graph.initializer:  # the inliner asks for their types among the noted ones
        if weight.name not in known:
            told = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            typed.graph.value_info.append(told)
    return inliner.inline_selected_functions(typed, [("", kind) for kind in kinds], inline_schema_functions=True)
