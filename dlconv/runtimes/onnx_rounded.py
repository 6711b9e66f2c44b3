"""An ONNX model run as an ideal implementation at a precision would: every tensor rounded, every operator else exact.

Inputs, weights, and what a node computes, in every graph, are rounded through the precision; within a node is float32.
What this departs from the model by is the noise of the precision itself, no runtime's; and a product that exceeds
float16 is infinite, as it is where float16 is really computed in. ONNX Runtime's CPU kernels for float16 hide that.

Stored numbers beyond the precision's range, such as masks of -3.4e38, become its largest ones, as every converter
makes them; they are counted as overflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_graph import read_model
from dlconv.errors import SamplesError
from dlconv.runtimes.onnx_double_ops import dropout
from dlconv.runtimes.onnx_lone import FLOAT32, kernel_of
from dlconv.runtimes.onnx_plan import program_of
from dlconv.runtimes.onnx_reference import refuse
from dlconv.runtimes.onnx_rounded_plan import constants_of, roles_of
from dlconv.runtimes.onnx_rounding import Losses, rounding
from dlconv.runtimes.onnx_walk import Walk

if TYPE_CHECKING:
    from dlconv.model import Signature
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.onnx_lone import Kernel
    from dlconv.runtimes.onnx_plan import Plan, PlannedNode, Program

_FLOATS = {"float16", "bfloat16", "float32", "float64"}
_MOVES = {
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators that give what they were given: it is rounded already, and was counted where it was made."""
_WEIGHT, _INPUT = "weight", "input"
_LISTED = 20


def open(path: Path | str, signature: Signature, settings: dict[str, Any]) -> RoundedSession:
    """The ONNX model at `path` for rounded runs.

    settings: "precision" ("float16" or "bfloat16"). Raises Unsupported for models whose answers are random, for
    strings and sequences, and, when run, for what nothing here runs.
    """
    source = Path(path)
    refuse(read_model(source), "the emulation of a precision")
    return RoundedSession(source, signature, settings["precision"])


class RoundedSession:
    """The model at a precision. Floating outputs are float32 (float64 where the model's are), their values rounded."""

    def __init__(self, path: Path, signature: Signature, precision: str) -> None:
        program = program_of(path)
        self._arithmetic = Rounded(program, precision)
        self._walk = Walk(program.plan, self._arithmetic)
        self._precision = precision
        self._inputs = {spec.name for spec in signature.inputs}
        self._outputs = [spec.name for spec in signature.outputs] or list(program.plan.outputs)

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name. Raises SamplesError if the inputs' names do not fit."""
        if set(inputs) != self._inputs:
            raise SamplesError(f"inputs {sorted(inputs)} were given", wanted=f"{sorted(self._inputs)}")
        given = {name: self._arithmetic.given(name, value) for name, value in inputs.items()}
        return self._walk.run(given, self._outputs)

    def placement(self) -> dict[str, Any]:
        """The precision, what ran each operator, and what rounding did ("losses"), over all runs until now.

        losses: totals over all tensors ("tensors", "elements", "overflows", "underflows", "subnormals", "largest"; see
        `Losses`), "weights": the same over what is stored alone, and "worst": the tensors that overflowed, in the order
        of computation, then those in which most underflowed or became subnormal; of each its name, the node and the
        operator that made it ("weight" for what is stored, "input" for what is given), and the same figures. At most 20
        tensors are listed.
        """
        ort: Any = import_module("onnxruntime")
        return {
            "runtime": "onnx-rounded",
            "version": str(ort.__version__),
            "device": "CPU",
            "precision": self._precision,
            "operators": dict(sorted(self._arithmetic.run_by.items())),
            "losses": _told(self._arithmetic.losses),
        }


_Made = tuple[str, str, str]
"""A tensor, the node that made it, and that node's operator."""


class Rounded:
    """See `dlconv.runtimes.onnx_walk.Arithmetic`."""

    def __init__(self, program: Program, precision: str) -> None:
        self._rounding = rounding(precision)
        self._opsets = program.opsets
        self._roles = roles_of(program.plan)
        self._constants = dict(constants_of(program.plan))
        self._narrow: dict[int, Any] = {}
        self._kernels: dict[bytes, Kernel] = {}
        self.run_by: dict[str, str] = {}
        self.losses: dict[_Made, Losses] = {}

    def given(self, name: str, value: Any) -> Any:
        """A model's input."""
        return self._rounded(_single(np.asarray(value)), (name, "", _INPUT))

    def entering(self, node: PlannedNode, place: int, value: Any) -> Any:
        if place not in self._roles.entering.get(id(node), ()) or value.dtype.name not in _FLOATS:
            return _single(value)
        if id(value) not in self._constants:
            maker = self._roles.makers.get(node.inputs[place])
            made = (node.inputs[place], str(maker.proto.name), maker.kind) if maker else (node.inputs[place], "", "")
            return self._rounded(_single(value), made, saturates=True)
        if id(value) not in self._narrow:
            narrow, losses = self._rounding.saturating.narrow(value)
            self._count((self._constants[id(value)], "", _WEIGHT), losses)
            self._narrow[id(value)] = narrow
        return self._narrow[id(value)].astype(np.float64 if value.dtype == np.float64 else np.float32)

    def computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        answers = [None if answer is None else np.asarray(answer) for answer in self._computed(node, values)]
        if id(node) in self._roles.early or node.kind in _MOVES:
            return answers
        return [
            None if answer is None else self._rounded(_single(answer), (name, str(node.proto.name), node.kind))
            for name, answer in zip(node.outputs, answers, strict=False)
        ]

    def leaving(self, plan: Plan, name: str, value: Any) -> Any:
        if name in self._roles.leaving[id(plan)] and value.dtype.name in _FLOATS:
            return self._rounding.saturating.through(_single(value))[0]
        return value

    def _computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
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

    def _rounded(self, value: Any, made: _Made, *, saturates: bool = False) -> Any:
        if value.dtype.name not in _FLOATS:
            return value
        rounded, losses = (self._rounding.saturating if saturates else self._rounding).through(value)
        self._count(made, losses)
        return rounded

    def _count(self, made: _Made, losses: Losses) -> None:
        self.losses[made] = self.losses.get(made, Losses()) + losses


def _single(value: Any) -> Any:
    """float32 for a smaller float, which ONNX Runtime's CPU has few kernels for; float32 holds its values exactly."""
    return value.astype(np.float32) if value.dtype.name in ("float16", "bfloat16") else value


def _total(losses: Sequence[Losses]) -> dict[str, Any]:
    return {"tensors": len(losses), **asdict(sum(losses, Losses()))}


def _told(losses: dict[_Made, Losses]) -> dict[str, Any]:
    lossy = [item for item in losses.items() if item[1].overflows or item[1].underflows or item[1].subnormals]
    # The sort is stable: tensors that overflowed stay in the order in which they were first computed.
    lossy.sort(key=lambda item: (0, 0) if item[1].overflows else (1, -item[1].underflows - item[1].subnormals))
    return {
        **_total(list(losses.values())),
        "weights": _total([lost for (_, _, operator), lost in losses.items() if operator == _WEIGHT]),
        "worst": [
            {"tensor": tensor, "node": node, "operator": operator, **asdict(lost)}
            for (tensor, node, operator), lost in lossy[:_LISTED]
        ],
    }
