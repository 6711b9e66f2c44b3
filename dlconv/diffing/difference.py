"""What a comparison of two models found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlconv.diffing import parting
from dlconv.diffing.parting import UNITS

if TYPE_CHECKING:
    from dlconv.diffing.parting import Parting, TensorError
    from dlconv.diffing.repro import Repro


@dataclass(frozen=True)
class Difference:
    """What was found. partings: of every operator with a tensor that was compared, in the order of the graph.

    operators: how many the reference has. arithmetic: the reference's. precision: the candidate's, and unit its step.
    held: the most tensors of one sample that any side held at a time. notes: a line each. kept: nodes of the candidate
    that are in float32 already, by its bundle.
    """

    candidate: str
    reference: str
    precision: str
    factor: float
    arithmetic: str
    samples: int
    operators: int
    partings: tuple[Parting, ...]
    outputs: tuple[TensorError, ...]
    held: int
    seconds: float
    notes: tuple[str, ...] = ()
    repro: Repro | None = None
    kept: tuple[str, ...] = ()

    @property
    def first(self) -> Parting | None:
        """The first operator, in the order of the graph, at which they are parted."""
        return parting.first(self.partings, self.factor)

    @property
    def ranked(self) -> tuple[Parting, ...]:
        """The operators at which the error grows most, first."""
        return parting.ranked(self.partings)

    @property
    def to_keep(self) -> tuple[str, ...]:
        """Where they part in a lower precision: the nodes that would have to stay in float32, those that do first; none
        where no operator stands out."""
        if self.first is None or self.precision in ("float32", "float64"):
            return ()
        found = parting.to_keep(self.partings, self.factor)
        return tuple(dict.fromkeys((*self.kept, *found))) if found else ()

    @property
    def word(self) -> str:
        """ "PARTED", "TOGETHER", or "INCONCLUSIVE" where no tensor could be compared."""
        if not self.partings:
            return "INCONCLUSIVE"
        return "PARTED" if self.first is not None else "TOGETHER"

    def to_dict(self) -> dict[str, Any]:
        first = self.first
        return {
            "word": self.word,
            "candidate": self.candidate,
            "reference": self.reference,
            "precision": self.precision,
            "unit": UNITS[self.precision],
            "factor": self.factor,
            "arithmetic": self.arithmetic,
            "samples": self.samples,
            "operators": self.operators,
            "held": self.held,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "first": None if first is None else first.to_dict(),
            "ranked": [each.to_dict() for each in self.ranked],
            "keep": list(self.to_keep),
            "outputs": [each.to_dict() for each in self.outputs],
            "repro": None if self.repro is None else self.repro.to_dict(),
        }
