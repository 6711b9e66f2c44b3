"""What of an OpenVINO model is in which precision: see `account`."""

from __future__ import annotations

from math import prod
from typing import Any

from dlconv.runtimes import account
from dlconv.runtimes.openvino_ports import DTYPES

_BESIDE = {"Constant", "Convert", "Parameter", "Result", "FakeQuantize"}
_NOT_COMPUTED = {"Input", "Output", "Const", "Reorder", "Convert"}


def of(model: Any) -> dict[str, Any]:
    """The account of an IR. An operator whose first two inputs come from FakeQuantize is int8: it says so to every
    plugin."""
    operators, weights = [], []
    for node in model.get_ordered_ops():
        kind = str(node.get_type_name())
        if kind == "Constant":
            weights.append((_dtype(node.output(0)), prod(node.output(0).get_shape())))
        elif kind not in _BESIDE and node.get_output_size():
            operators.append((kind, "int8" if _is_quantised(node) else _dtype(node.output(0))))
    return account.made(operators, weights)


def of_compiled(compiled: Any) -> dict[str, int]:
    """The operators of the execution graph, by the precision that they run in: those that are sums of products."""
    told = []
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "runtimePrecision" not in info:
            continue
        layer, precision = (str(info[key].astype(str)) for key in ("layerType", "runtimePrecision"))
        if layer not in _NOT_COMPUTED:
            told.append((layer, DTYPES.get(precision, precision)))
    return account.counted(told)


def _dtype(port: Any) -> str:
    kind = str(port.get_element_type().get_type_name())
    return DTYPES.get(kind, kind)


def _is_quantised(node: Any) -> bool:
    if node.get_input_size() < 2:
        return False
    activation, other = (_source(node, place) for place in (0, 1))
    return activation == "FakeQuantize" and other in ("FakeQuantize", "int8", "uint8")


_MOVES = {"Reshape", "Transpose", "Convert", "Subtract", "Multiply", "MaxPool", "Relu", "Unsqueeze", "Squeeze"}
"""What lies between a quantised tensor, or a stored one with its scale, and who reads it."""


def _source(node: Any, place: int) -> str:
    """The kind of what makes an input; of a stored tensor its dtype."""
    maker = node.input(place).get_source_output().get_node()
    while maker.get_type_name() in _MOVES and maker.get_input_size():
        maker = maker.input(0).get_source_output().get_node()
    kind = str(maker.get_type_name())
    return _dtype(maker.output(0)) if kind == "Constant" else kind
