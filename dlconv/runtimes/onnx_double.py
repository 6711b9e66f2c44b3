"""An ONNX model run in float64, node by node: the reference that no float32 rounding reaches.

Every float tensor, stored or computed, becomes float64; a cast to a smaller float becomes one to float64. A node is
run by this package's own NumPy operator where there is one, else by ONNX Runtime's float64 kernel, else by the
onnx package's reference implementation. What none of them does in float64 is refused: no float32 slips through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.onnx_double_kernels import kernel_for
from dlconv.runtimes.onnx_plan import program_of, widened
from dlconv.runtimes.onnx_walk import Walk

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.onnx_lone import Kernel
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode


class DoubleModel:
    """A model held for float64 runs. Weights stay as they are stored and are widened where they are used.

    inputs and outputs are the model's own names; run_by tells after a run what ran each kind of operator.
    """

    def __init__(self, path: Path) -> None:
        program = program_of(path)
        arithmetic = Double(program.opsets)
        self._walk = Walk(program.plan, arithmetic)
        self.outputs = program.plan.outputs
        self.run_by = arithmetic.run_by

    def run(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """The outputs by name, floating ones in float64; `inputs` in the model's own dtypes or wider."""
        return self._walk.run(inputs, outputs)


class Double:
    """See `dlconv.runtimes.onnx_walk.Arithmetic`."""

    def __init__(self, opsets: dict[str, int]) -> None:
        self._opsets = opsets
        self._kernels: dict[bytes, Kernel] = {}
        self.run_by: dict[str, str] = {}

    def entering(self, node: PlannedNode, place: int, value: Any) -> Any:
        if node.bodies:
            self.run_by[node.kind] = "numpy"
        return widened(value)

    def computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        types = " ".join("-" if value is None else value.dtype.name for value in values)
        key = node.key + types.encode()
        if key not in self._kernels:
            self._kernels[key], self.run_by[node.kind] = kernel_for(node, values, self._opsets)
        answers = [None if answer is None else np.asarray(answer) for answer in self._kernels[key](values)]
        for answer in answers:
            if answer is not None and (widened(answer) is not answer or answer.dtype.kind in "OUS"):
                raise Unsupported(f"{node.kind} gives {answer.dtype}, not float64")
        return answers

    def leaving(self, plan: Plan, name: str, value: Any) -> Any:
        return widened(value)
