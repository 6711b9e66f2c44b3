"""Two models run side by side, window by window, and the error of each tensor that both show."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from dlconv import parting
from dlconv.events import Event
from dlconv.parting import Operator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from dlconv.events import Listener
    from dlconv.parting import TensorError
    from dlconv.samples import Sample
    from dlconv.workers.worker import Worker

    Tensors = Mapping[str, np.ndarray[Any, Any]]

EMULATED: Final = ("float16", "bfloat16")
_LARGEST: Final = {"float16": 65504.0}


@dataclass(frozen=True)
class Pair:
    """Two ONNX models, and how they are run. outline, theirs: of the reference and of the candidate, as data.

    arithmetic: the candidate's, as `onnx_courses.open` takes it. samples: for the reference; given: the same for the
    candidate. names: of the candidate's tensor by the reference's, for those that operators of both make.
    """

    reference: Path
    candidate: Path
    arithmetic: str
    outline: Mapping[str, Any]
    theirs: Mapping[str, Any]
    samples: tuple[Sample, ...]
    given: tuple[Sample, ...]
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def emulates(self) -> str:
        """The precision that the candidate is the emulation of; "" where it is a model of its own."""
        return self.arithmetic if self.arithmetic in EMULATED else ""

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        return _operators(self.outline)

    def back_in_candidate(self, name: str, compared: set[str]) -> tuple[str, ...]:
        """The candidate's tensors among `compared`, or its inputs, that its tensor `name` is made of."""
        operators = _operators(self.theirs)
        return parting.back(parting.makers(operators)[name], operators, compared)[1]

    def tensors(self, worker: Worker, arithmetic: str, names: Sequence[str], sample: int) -> Sample:
        """Tensors of the reference in a run on one sample, its inputs among them."""
        return _tensors(worker, self.reference, arithmetic, self.samples[sample], names)

    def candidate_tensors(self, worker: Worker, names: Sequence[str], sample: int) -> Sample:
        """The same of the candidate, by its own names."""
        return _tensors(worker, self.candidate, self.arithmetic, self.given[sample], names)


class Side:
    """A course that a worker keeps until it is left."""

    def __init__(
        self, worker: Worker, path: Path, arithmetic: str, samples: Sequence[Sample], stops: Sequence[Sequence[str]]
    ) -> None:
        self._worker = worker
        self._what = f"running {path.name} in {arithmetic}"
        self._handle = worker.call(
            "dlconv.runtimes.onnx_courses:open", what=self._what, keep=True, path=str(path), arithmetic=arithmetic
        )
        self._call("begin", samples=list(samples), stops=[list(stop) for stop in stops])

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


def compare(
    pair: Pair, exact: str, unit: float, window: int, worker: Worker, told: Listener
) -> tuple[dict[str, TensorError], int]:
    """The error of every tensor that both show, by the reference's name; and the most tensors that a side held.

    exact: the reference's arithmetic. window: operators whose tensors are shown at a time. Raises Unsupported where
    the reference, or an emulated candidate, cannot be run so.
    """
    stops = _stops(pair, window)
    theirs = [[pair.names[name] for name in stop] for stop in stops]
    sides = (
        Side(worker, pair.reference, exact, pair.samples, stops),
        Side(worker, pair.reference, "onnxruntime", pair.samples, stops),
        Side(worker, pair.candidate, pair.arithmetic, pair.given, theirs),
    )
    saturates_at = _LARGEST.get(pair.emulates, math.inf)
    errors: dict[str, TensorError] = {}
    for number, stop in enumerate(stops, start=1):
        told.on(Event("step-started", "", f"window {number} of {len(stops)}"))
        sure, single, got = (side.next() for side in sides)
        for name in stop:
            errors[name] = parting.measured(
                name,
                [sample[name] for sample in sure],
                [sample[pair.names[name]] for sample in got],
                [sample[name] for sample in single],
                unit,
                saturates_at=saturates_at,
            )
    held = max(side.held() for side in sides)
    for side in sides:
        side.drop()
    return errors, held


def _stops(pair: Pair, window: int) -> list[list[str]]:
    names = [[name for name in each.outputs if name in pair.names] for each in pair.operators]
    groups = ([name for each in names[at : at + window] for name in each] for at in range(0, len(names), window))
    return [group for group in groups if group]


def _operators(outline: Mapping[str, Any]) -> tuple[Operator, ...]:
    return tuple(
        Operator(each["name"], each["kind"], tuple(each["inputs"]), tuple(each["outputs"]))
        for each in outline["operators"]
    )


def _tensors(worker: Worker, path: Path, arithmetic: str, sample: Sample, names: Sequence[str]) -> Sample:
    made = [name for name in names if name not in sample]
    found = {name: sample[name] for name in names if name in sample}
    if made:
        side = Side(worker, path, arithmetic, [sample], [made])
        found |= side.next()[0]
        side.drop()
    return found
