"""Kernels for single ONNX nodes in float64: this package's own, ONNX Runtime's, or onnx.reference's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlconv.runtimes.onnx_double_ops import OPERATORS
from dlconv.runtimes.onnx_lone import FLOAT32, FLOAT64, in_onnxruntime, kernel_of
from dlconv.runtimes.onnx_plan import narrowed, widened

if TYPE_CHECKING:
    from dlconv.runtimes.onnx_lone import Kernel
    from dlconv.runtimes.onnx_plan import PlannedNode

_CHOICES = {"NonMaxSuppression"}


def kernel_for(node: PlannedNode, values: Sequence[Any], opsets: dict[str, int]) -> tuple[Kernel, str]:
    """A kernel for `node` and inputs of the types of `values`, and the name of what runs it."""
    attributes = {name: _wide(value) for name, value in node.attributes.items()}
    if node.kind == "Constant":
        return (lambda _: [attributes["value"]]), "numpy"
    own = OPERATORS.get(node.kind)
    if own is not None:
        return (lambda given: own(attributes, given)), "numpy"
    if node.kind in _CHOICES:
        # Its answer is a choice of indices, not a number that could carry float32's rounding.
        kernel = in_onnxruntime(node, [narrowed(value) for value in values], opsets, FLOAT32)
        return (lambda given: kernel([narrowed(value) for value in given])), "onnxruntime in float32"
    return kernel_of(node, values, opsets, FLOAT64)


def _wide(value: Any) -> Any:
    return widened(value) if hasattr(value, "dtype") else value
