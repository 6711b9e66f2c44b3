"""Activations of a TFLite file drawn into the sums that they follow: int8 is rounded after them, and once.

A RELU of its own is left out by XNNPACK in int8, with the whole graph cut there. onnx2tf writes one behind the
transposition that turns a convolution's result back: it is the same before it.
"""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import Any, Final

_SUMS: Final = ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_ACTIVATIONS: Final = ("RELU", "RELU6")
_NONE: Final = 0


def join(told: Any) -> int:
    """Give each sum the activation that alone reads it, or alone reads its transposition, and drop the operator; how
    many. told: the file as `flatbuffer_utils` reads it."""
    schema: Any = import_module("ai_edge_litert.schema_py_generated")
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    kinds = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in told.operatorCodes]
    functions = {name: getattr(schema.ActivationFunctionType, name) for name in _ACTIVATIONS}
    count = 0
    for number, graph in enumerate(told.subgraphs):
        left = _joined_in(graph, kinds, functions)
        maps = [each for entry in told.signatureDefs or () if entry.subgraphIndex == number
                for each in (*entry.inputs, *entry.outputs)]  # fmt: skip
        if left:
            _drop(graph, left, maps)
        count += len(left)
    return count


def _joined_in(graph: Any, kinds: list[str], functions: dict[str, int]) -> set[int]:
    """The numbers of the tensors that nothing makes any more."""
    reads = Counter(number for each in graph.operators for number in _numbers(each.inputs))
    reads.update(int(number) for number in graph.outputs)
    makers = {number: each for each in graph.operators for number in _numbers(each.outputs)}
    joined: list[Any] = []
    left: set[int] = set()
    for each in graph.operators:
        kind = kinds[each.opcodeIndex]
        if kind not in functions or reads[int(each.inputs[0])] != 1 or int(each.inputs[0]) not in makers:
            continue
        last = summed = makers[int(each.inputs[0])]
        if kinds[last.opcodeIndex] == "TRANSPOSE" and reads[int(last.inputs[0])] == 1:
            summed = makers.get(int(last.inputs[0]), last)
        if kinds[summed.opcodeIndex] not in _SUMS or summed.builtinOptions.fusedActivationFunction != _NONE:
            continue
        summed.builtinOptions.fusedActivationFunction = functions[kind]
        left.add(int(each.inputs[0]))
        last.outputs = each.outputs
        makers[int(each.outputs[0])] = last
        joined.append(each)
    graph.operators = [each for each in graph.operators if not any(each is other for other in joined)]
    return left


def _drop(graph: Any, left: set[int], maps: list[Any]) -> None:
    """Without these tensors: the quantiser reads all that there are. maps: what names tensors of the graph."""
    kept = [number for number in range(len(graph.tensors)) if number not in left]
    numbers = {-1: -1} | {old: new for new, old in enumerate(kept)}
    graph.tensors = [graph.tensors[number] for number in kept]
    for each in (graph, *graph.operators):
        each.inputs = [numbers[number] for number in _numbers(each.inputs)]
        each.outputs = [numbers[number] for number in _numbers(each.outputs)]
    for operator in graph.operators:
        if operator.intermediates is not None:
            operator.intermediates = [numbers[number] for number in _numbers(operator.intermediates)]
    for entry in maps:
        entry.tensorIndex = numbers[int(entry.tensorIndex)]


def _numbers(listed: Any) -> list[int]:
    return [] if listed is None else [int(number) for number in listed]
