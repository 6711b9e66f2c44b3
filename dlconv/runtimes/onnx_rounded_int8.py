"""An ONNX model run as an ideal implementation in int8 would: activations in 8 bits by their range, weights by channel.

What is quantised is what `onnx_int8_operators` says. With the ranges that the tensors have on the very samples that are
run, what this departs from the model by is the noise of int8 itself; with those of a calibration, what int8 does there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv import progress
from dlconv.graphs.int8_channels import CHANNELS, quantised
from dlconv.graphs.onnx_masks import before_softmax
from dlconv.runtimes.onnx_float32 import Float32Kernels, single
from dlconv.runtimes.onnx_int8_operators import QUANTISED
from dlconv.runtimes.onnx_joined import joined
from dlconv.runtimes.onnx_plan import program_of
from dlconv.runtimes.onnx_rounded_plan import constants_of, roles_of
from dlconv.runtimes.onnx_walk import Walk
from dlconv.samples import from_arrays, read_npz

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode, Program
    from dlconv.runtimes.onnx_rounding import Losses

_STEPS: Final = 255
"""Of an unsigned 8-bit grid."""


Ranges = Mapping[str, Sequence[float]]
"""Of tensors by name: the least and the largest value, 0 between them."""


def ranges(path: str, samples: str) -> dict[str, tuple[float, float]]:
    """The ranges of all float32 tensors of the model at `path` on the samples, an .npz."""
    return ranges_on(program_of(Path(path)), from_arrays(read_npz(Path(samples))))


def ranges_on(program: Program, samples: Sequence[Tensors]) -> dict[str, tuple[float, float]]:
    """The same, of what is read already."""
    ranged = _Ranged(Float32Kernels(program.opsets))
    walk = Walk(program.plan, ranged)
    for sample in progress.through(samples):
        walk.run({name: ranged.given(name, value) for name, value in sample.items()}, program.plan.outputs)
    return ranged.ranges


class RoundedToInt8:
    """See `dlconv.runtimes.onnx_walk.Arithmetic`. kept: ids of nodes. ranges: a model whose storage alone is in int8
    does not need them. losses is empty: 8 bits by a range do not overflow."""

    def __init__(self, program: Program, kept: frozenset[int], ranges: Ranges, *, is_stored_alone: bool) -> None:
        self.kernels = Float32Kernels(program.opsets)
        self.losses: dict[tuple[str, str, str], Losses] = {}
        pairs = joined(program.plan)
        masked = before_softmax([node.proto for node in program.plan.nodes])
        self._kept = kept | {id(activation) for maker, activation in pairs if id(maker) in kept}
        self._kept |= {id(node) for node in program.plan.nodes if not masked.isdisjoint(node.outputs)}
        self._is_stored_alone = is_stored_alone
        self._roles = roles_of(program.plan)
        self._constants = {identity for identity, _ in constants_of(program.plan)}
        self._weights: dict[tuple[int, int], Any] = {}
        # By itself kept, an activation is no last step of another: then there is something between the two.
        inner = {maker.outputs[0] for maker, activation in pairs if id(activation) not in kept}
        self._ranges = {name: span for name, span in ranges.items() if name not in inner}

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

    def __init__(self, kernels: Float32Kernels) -> None:
        self._kernels = kernels
        self.ranges: dict[str, tuple[float, float]] = {}

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
            low, high = self.ranges.get(name, (0.0, 0.0))
            finite = value[np.isfinite(value)]
            self.ranges[name] = (
                min(low, float(finite.min(initial=0.0))),
                max(high, float(finite.max(initial=0.0))),
            )
        return value
