"""The kernels of float32: what the emulations of a precision compute in between two roundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlconv.runtimes.onnx_double_ops import dropout
from dlconv.runtimes.onnx_lone import FLOAT32, kernel_of

if TYPE_CHECKING:
    from dlconv.runtimes.onnx_lone import Kernel
    from dlconv.runtimes.onnx_plan import PlannedNode


class Float32Kernels:
    """Answers nodes that hold no graphs. run_by: what ran each operator, for those that ran."""

    def __init__(self, opsets: Mapping[str, int]) -> None:
        self._opsets = dict(opsets)
        self._kernels: dict[bytes, Kernel] = {}
        self.run_by: dict[str, str] = {}

    def answers(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        """The node's outputs. values: its inputs, None where one is absent, no float smaller than float32."""
        if node.kind == "Constant":
            return [node.attributes["value"]]
        if node.kind == "Dropout":  # ONNX Runtime's draws in training mode; this one refuses it
            self.run_by[node.kind] = "numpy"
            return dropout(node.attributes, values)
        types = " ".join("-" if value is None else value.dtype.name for value in values)
        key = node.key + types.encode()
        if key not in self._kernels:
            self._kernels[key], self.run_by[node.kind] = kernel_of(node, values, self._opsets, FLOAT32)
        return self._kernels[key](values)


def single(value: Any) -> Any:
    """float32 for a smaller float, which ONNX Runtime's CPU has few kernels for; float32 holds its values exactly."""
    return value.astype("float32") if value.dtype.name in ("float16", "bfloat16") else value
