"""At which sizes a model is lowered to see what follows them: combinations that the source itself takes.

Worker-side; needs onnxruntime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlconv.convert.other_sizes import resized, sizes_of
from dlconv.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlconv.convert.onnx_trial import Trial
    from dlconv.convert.size_formula import Point
    from dlconv.model import Dim
    from dlconv.runtimes.base import Tensors

_WANTED = 3


@dataclass(frozen=True)
class Points:
    """sizes: the base, one with another size of each name alone, one that differs in all. feeds: inputs of each.
    proofs: the last of these, and inputs with other sizes of one name, with what the source answers.
    least: one, of the names that the source takes one of, and else the base."""

    sizes: tuple[Point, ...]
    feeds: list[Tensors]
    proofs: list[tuple[Tensors, Tensors]]
    least: Point


def points(trial: Trial, shapes: Mapping[str, tuple[Dim, ...]], fed: Tensors) -> Points:
    """Combinations of the free sizes of `shapes`. Raises StepError where the source takes too few."""
    sample = sizes_of(shapes, fed)
    found = {name: _taken(trial, shapes, fed, name, sample) for name in sample}
    base = {name: low for name, (low, _, _) in found.items()}
    rows = [base, *({**base, name: high} for name, (_, _, high) in found.items())]
    rows.append({name: middle for name, (_, middle, _) in found.items()})
    feeds = [resized(shapes, fed, row) for row in rows]
    answers = [trial.answers(feed) for feed in feeds]
    refused = [row for row, answer in zip(rows, answers, strict=True) if answer is None]
    if refused:
        raise StepError(f"the source does not take {' or '.join(map(str, refused))}")
    firsts = {dims[0] for dims in shapes.values() if dims}  # batches: large ones take much, and show nothing new
    others = [{**base, name: size} for name, taken in found.items() if name not in firsts
              for size in _proving(sample[name], taken)]  # fmt: skip
    tried = [feeds[-1], *(resized(shapes, fed, row) for row in others)]
    proofs = [(feed, answer) for feed in tried if (answer := trial.answers(feed)) is not None]
    least = {
        name: 1 if trial.answers(resized(shapes, fed, {**base, name: 1})) is not None else base[name] for name in base
    }
    return Points(tuple(rows), feeds, proofs, least)


def _proving(sample: int, taken: tuple[int, ...]) -> list[int]:
    """Sizes that show what the points have in common by chance: some between them, for what hangs on a remainder, and
    a far one, for windows, blocks and bounds that they all lie within."""
    low, *_, high = taken
    between = sorted({low + (high - low) * part // 100 for part in (13, 29, 47, 71, 89)} - {*taken})
    return [*between, min(16 * sample, max(1024, 2 * high))]


def _taken(
    trial: Trial, shapes: Mapping[str, tuple[Dim, ...]], fed: Tensors, name: str, sample: Point
) -> tuple[int, ...]:
    """Three sizes of a name above one that the source takes, beside the sample's of the others; in order."""
    taken: list[int] = []
    for size in _sizes(sample[name]):
        if size > 1 and size not in taken and trial.answers(resized(shapes, fed, {**sample, name: size})) is not None:
            taken.append(size)
            if len(taken) == _WANTED:
                return tuple(sorted(taken))
    if not {*taken} - {sample[name]}:
        raise StepError(f"the source itself takes no other size that was tried of {name}")
    raise StepError(f"the source itself takes fewer than {_WANTED} sizes above one of {name}, of those that were tried")


def _sizes(size: int) -> Iterator[int]:
    """Others that are far apart and no steps of the sample's; then what a model takes that wants multiples, or small
    ones."""
    yield from (2 * size + 1, 5 * size // 3 + 2, size // 2 + 1, size // 3 + 1, 3 * size + 2, size - 1)
    yield from (2 * size, 3 * size, 4 * size, size, size // 2, size // 4)
