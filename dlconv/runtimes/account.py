"""The account that an artifact's file gives of itself: how many operators and stored numbers are in which precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

HEAVY: Final = ("Conv", "CONV", "Gemm", "MatMul", "BATCH_MATMUL", "FullyConnected", "FULLY_CONNECTED", "Attention",
                "LSTM", "GRU", "RNN")  # fmt: skip
"""Parts of the names of operators that are sums of products, in the words of ONNX, TFLite and OpenVINO."""

LEAST_ELEMENTS: Final = 64
"""A smaller stored tensor is a bias, a scale or a shape."""

_FLOATS: Final = {"float64", "float32", "float16", "bfloat16"}
_SMALL: Final = {"int8", "uint8", "int4", "uint4", "int16"}


def made(operators: Iterable[tuple[str, str]], weights: Iterable[tuple[str, int]]) -> dict[str, dict[str, int]]:
    """operators: name and precision of each that computes; weights: dtype and elements of each stored tensor."""
    stored: Counter[str] = Counter()
    for dtype, elements in weights:
        if elements >= LEAST_ELEMENTS and dtype in _FLOATS | _SMALL:
            stored[_named(dtype)] += elements
    return {"operators": counted(operators), "weights": dict(stored)}


def is_heavy(operator: str) -> bool:
    """Whether the operator, of any format, is a sum of products."""
    return any(part in operator for part in HEAVY)


def counted(operators: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Of operators, name and precision each: how many in which; those alone that are sums of products, if any are."""
    told = list(operators)
    heavy = [dtype for name, dtype in told if is_heavy(name)]
    return dict(Counter(_named(dtype) for dtype in (heavy or [dtype for _, dtype in told])))


def _named(dtype: str) -> str:
    """One name for 8-bit integers: whether they are signed is a habit of the target."""
    return "int8" if dtype in ("uint8", "int8") else dtype
