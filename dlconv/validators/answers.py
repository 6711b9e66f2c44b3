"""The reference's answers: what every candidate is compared with, and the noise that is theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dlconv.validators.distances import distance, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dlconv.samples import Sample
    from dlconv.validators.quantised import Grid


@dataclass(frozen=True)
class Answers:
    """The reference's answers, a tensor set a sample. y64 is None where the source cannot run in float64. grids: of
    the quantised outputs. further: of a source that computes in float16 or bfloat16, its answers in that to the samples
    moved by their last bit: as right as y32, and the noise of one run is chance.
    """

    y32: tuple[Sample, ...]
    y64: tuple[Sample, ...] | None
    grids: Mapping[str, Grid] = field(default_factory=dict)
    further: tuple[tuple[Sample, ...], ...] = ()

    def at(self, indices: Sequence[int]) -> Answers:
        """The answers to some of the samples."""
        return self.mapped(lambda samples: tuple(samples[index] for index in indices))

    def mapped(self, change: Callable[[tuple[Sample, ...]], tuple[Sample, ...]]) -> Answers:
        """All answers changed alike."""
        return Answers(
            change(self.y32),
            None if self.y64 is None else change(self.y64),
            self.grids,
            tuple(change(each) for each in self.further),
        )

    @property
    def best(self) -> tuple[Sample, ...]:
        return self.y32 if self.y64 is None else self.y64

    @property
    def is_half(self) -> bool:
        """Whether the source computes in float16 or bfloat16."""
        return bool(self.further)

    @property
    def floors(self) -> dict[str, float] | None:
        """The noise floor of each float output; None where one run is all there is, which tells no noise."""
        others = self.further if self.y64 is None else (self.y32, *self.further)
        return noise_floors(self.best, others) if others else None


def noise_floors(
    reference: Sequence[Sample], others: Sequence[Sequence[Sample]], grids: Mapping[str, Grid] | None = None
) -> dict[str, float]:
    """The distance between answers of equal right, per float or quantised output: the largest over `others`."""
    known = grids or {}

    def apart(name: str, other: Sequence[Sample]) -> float:
        grid = known.get(name)
        return distance([plain(s[name], grid) for s in reference], [plain(s[name], grid) for s in other])[0]

    return {
        name: max(apart(name, other) for other in others)
        for name, array in reference[0].items()
        if plain(array, known.get(name)).dtype.kind == "f"
    }
