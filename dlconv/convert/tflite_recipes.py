"""What ai-edge-quantizer is told to do to a TFLite file: its recipes, with what stays in float32."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.errors import Unsupported

if TYPE_CHECKING:
    from dlconv.runtimes.tflite_flatbuffer import FlatGraph, FlatModel

_WHOLE = "SOFTMAX"
"""What stays in float32: its 8 bits would be the answer's."""
_SUMMED = frozenset({
    "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "CONV_2D_TRANSPOSE", "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED", "LOGISTIC", "MAX_POOL_2D", "MUL", "PAD", "PADV2", "RELU", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPLIT", "STRIDED_SLICE", "TRANSPOSE",
})  # fmt: skip
"""`onnx_int8_operators.QUANTISED` by TFLite's names: what int8 is wanted for. The others are normalisations, masks and
functions, into which a converter takes apart what ONNX has as one operator, each of whose parts would be rounded."""
_MARKS = ("ALL_SUPPORTED", "INPUT", "OUTPUT")
"""Words of the package's that are no operators."""
_MOVES = {
    "EXPAND_DIMS", "GATHER", "MIRROR_PAD", "PAD", "PADV2", "RESHAPE", "SLICE", "SPLIT", "SQUEEZE", "STRIDED_SLICE",
    "TILE", "TRANSPOSE",
}  # fmt: skip
"""Operators of one float input that give what they were given, or a part of it, beside zeros."""


def recipe(name: str, *, boundary: Mapping[str, str], kept: Iterable[str] = (), islands: bool = False) -> Any:
    """ "float16", "weights-int8", "static-int8" or "static-int16x8", by the package's own words.

    boundary: the dtypes of "inputs" and "outputs", float32 or, with "static-int8", int8. kept: names of output tensors
    whose operators stay as they are. islands: of all others too but _SUMMED.
    """
    managers: Any = import_module("ai_edge_quantizer.recipe_manager")
    types: Any = import_module("ai_edge_quantizer.qtyping")
    algorithms: Any = import_module("ai_edge_quantizer.algorithm_manager").AlgorithmName
    manager = managers.RecipeManager()
    manager.load_quantization_recipe(_float16() if name == "float16" else _integers(name))
    if name.startswith("static-"):
        # With a scale a channel its kernels answer zero.
        manager.add_static_config(
            regex=".*",
            operation_name=types.TFLOperationName.BATCH_MATMUL,
            activation_num_bits=8 if name == "static-int8" else 16,
            weight_num_bits=8,
            weight_granularity=types.QuantGranularity.TENSORWISE,
        )
    whole = [(".*", operator) for operator in _whole(boundary)] if name.startswith("static-") else []
    if islands:
        operators = [each.name for each in types.TFLOperationName if each.name not in _MARKS]
        whole += [(".*", operator) for operator in operators if operator not in _SUMMED]
    whole += [(f"(^|;){re.escape(tensor)}(;|$)", "ALL_SUPPORTED") for tensor in kept]
    for regex, operator in whole:
        manager.add_quantization_config(
            regex=regex,
            operation_name=types.TFLOperationName[operator],
            algorithm_key=algorithms.NO_QUANTIZE,
        )
    return manager.get_quantization_recipe()


def _whole(boundary: Mapping[str, str]) -> list[str]:
    sides = {"INPUT": boundary["inputs"], "OUTPUT": boundary["outputs"]}
    return [_WHOLE, *(side for side, dtype in sides.items() if dtype == "float32")]


def _float16() -> Any:
    managers: Any = import_module("ai_edge_quantizer.recipe_manager")
    types: Any = import_module("ai_edge_quantizer.qtyping")
    algorithms: Any = import_module("ai_edge_quantizer.algorithm_manager").AlgorithmName
    halved = types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT)
    manager = managers.RecipeManager()
    manager.add_quantization_config(
        regex=".*",
        operation_name=types.TFLOperationName.ALL_SUPPORTED,
        algorithm_key=algorithms.FLOAT_CASTING,
        op_config=types.OpQuantizationConfig(
            weight_tensor_config=halved,
            compute_precision=types.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
    )
    return manager.get_quantization_recipe()


def _integers(name: str) -> Any:
    recipes: Any = import_module("ai_edge_quantizer.recipe")
    made = {
        "weights-int8": recipes.weight_only_wi8_afp32,
        "static-int8": recipes.static_wi8_ai8,
        "static-int16x8": recipes.static_wi8_ai16,
    }
    return made[name]()


def kept_tensors(model: FlatModel, keep: Sequence[str], outputs: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """The file's output tensors of what ONNX nodes became.

    keep: names of the nodes; outputs: by node, its tensors in the ONNX graph, and those after it: of these the nearest
    that the file has, where its converter took the node into another operator. onnx2tf calls a tensor as ONNX does, and
    what it puts before and after one after it ("NAME_nhwc", "NODE_output_nhwc"). Raises Unsupported for nodes of which
    the file knows nothing: it was not made of the ONNX graph. What the file moves about between two that stay is not
    rounded either.
    """
    known = {
        graph.tensors[number].name
        for graph in model.graphs
        for operator in graph.operators
        for number in operator.outputs
    }
    found = {node: _nearest(known, node, outputs.get(node, ())) for node in keep}
    if lost := sorted(node for node, names in found.items() if not names):
        raise Unsupported(
            f"the TFLite file has no operator of {len(lost)} nodes of the keep-list: {', '.join(lost[:5])}",
            wanted="nodes that onnx2tf gave an operator of their own",
            mend="keep the node that it was joined with; or --via onnx, where the file was made without ONNX",
        )
    kept = {name for names in found.values() for name in names}
    return sorted(kept.union(*(_between(graph, kept) for graph in model.graphs)))


def _between(graph: FlatGraph, kept: set[str]) -> set[str]:
    """The tensors of operators that move about, and nothing else, what one that stays makes, or the model is given, for
    another that stays, or for an output."""
    names = [tensor.name for tensor in graph.tensors]
    moves = [each for each in graph.operators if each.name in _MOVES]
    stay = [each for each in graph.operators if any(names[number] in kept for number in each.outputs)]
    made = {*graph.inputs, *(number for each in stay for number in each.outputs)}
    for move in moves:  # in the order of computation
        made.update(move.outputs if made.intersection(move.inputs) else ())
    read = {*graph.outputs, *(number for each in stay for number in each.inputs)}
    for move in reversed(moves):
        read.update(move.inputs if read.intersection(move.outputs) else ())
    between = made & read
    return {names[number] for move in moves for number in move.outputs if number in between}


def _nearest(known: set[str], node: str, groups: Sequence[Sequence[str]]) -> list[str]:
    found = ([name for name in known if _is_of(name, node, each)] for each in groups)
    return next(filter(None, found), [])


def _is_of(name: str, node: str, outputs: Sequence[str]) -> bool:
    return any(name in (made, f"{made}_nhwc", f"{node}_output_nhwc") for made in outputs)
