"""An ONNX model run as an ideal implementation at a precision would: every tensor rounded, every operator else exact.

Inputs, weights, and what a node computes, in every graph, are rounded through the precision; within a node is float32.
What this departs from the model by is the noise of the precision itself, no runtime's; and a product that exceeds
float16 is infinite, as it is where float16 is really computed in. ONNX Runtime's CPU kernels for float16 hide that.

Nodes that are kept in float32 read what they are given as it was computed, and give it so: it is rounded where a node
that is not kept reads it. Where storage alone is in the precision, stored numbers alone are rounded.

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

from dlconv.errors import RequestError, SamplesError
from dlconv.graphs.onnx_graph import read_model
from dlconv.graphs.onnx_keep import names_of, require_known
from dlconv.runtimes.onnx_float32 import Float32Kernels, single
from dlconv.runtimes.onnx_plan import kept_of, name_of, program_of
from dlconv.runtimes.onnx_reference import refuse
from dlconv.runtimes.onnx_rounded_int8 import RoundedToInt8
from dlconv.runtimes.onnx_rounded_plan import constants_of, roles_of
from dlconv.runtimes.onnx_rounding import Losses, rounding
from dlconv.runtimes.onnx_walk import Walk

if TYPE_CHECKING:
    from dlconv.model import Signature
    from dlconv.runtimes.base import Tensors
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

    settings: "precision" ("float16", "bfloat16" or "int8"), "keep" (names of nodes that stay in float32), "stored"
    (True where stored numbers alone are rounded), "ranges" (for int8, as `onnx_rounded_int8` has them).
    Raises Unsupported for models whose answers are random, for strings and sequences, and, when run, for what nothing
    here runs; RequestError for a node to keep that is not there.
    """
    source = Path(path)
    model = read_model(source)
    refuse(model, "the emulation of a precision")
    require_known(settings.get("keep", ()), names_of(model.graph))
    return RoundedSession(source, signature, settings)


class RoundedSession:
    """The model at a precision. Floating outputs are float32 (float64 where the model's are), their values rounded."""

    def __init__(self, path: Path, signature: Signature, settings: dict[str, Any]) -> None:
        program = program_of(path)
        self._precision = settings["precision"]
        self._arithmetic = _arithmetic(program, settings)
        self._walk = Walk(program.plan, self._arithmetic)
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
            "operators": dict(sorted(self._arithmetic.kernels.run_by.items())),
            "losses": _told(self._arithmetic.losses),
        }


Made = tuple[str, str, str]
"""A tensor, the node that made it, and that node's operator."""


class Rounded:
    """See `dlconv.runtimes.onnx_walk.Arithmetic`. kept: ids of nodes. is_stored_alone: nothing computed is rounded."""

    def __init__(
        self, program: Program, precision: str, kept: frozenset[int] = frozenset(), *, is_stored_alone: bool = False
    ) -> None:
        self._rounding = rounding(precision)
        self._roles = roles_of(program.plan)
        self._constants = dict(constants_of(program.plan))
        self._narrow: dict[int, Any] = {}
        self._kept = kept
        self._is_stored_alone = is_stored_alone
        self.kernels = Float32Kernels(program.opsets)
        self.losses: dict[Made, Losses] = {}

    def given(self, name: str, value: Any) -> Any:
        """A model's input."""
        whole = single(np.asarray(value))
        return whole if self._is_stored_alone or self._kept else self._rounded(whole, (name, "", _INPUT))

    def entering(self, node: PlannedNode, place: int, value: Any) -> Any:
        if value.dtype.name not in _FLOATS or id(node) in self._kept:
            return single(value)
        if place not in self._roles.entering.get(id(node), ()):
            return self._from_kept(node, place, single(value))
        if id(value) not in self._constants:
            if self._is_stored_alone:
                return single(value)
            return self._rounded(single(value), self._made(node.inputs[place]), saturates=True)
        if id(value) not in self._narrow:
            narrow, losses = self._rounding.saturating.narrow(value)
            self._count((self._constants[id(value)], "", _WEIGHT), losses)
            self._narrow[id(value)] = narrow
        return self._narrow[id(value)].astype(np.float64 if value.dtype == np.float64 else np.float32)

    def _from_kept(self, node: PlannedNode, place: int, value: Any) -> Any:
        """What a kept node gave, or the model was given, as a node that is not kept reads it."""
        name = node.inputs[place]
        maker = self._roles.makers.get(name)
        is_whole = maker is None or id(maker) in self._kept
        if not self._kept or not is_whole or self._is_stored_alone or id(node) in self._roles.early:
            return value
        return self._rounded(value, self._made(name))

    def _made(self, name: str) -> Made:
        maker = self._roles.makers.get(name)
        return (name, name_of(maker), maker.kind) if maker else (name, "", _INPUT)

    def computed(self, node: PlannedNode, values: Sequence[Any]) -> Sequence[Any]:
        answers = [None if answer is None else np.asarray(answer) for answer in self.kernels.answers(node, values)]
        if self._is_stored_alone or id(node) in self._kept or id(node) in self._roles.early or node.kind in _MOVES:
            return answers
        return [
            None if answer is None else self._rounded(single(answer), (name, name_of(node), node.kind))
            for name, answer in zip(node.outputs, answers, strict=False)
        ]

    def leaving(self, plan: Plan, name: str, value: Any) -> Any:
        if name in self._roles.leaving[id(plan)] and value.dtype.name in _FLOATS and not self._is_stored_alone:
            return self._rounding.saturating.through(single(value))[0]
        return value

    def _rounded(self, value: Any, made: Made, *, saturates: bool = False) -> Any:
        if value.dtype.name not in _FLOATS:
            return value
        rounded, losses = (self._rounding.saturating if saturates else self._rounding).through(value)
        self._count(made, losses)
        return rounded

    def _count(self, made: Made, losses: Losses) -> None:
        self.losses[made] = self.losses.get(made, Losses()) + losses


def _arithmetic(program: Program, settings: dict[str, Any]) -> Rounded | RoundedToInt8:
    kept = kept_of(program.plan, settings.get("keep", ()))
    is_stored_alone = bool(settings.get("stored", False))
    if settings["precision"] != "int8":
        return Rounded(program, settings["precision"], kept, is_stored_alone=is_stored_alone)
    if not is_stored_alone and not settings.get("ranges"):
        raise RequestError("nothing rounds activations to int8 without their ranges", wanted="samples to find them on")
    return RoundedToInt8(program, kept, settings.get("ranges") or {}, is_stored_alone=is_stored_alone)


def _total(losses: Sequence[Losses]) -> dict[str, Any]:
    return {"tensors": len(losses), **asdict(sum(losses, Losses()))}


def _told(losses: dict[Made, Losses]) -> dict[str, Any]:
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
