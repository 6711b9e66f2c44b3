"""What calibration samples cover: how much of what other samples make lies beyond the ranges seen, and which channels
never moved. The model is run node by node in float32, so this is of the model alone, no quantiser's and no target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv import progress
from dlconv.runtimes.onnx_float32 import Float32Kernels, single
from dlconv.runtimes.onnx_int8_operators import QUANTISED, WEIGHED
from dlconv.runtimes.onnx_plan import name_of, program_of
from dlconv.runtimes.onnx_rounded_plan import roles_of
from dlconv.runtimes.onnx_walk import Walk
from dlconv.samples import from_arrays, read_npz

if TYPE_CHECKING:
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode
    from dlconv.runtimes.onnx_rounded_plan import Roles

_ELEMENTWISE: Final = {"Add", "BatchNormalization", "Clip", "LeakyRelu", "Mul", "PRelu", "Relu", "Sigmoid"}
"""Operators whose output has the channels of what they are given."""
_LISTED: Final = 20


def measure(path: str, calibration: str, samples: str) -> dict[str, Any]:
    """How the ranges of the calibration samples hold on the others; both are .npz files (`samples.to_arrays`).

    Of all tensors that int8 quantises: "tensors", "elements" and "beyond" (elements of the other samples' under the
    least or over the largest value that the calibration samples made), "channels", "dead" (of the outputs of
    convolutions and products: those in which the calibration samples make one value only) and "missed" (those of them
    that move in the other samples). "worst": at most 20 tensors with any of these, of each "tensor", "node",
    "operator", "low", "high", "elements", "beyond", "farthest" (of what is beyond, the distance in units of the
    range), "channels", "dead" and "missed"; the largest share beyond first, then the most dead channels.
    """
    program = program_of(Path(path))
    seen = _Seen(Float32Kernels(program.opsets), roles_of(program.plan))
    for sample in progress.through(from_arrays(read_npz(Path(calibration)))):
        seen.take(program.plan, sample)
    seen.is_known = True
    for sample in progress.through(from_arrays(read_npz(Path(samples)))):
        seen.take(program.plan, sample)
    told = [tensor.told(name, *seen.makers[name]) for name, tensor in seen.tensors.items()]
    told.sort(key=lambda each: (-each["beyond"] / max(each["elements"], 1), -each["dead"]))
    totals = {key: sum(each[key] for each in told) for key in ("elements", "beyond", "channels", "dead", "missed")}
    worst = [each for each in told if each["beyond"] or each["dead"]][:_LISTED]
    return {"tensors": len(told), **totals, "worst": worst}


@dataclass
class _Tensor:
    """A tensor's range, and that of each channel, on the calibration samples; and what others did to it. axis: of the
    channels, None where it has none that are looked at."""

    axis: int | None
    low: float = float("inf")
    high: float = float("-inf")
    lows: Any = None
    highs: Any = None
    elements: int = 0
    beyond: int = 0
    farthest: float = 0.0
    moved: Any = field(default=None)

    def calibrate(self, value: Any, low: float, high: float) -> None:
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.axis is not None:
            lows, highs = self._channels(value)
            self.lows = lows if self.lows is None else np.minimum(self.lows, lows)
            self.highs = highs if self.highs is None else np.maximum(self.highs, highs)

    def judge(self, value: Any, low: float, high: float) -> None:
        self.elements += int(value.size)
        if low < self.low or high > self.high:
            self.beyond += int(np.count_nonzero(value < self.low) + np.count_nonzero(value > self.high))
            distance = max(self.low - low, high - self.high)
            self.farthest = max(self.farthest, distance / max(self.high - self.low, np.finfo(np.float32).tiny))
        if self.lows is not None and (self.lows == self.highs).any():
            lows, highs = self._channels(value)
            moved = (lows < self.lows) | (highs > self.highs)
            self.moved = moved if self.moved is None else self.moved | moved

    def _channels(self, value: Any) -> tuple[Any, Any]:
        others = tuple(axis for axis in range(value.ndim) if axis not in (self.axis, (self.axis or 0) + value.ndim))
        return value.min(axis=others), value.max(axis=others)

    def told(self, name: str, node: str, operator: str) -> dict[str, Any]:
        dead = np.zeros(0, bool) if self.lows is None else self.lows == self.highs
        missed = dead & self.moved if self.moved is not None else dead & False
        return {
            "tensor": name,
            "node": node,
            "operator": operator,
            "low": self.low,
            "high": self.high,
            "elements": self.elements,
            "beyond": self.beyond,
            "farthest": self.farthest,
            "channels": int(dead.size),
            "dead": int(dead.sum()),
            "missed": int(missed.sum()),
        }


class _Seen:
    """See `dlconv.runtimes.onnx_walk.Arithmetic`. is_known: ranges are found, and what comes is held against them."""

    def __init__(self, kernels: Float32Kernels, roles: Roles) -> None:
        self.tensors: dict[str, _Tensor] = {}
        self.makers: dict[str, tuple[str, str]] = {}
        self.is_known = False
        self._kernels = kernels
        self._roles = roles
        self._axes: dict[str, int] = {}

    def take(self, plan: Plan, sample: dict[str, Any]) -> None:
        given = {name: single(np.asarray(value)) for name, value in sample.items()}
        for name, value in given.items():
            self._look(name, value, ("", "input"), None)
        Walk(plan, self).run(given, plan.outputs)

    def entering(self, node: PlannedNode, place: int, value: Any) -> Any:
        return single(value)

    def computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        answers = [None if each is None else single(np.asarray(each)) for each in self._kernels.answers(node, values)]
        if id(node) not in self._roles.early and node.kind in QUANTISED:
            for name, answer in zip(node.outputs, answers, strict=False):
                if answer is not None:
                    self._look(name, answer, (name_of(node), node.kind), self._axis(node, name))
        return answers

    def leaving(self, plan: Plan, name: str, value: Any) -> Any:
        return value

    def _axis(self, node: PlannedNode, name: str) -> int | None:
        """Of the channels: of sums of products with weights, and of what follows them element by element."""
        if node.kind in WEIGHED and 1 in self._roles.entering.get(id(node), ()):
            self._axes[name] = 1 if node.kind.startswith("Conv") else -1
        elif node.kind in _ELEMENTWISE:
            known = [self._axes[read] for read in node.inputs if read in self._axes]
            if known:
                self._axes[name] = known[0]
        return self._axes.get(name)

    def _look(self, name: str, value: Any, maker: tuple[str, str], axis: int | None) -> None:
        if value.dtype != np.float32 or not value.size:
            return
        low, high = float(value.min()), float(value.max())
        if not np.isfinite((low, high)).all():
            return
        self.makers[name] = maker
        tensor = self.tensors.setdefault(name, _Tensor(axis))
        (tensor.judge if self.is_known else tensor.calibrate)(value, low, high)
