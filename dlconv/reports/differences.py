"""What `dlconv diff` found, for a person."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dlconv.diffing.parting import STANDS_OUT, UNITS
from dlconv.reports.table import duration, one_line, table

if TYPE_CHECKING:
    from dlconv.diffing.difference import Difference
    from dlconv.diffing.parting import Parting, TensorError

_LONGEST_NAME = 48
_LISTED = 5


def lines(found: Difference, top: int) -> list[str]:
    """The verdict, the first parting, the operators with the most growth, the outputs, and where the repro lies."""
    head = f"{found.word}  {one_line(found.candidate)} against {one_line(found.reference)} ({found.arithmetic})"
    told = [head, "", *sentences(found)]
    if not found.partings:
        return told
    ranked = found.ranked
    shown = ranked[:top]
    heads = ("#", "operator", "kind", "growth", "error", "noise in", "noise out", "largest")
    rows = [
        (
            str(each.place),
            _short(each.operator.label),
            each.operator.kind,
            _figure(each.growth),
            _figure(each.tensor.error),
            _figure(each.noise_in),
            _figure(each.tensor.noise),
            _figure(each.tensor.largest),
        )
        for each in shown
    ]
    told += ["", *table(heads, rows, right=("#", *heads[3:]))]
    left = len(ranked) - len(shown)
    told += [f"... and {left} operators with less growth"] if left else []
    told += ["", *_outputs(found.outputs)]
    told += ["", *_how(found), *(f"note: {one_line(note)}" for note in found.notes)]
    told += _kept(found)
    return [*told, *_repro(found)]


def sentences(found: Difference) -> list[str]:
    """Where they part first, where the error grows most, and the element that is farthest off there."""
    first = found.first
    if not found.partings:
        return ["no tensor of one is known to be a tensor of the other: nothing was compared"]
    if first is None:
        return [f"no tensor is farther apart than {found.factor:g} times what {found.precision} explains"]
    grown = found.ranked[0]
    told = [f"they part first at {_named(first)}: {_in_words(first)}"]
    if grown.place != first.place:
        told.append(f"the error grows most at {_named(grown)}: {_in_words(grown)}")
    if grown.growth < STANDS_OUT:
        told.append("no operator stands out: the error adds up over many")
    if (worst := grown.tensor.worst) is not None:
        told.append(
            f"  {one_line(grown.tensor.name)}{list(worst.index)} of sample {worst.sample}: "
            f"{worst.reference:.6g} is right, {worst.candidate:.6g} was given"
        )
    if len(grown.operators) > 1:
        told.append(f"  somewhere in {len(grown.operators)} operators: the candidate shows no tensor between them")
    return told


def _outputs(outputs: tuple[TensorError, ...]) -> list[str]:
    rows = [(_short(each.name), _figure(each.error), _figure(each.noise)) for each in outputs]
    return table(("output", "error", "noise"), rows, right=("error", "noise")) if rows else ["no output is compared"]


def _how(found: Difference) -> list[str]:
    return [
        f"{len(found.partings)} of {found.operators} operators, {found.samples} samples, {duration(found.seconds)}",
        f"noise: the error in units of what is to be expected, no less than {UNITS[found.precision]:.2g}; "
        "growth: noise out over noise in",
    ]


def _kept(found: Difference) -> list[str]:
    names = found.to_keep
    if not names:
        return []
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ["", f"what would stay in float32: {', '.join(one_line(name) for name in names[:_LISTED])}{more}"]


def _repro(found: Difference) -> list[str]:
    if found.repro is None:
        return []
    count = found.repro.operators
    part = "the operator alone" if count == 1 else f"{count} operators"
    shows = f"{part} show it" if found.repro.shows else f"{part} do not show it by themselves"
    shows = shows.replace("alone show", "alone shows") if count == 1 else shows
    return ["", f"python {found.repro.folder / 'repro.py'}", f"  {shows}"]


def _named(each: Parting) -> str:
    return f"{each.operator.kind} {_short(each.operator.label)}"


def _in_words(each: Parting) -> str:
    if math.isinf(each.tensor.error):
        if each.tensor.worst is None or math.isnan(each.tensor.worst.reference):
            return "the tensors are not of one shape or kind"
        if math.isinf(each.tensor.worst.candidate):
            return f"overflow, where the right values reach {each.tensor.largest:.4g}"
        return "what is a number in one is none in the other"
    return f"an error of {each.tensor.error:.3g} of the scale, {_figure(each.growth)} times what it was given"


def _short(name: str) -> str:
    name = one_line(name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 21]}...{name[-18:]}"


def _figure(value: float) -> str:
    return f"{value:.3g}"
