"""Where a conversion goes wrong, found by bisection: the model up to an operator, converted as the whole was, and held
against its own tensors there. For artifacts that show no tensors of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.diffing import parting, parts
from dlconv.diffing.parting import TensorError
from dlconv.diffing.side_by_side import Side
from dlconv.errors import RunEnded, StepError, WorkerOutOfMemory, WorkerTimedOut
from dlconv.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.diffing.parting import Operator
    from dlconv.diffing.parts import Conversion
    from dlconv.diffing.side_by_side import Run
    from dlconv.events import Listener
    from dlconv.samples import Sample

Errors = dict[str, TensorError]


@dataclass(frozen=True)
class Bracket:
    """What a bisection found: the last place that is right (-1: the inputs) and the first that is wrong, in the order
    of the operators, with the errors measured there; and how many prefixes were converted."""

    right: int
    wrong: int
    errors: Errors
    tried: int


@dataclass(frozen=True)
class Prefixes:
    """The prefixes of a reference. operators, outputs: of its graph. unit: the least floor. factor: noise from which on
    a tensor is wrong. window: operators whose tensors are held at a time."""

    reference: Run
    operators: tuple[Operator, ...]
    outputs: tuple[str, ...]
    conversion: Conversion
    unit: float
    factor: float
    window: int
    told: Listener

    def measured(self, answers: Sequence[Sample], names: Sequence[str]) -> Errors:
        """The errors of tensors in what the candidate gave, a set a sample."""
        runs = (self.reference, self.single)
        sure, single = ([run.tensors(self.conversion.crew, names, at) for at in self._samples] for run in runs)
        return {
            name: parting.measured(
                name,
                [each[name] for each in sure],
                [each[name] for each in answers],
                [each[name] for each in single],
                self.unit,
            )
            for name in names
        }

    def bisect(self) -> Bracket | None:
        """Where it goes wrong; None where the whole, converted anew, does not."""
        places = [place for place in range(len(self.operators)) if self._makes_data(place) and self.frontier(place)]
        if not places:
            return None
        return bisected(places, self._probed, self.factor)

    @cached_property
    def single(self) -> Run:
        """The reference as its file has it."""
        return replace(self.reference, arithmetic="onnxruntime")

    @cached_property
    def _samples(self) -> tuple[int, ...]:
        """The samples of the first one's sizes: a part is converted for these."""
        shapes = [{name: array.shape for name, array in each.items()} for each in self.reference.samples]
        return tuple(at for at, each in enumerate(shapes) if each == shapes[0])

    def frontier(self, place: int) -> tuple[str, ...]:
        """The tensors that are made up to an operator and needed after it, those alone that carry data."""
        made = [name for operator in self.operators[: place + 1] for name in operator.outputs]
        needed = {name for operator in self.operators[place + 1 :] for name in operator.inputs} | set(self.outputs)
        return tuple(name for name in made if name in needed and name in self._data)

    def _makes_data(self, place: int) -> bool:
        return any(name in self._data for name in self.operators[place].outputs)

    @cached_property
    def _data(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Of every float tensor that depends on the inputs, an empty array of its dtype and sizes."""
        seen = set(self.reference.samples[0])
        for operator in self.operators:
            if seen.intersection(operator.inputs) and operator.kind not in ("Shape", "Size"):
                seen |= set(operator.outputs)
        names = [name for operator in self.operators for name in operator.outputs if name in seen]
        stops = [names[at : at + self.window] for at in range(0, len(names), self.window)]
        found: dict[str, np.ndarray[Any, Any]] = {}
        with self.conversion.crew.lease("onnx") as worker:
            side = Side(worker, replace(self.single, samples=self.reference.samples[:1]), stops)
            for _ in stops:
                shown = side.next()[0]
                found |= {
                    name: np.broadcast_to(np.zeros((), array.dtype), array.shape)
                    for name, array in shown.items()
                    if array.dtype.kind == "f" and array.size
                }
            side.drop()
        return found

    def _probed(self, place: int) -> Errors:
        """The errors at the frontier of an operator. Raises StepError where the prefix cannot be converted or run."""
        names = self.frontier(place)
        self.told.on(Event("step-started", "", f"converting {place + 1} of {len(self.operators)} operators"))
        given = self.reference.samples[0]
        with tempfile.TemporaryDirectory(prefix="dlconv-") as folder:
            path = Path(folder) / "prefix.onnx"
            wanted = {name: self._data[name] for name in names}
            taken = parts.cut(self.reference, path, given, wanted, self.conversion.crew)
            product = self.conversion.convert(path, {name: given[name] for name in taken}, wanted)
            samples = [{name: self.reference.samples[at][name] for name in taken} for at in self._samples]
            answers = self.conversion.answers(product.path, product.signature, samples)
        return self.measured(answers, names)


def bisected(places: Sequence[int], probe: Callable[[int], Errors], factor: float) -> Bracket | None:
    """The bracket of the first wrong place, if the last is wrong, by some log2 probes. A place whose probe raises
    StepError tells nothing: its neighbours are asked, and the bracket stays wider where none of them tells."""
    found: dict[int, Errors] = {}
    mute: set[int] = set()

    def is_wrong(index: int) -> bool | None:
        try:
            found[index] = probe(places[index])
        except (RunEnded, WorkerOutOfMemory, WorkerTimedOut):
            raise
        except StepError:
            mute.add(index)
            return None
        return any(not error.noise <= factor for error in found[index].values())

    right, wrong = -1, len(places) - 1
    verdict = is_wrong(wrong) if places else None
    while wrong > 0 and verdict is None:
        wrong -= 1
        verdict = is_wrong(wrong)
    if not verdict:
        return None
    while True:
        between = [index for index in range(right + 1, wrong) if index not in mute]
        if not between:
            break
        middle = min(between, key=lambda index: abs(index - (right + wrong) / 2))
        verdict = is_wrong(middle)
        if verdict is not None:
            right, wrong = (right, middle) if verdict else (middle, wrong)
    errors = dict(found[wrong])
    for name, error in found.get(right, {}).items():
        # What was right before it was converted with more is right; what is wrong only then came with the rest.
        errors[name] = error if errors.get(name, error).noise <= factor else errors[name]
    tried = len(found) + len(mute)
    return Bracket(places[right] if right >= 0 else -1, places[wrong], errors, tried)
