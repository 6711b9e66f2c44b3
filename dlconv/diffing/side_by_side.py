"""Two models run side by side, window by window, and the error of each tensor that both show."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from dlconv.diffing import parting
from dlconv.diffing.parting import Operator
from dlconv.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from dlconv.diffing.parting import TensorError
    from dlconv.events import Listener
    from dlconv.samples import Sample
    from dlconv.workers.crew import Crew
    from dlconv.workers.worker import Worker

EMULATED: Final = ("float16", "bfloat16", "int8")
_LARGEST: Final = {"float16": 65504.0}


@dataclass(frozen=True)
class Run:
    """A model to be run on samples, which are by its own names. course: the module that opens it, in a toolchain's
    worker, in an arithmetic; cut: the function that cuts a part out of it."""

    path: Path
    samples: tuple[Sample, ...]
    arithmetic: str
    course: str = "dlconv.runtimes.onnx_courses"
    toolchain: str = "onnx"
    cut: str = "dlconv.runtimes.onnx_outputs:cut"

    @property
    def is_onnx(self) -> bool:
        return self.toolchain == "onnx"

    @property
    def emulates(self) -> str:
        """The precision that it is an emulation of; "" where it is a model of its own."""
        return self.arithmetic if self.is_onnx and self.arithmetic in EMULATED else ""

    def tensors(self, crew: Crew, names: Sequence[str], sample: int) -> Sample:
        """Tensors of a run on one sample, the model's inputs among them."""
        given = self.samples[sample]
        made = [name for name in names if name not in given]
        found = {name: given[name] for name in names if name in given}
        if made:
            with crew.lease(self.toolchain) as worker:
                side = Side(worker, replace(self, samples=(given,)), [made])
                found |= side.next()[0]
                side.drop()
        return found


@dataclass(frozen=True)
class Pair:
    """A reference, which is ONNX, and a candidate. outline, theirs: of the two graphs, as data.

    names: of the candidate's tensor by the reference's, for those that operators of both make. axes: of those that the
    candidate has in another order: axis i of the reference's is axis axes[i] of the candidate's. is_loose: an inner
    tensor of another shape is another tensor, and no error.
    """

    reference: Run
    candidate: Run
    outline: Mapping[str, Any]
    theirs: Mapping[str, Any]
    names: Mapping[str, str]
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    is_loose: bool = False

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        return _operators(self.outline)

    @property
    def single(self) -> Run:
        """The reference as its file has it, in ONNX Runtime."""
        return replace(self.reference, arithmetic="onnxruntime")

    def turned(self, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The candidate's tensor in the reference's axes."""
        return array.transpose(self.axes[name]) if name in self.axes else array

    def back_in_candidate(self, name: str, compared: set[str]) -> tuple[str, ...]:
        """The candidate's tensors among `compared`, or its inputs, that its tensor `name` is made of."""
        operators = _operators(self.theirs)
        return parting.back(parting.makers(operators)[name], operators, compared)[1]


class Side:
    """A course that a worker keeps until it is left."""

    def __init__(self, worker: Worker, run: Run, stops: Sequence[Sequence[str]]) -> None:
        self._worker = worker
        self._what = f"running {run.path.name} in {run.arithmetic}"
        self._handle = worker.call(
            f"{run.course}:open", what=self._what, keep=True, path=str(run.path), arithmetic=run.arithmetic
        )
        self._call("begin", samples=list(run.samples), stops=[list(stop) for stop in stops])

    def next(self) -> list[Sample]:
        """The tensors of the next stop, a set a sample."""
        found: list[Sample] = self._call("next")
        return found

    def held(self) -> int:
        """The most tensors of a sample that were held at a time."""
        return int(self._call("held"))

    def drop(self) -> None:
        """Let the worker forget it."""
        self._worker.call("drop", handle=self._handle)

    def _call(self, method: str, **args: Any) -> Any:
        return self._worker.call(f"#{self._handle}.{method}", what=self._what, **args)


def compare(pair: Pair, unit: float, window: int, crew: Crew, told: Listener) -> tuple[dict[str, TensorError], int]:
    """The error of every tensor that both show, by the reference's name; and the most tensors that a side held.

    window: operators whose tensors are shown at a time. Raises Unsupported where one cannot be run in its arithmetic.
    The crew has to have two slots.
    """
    stops = _stops(pair, window)
    theirs = [[pair.names[name] for name in stop] for stop in stops]
    errors: dict[str, TensorError] = {}
    with ExitStack() as leases:
        worker = leases.enter_context(crew.lease("onnx"))
        other = worker if pair.candidate.is_onnx else leases.enter_context(crew.lease(pair.candidate.toolchain))
        sides = (
            Side(worker, pair.reference, stops),
            Side(worker, pair.single, stops),
            Side(other, pair.candidate, theirs),
        )
        for number, stop in enumerate(stops, start=1):
            told.on(Event("step-started", "", f"window {number} of {len(stops)}"))
            sure, single, got = (side.next() for side in sides)
            for name in stop:
                arrays = [pair.turned(name, sample[pair.names[name]]) for sample in got]
                if pair.is_loose and any(a[name].shape != b.shape for a, b in zip(sure, arrays, strict=True)):
                    continue
                errors[name] = _measured(name, sure, arrays, single, unit, pair.candidate)
        held = max(side.held() for side in sides)
        for side in sides:
            side.drop()
    return errors, held


def _measured(
    name: str,
    sure: Sequence[Sample],
    got: Sequence[np.ndarray[Any, Any]],
    single: Sequence[Sample],
    unit: float,
    candidate: Run,
) -> TensorError:
    saturates_at = _LARGEST.get(candidate.emulates, math.inf)
    reference, own = [sample[name] for sample in sure], [sample[name] for sample in single]
    return parting.measured(name, reference, got, own, unit, saturates_at=saturates_at)


def _stops(pair: Pair, window: int) -> list[list[str]]:
    """The tensors to compare, by windows; the model's outputs last, so that nothing else is an output with them."""
    last = [name for name in pair.outline["outputs"] if name in pair.names]
    names = [[name for name in each.outputs if name in pair.names and name not in last] for each in pair.operators]
    groups = ([name for each in names[at : at + window] for name in each] for at in range(0, len(names), window))
    return [group for group in (*groups, last) if group]


def _operators(outline: Mapping[str, Any]) -> tuple[Operator, ...]:
    return tuple(
        Operator(each["name"], each["kind"], tuple(each["inputs"]), tuple(each["outputs"]))
        for each in outline["operators"]
    )
