"""An ONNX model run as an ideal implementation in int8 would: activations in 8 bits by their range, weights by channel.

What is quantised is what `onnx_int8_operators` says, with the ranges that the tensors really have on the samples given:
no calibration can be better, so what this departs from the model by is the noise of int8 itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.graphs.int8_channels import CHANNELS, quantised
from dlconv.runtimes.onnx_float32 import Float32Kernels, single
from dlconv.runtimes.onnx_int8_operators import QUANTISED
from dlconv.runtimes.onnx_rounded_plan import constants_of, roles_of
from dlconv.runtimes.onnx_walk import Walk

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode, Program
    from dlconv.runtimes.onnx_rounding import Losses

_STEPS: Final = 255
"""Of an unsigned 8-bit grid."""


class RoundedToInt8:
    """See `dlconv.runtimes.onnx_walk.Arithmetic`. kept: ids of nodes. seen: samples on which ranges are found, which a
    model whose storage alone is in int8 does not need. losses is empty: 8 bits by a range do not overflow."""

    def __init__(
        self, program: Program, kept: frozenset[int], seen: Sequence[Tensors], *, is_stored_alone: bool
    ) -> None:
        self.kernels = Float32Kernels(program.opsets)
        self.losses: dict[tuple[str, str, str], Losses] = {}
        self._kept = kept
        self._is_stored_alone = is_stored_alone
        self._roles = roles_of(program.plan)
        self._constants = {identity for identity, _ in constants_of(program.plan)}
        self._weights: dict[tuple[int, int], Any] = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        if not is_stored_alone:
            ranged = _Ranged(self.kernels, self._ranges)
            for sample in seen:
                Walk(program.plan, ranged).run({n: ranged.given(n, v) for n, v in sample.items()}, program.plan.outputs)

    def given(self, name: str, value: Any) -> Any:
        """A model's input."""
        return single(np.asarray(value))

    def entering(self, node: PlannedNode, place: int, value: Any) -> Any:
        known = single(value)
        if known.dtype != np.float32 or id(node) in self._kept or node.kind not in QUANTISED:
            return known
        if id(value) in self._constants:
            return self._weight(node, place, value)
        if self._is_stored_alone or place in self._roles.entering.get(id(node), ()):
            return known
        return self._through(node.inputs[place], known)

    def computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        answers = [None if answer is None else np.asarray(answer) for answer in self.kernels.answers(node, values)]
        is_whole = self._is_stored_alone or id(node) in self._kept or id(node) in self._roles.early
        if is_whole or node.kind not in QUANTISED:
            return answers
        return [
            answer if answer is None or answer.dtype != np.float32 else self._through(name, answer)
            for name, answer in zip(node.outputs, answers, strict=False)
        ]

    def leaving(self, plan: Plan, name: str, value: Any) -> Any:
        return value

    def _through(self, name: str, value: Any) -> Any:
        """The activation on the grid of its range; as it is where it has none: no sample gave it a finite element."""
        low, high = self._ranges.get(name, (0.0, 0.0))
        if not high > low:
            return value
        scale = (high - low) / _STEPS
        zero = np.rint(-low / scale)
        with np.errstate(invalid="ignore"):
            steps = np.clip(np.rint(value / scale) + zero, 0, _STEPS)
        return ((steps - zero) * scale).astype(np.float32)

    def _weight(self, node: PlannedNode, place: int, value: Any) -> Any:
        axis = CHANNELS[node.kind](node.proto, place, value.ndim) if node.kind in CHANNELS else None
        if axis is None:
            return single(value)
        key = (id(value), axis)
        if key not in self._weights:
            stored, scales = quantised(single(value), axis)
            shape = [-1 if each == axis else 1 for each in range(value.ndim)]
            self._weights[key] = stored * scales.reshape(shape)
        return self._weights[key]


class _Ranged:
    """float32, and the range of every tensor, zero among it. See `Arithmetic`."""

    def __init__(self, kernels: Float32Kernels, ranges: dict[str, tuple[float, float]]) -> None:
        self._kernels = kernels
        self._ranges = ranges

    def given(self, name: str, value: Any) -> Any:
        return self._seen(name, single(np.asarray(value)))

    def entering(self, node: PlannedNode, place: int, value: Any) -> Any:
        return single(value)

    def computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        answers = self._kernels.answers(node, values)
        return [
            None if answer is None else self._seen(name, single(np.asarray(answer)))
            for name, answer in zip(node.outputs, answers, strict=False)
        ]

    def leaving(self, plan: Plan, name: str, value: Any) -> Any:
        return value

    def _seen(self, name: str, value: Any) -> Any:
        if value.dtype == np.float32 and value.size:
            low, high = self._ranges.get(name, (0.0, 0.0))
            finite = value[np.isfinite(value)]
            self._ranges[name] = (
                min(low, float(finite.min(initial=0.0))),
                max(high, float(finite.max(initial=0.0))),
            )
        return value
