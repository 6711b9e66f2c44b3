"""Matching: which tensor of one model is which of another that somebody else made.

Names that are the same on both sides belong together. What is left is matched by dtype and shape where these leave no
choice, axes included; where there is a choice it is asked for, and never tried until something fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.model import Signature, TensorSpec

Axes = tuple[int, ...]

_LAYOUTS: Final[Mapping[int, tuple[Axes, ...]]] = {
    3: ((0, 2, 1),),
    4: ((0, 2, 3, 1), (0, 3, 1, 2)),
    5: ((0, 2, 3, 4, 1), (0, 4, 1, 2, 3)),
}
"""Between channels first and channels last, by rank. No other order of axes is ever taken for a layout."""
_WORDS: Final = {"nhwc": (0, 2, 3, 1), "nchw": (0, 3, 1, 2), "nwc": (0, 2, 1), "ncw": (0, 2, 1), "same": ()}
_GRAMMAR: Final = "REFERENCE=CANDIDATE, with the candidate's layout where it is another: x=input:nhwc, y=out:0,2,1"


@dataclass(frozen=True)
class Link:
    """What the user says: the reference's tensor is this one of the candidate. axes: None where nothing was said."""

    reference: str
    candidate: str
    axes: Axes | None = None

    def __str__(self) -> str:
        """As `--map` writes it."""
        layout = "" if self.axes is None else ":" + (",".join(map(str, self.axes)) or "same")
        return f"{self.reference}={self.candidate}{layout}"


def parse_link(text: str) -> Link:
    """One `--map`. Raises RequestError, with the grammar."""
    reference, equals, candidate = text.partition("=")
    if not equals or not reference or not candidate:
        raise RequestError(f"--map {text!r} says no pair", wanted=_GRAMMAR)
    name, colon, layout = candidate.rpartition(":")
    if colon and layout.lower() in _WORDS:
        return Link(reference, name, _WORDS[layout.lower()])
    words = layout.split(",")
    if colon and len(words) > 1:
        axes = tuple(int(word) if word.isdecimal() else -1 for word in words)
        if sorted(axes) != list(range(len(axes))):
            raise RequestError(f"--map {text!r}: {layout} is no order of axes", wanted=_GRAMMAR)
        return Link(reference, name, axes)
    return Link(reference, candidate)


def matched(
    reference: Signature, candidate: Signature, links: Sequence[Link] = (), *, one_family: bool = False
) -> tuple[Signature, tuple[str, ...]]:
    """The candidate's signature with the reference's name and axes at each tensor, and a line for what was inferred.

    one_family: both formats keep their axes in one order by custom, so that equal shapes are not doubted. Raises
    RequestError where there is a choice, with what can be said, and where no input fits. An output that has no
    partner keeps its name, and the judge finds it missing.
    """
    _check_links(reference, candidate, links)
    own = candidate.own  # the source keeps its state inside
    inputs, told = _side("input", reference.inputs, own.inputs, links, one_family)
    outputs, more = _side("output", reference.outputs, own.outputs, links, one_family)
    paired = {spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs}
    turned = replace(
        candidate,
        inputs=tuple(paired[0].get(spec.name, spec) for spec in candidate.inputs),
        outputs=tuple(paired[1].get(spec.name, spec) for spec in candidate.outputs),
    )
    return turned, (*told, *more)


def _check_links(reference: Signature, candidate: Signature, links: Sequence[Link]) -> None:
    sides = (("reference", reference), ("candidate", candidate))
    problems: list[str] = []
    for side, signature in sides:
        named = [str(getattr(link, side)) for link in links]
        known = {spec.name for spec in (*signature.inputs, *signature.outputs)}
        problems += [f"the {side} has no tensor {name!r}" for name in named if name not in known]
        problems += [f"{name!r} of the {side} is named twice" for name in dict.fromkeys(named) if named.count(name) > 1]
    ways = [
        ({spec.name for spec in there}, {spec.name for spec in here})
        for there, here in ((reference.inputs, candidate.inputs), (reference.outputs, candidate.outputs))
    ]
    if not problems:
        problems += [
            f"--map {link}: one is an input and the other an output"
            for link in links
            if not any(link.reference in there and link.candidate in here for there, here in ways)
        ]
    if problems:
        wanted = (f"{side}: {', '.join(map(str, (*sig.inputs, *sig.outputs)))}" for side, sig in sides)
        raise RequestError("--map says what cannot be", wanted="; ".join(wanted), problems=tuple(problems))


def _side(
    what: str, reference: Sequence[TensorSpec], candidate: Sequence[TensorSpec], links: Sequence[Link], one_family: bool
) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    there, here = {spec.name: spec for spec in reference}, {spec.name: spec for spec in candidate}
    said = {link.reference: link for link in links if link.reference in there and link.candidate in here}
    pairs = {name: link.candidate for name, link in said.items()}
    pairs |= {name: name for name in there if name in here and name not in pairs and name not in pairs.values()}
    rest = [name for name in there if name not in pairs], [name for name in here if name not in pairs.values()]
    ways = {
        (one, other): found
        for one in rest[0]
        for other in rest[1]
        if (found := _ways(there[one], here[other], one_family))
    }
    inferred = _peeled(*rest, set(ways))
    left = {one: sorted(b for a, b in ways if a == one and b not in inferred.values()) for one in rest[0]}
    left = {one: others for one, others in left.items() if one not in inferred}
    if any(left.values()) or (what == "input" and (left or len(here) != len(there))):
        raise _choice(what, left, there, here)
    turned: list[TensorSpec] = []
    told: list[str] = []
    by_candidate = {other: one for one, other in (pairs | inferred).items()}
    for name, spec in here.items():
        one = by_candidate.get(name)
        if one is None:
            turned.append(spec)
            continue
        link = said.get(one)
        axes = link.axes if link is not None and link.axes is not None else _axes(what, there[one], spec, one_family)
        turned.append(replace(spec, source="" if one == name else one, permutation=axes))
        if one in inferred or (axes and (link is None or link.axes is None)):
            how = f", axes {','.join(map(str, axes))}" if axes else ""
            told.append(f"{what} {one} of the reference is {name} of the candidate{how}: nothing else fits")
    return tuple(turned), tuple(told)


def _peeled(ones: Sequence[str], others: Sequence[str], edges: set[tuple[str, str]]) -> dict[str, str]:
    """The pairs that are forced. Where all can be paired, whoever has one possible partner takes it, and so on: where
    only one perfect matching exists, this finds all of it (such a graph always has a vertex of degree one). Where
    some stay without a partner, both have to be each other's only one."""
    found: dict[str, str] = {}
    enough = any if len(ones) == len(others) == _most_pairs(ones, edges) else all
    left = set(edges)
    while True:
        forced = [
            (a, b)
            for a, b in sorted(left)
            if enough((sum(one == a for one, _ in left) == 1, sum(other == b for _, other in left) == 1))
        ]
        if not forced:
            return found
        a, b = forced[0]
        found[a] = b
        left = {(one, other) for one, other in left if one != a and other != b}


def _most_pairs(ones: Sequence[str], edges: set[tuple[str, str]]) -> int:
    """How many can have a partner at once (augmenting paths; Kuhn, 1955)."""
    taken: dict[str, str] = {}

    def find(one: str, seen: set[str]) -> bool:
        for other in sorted(b for a, b in edges if a == one and b not in seen):
            seen.add(other)
            if other not in taken or find(taken[other], seen):
                taken[other] = one
                return True
        return False

    return sum(find(one, set()) for one in ones)


def _ways(reference: TensorSpec, candidate: TensorSpec, one_family: bool) -> list[Axes]:
    """The orders of axes by which the candidate's tensor can be the reference's; () is the same order."""
    if not _same_kind(reference.dtype, candidate.dtype):
        return []
    if reference.shape is None or candidate.shape is None:
        return [()]
    if len(reference.shape) != len(candidate.shape):
        return []
    orders = ((), *_LAYOUTS.get(len(reference.shape), ()))
    fitting: list[Axes] = [axes for axes in orders if _fits(reference, candidate, axes)]
    if () not in fitting:
        return fitting
    # Where turning only moves sizes of one, both orders are the same elements: that is no choice.
    return [()] if one_family else [axes for axes in fitting if not axes or not _is_plain(candidate, axes)]


def _same_kind(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return np.dtype(one).kind in "iu" and np.dtype(other).kind in "iu"
    except TypeError:  # NumPy does not know bfloat16 and string
        return False


def _fits(reference: TensorSpec, candidate: TensorSpec, axes: Axes) -> bool:
    shape: Any = reference.shape
    turned = [shape[axis] for axis in axes] if axes else shape
    pairs = zip(turned, candidate.shape or (), strict=True)
    return all(isinstance(a, str) or isinstance(b, str) or a == b for a, b in pairs)


def _is_plain(candidate: TensorSpec, axes: Axes) -> bool:
    """Whether turning the axes only moves sizes of one, so that the elements' order stays."""
    shape: Any = candidate.shape
    order = [axis for axis, size in zip(axes, shape, strict=True) if size != 1]
    return order == sorted(order)


def _axes(what: str, reference: TensorSpec, candidate: TensorSpec, one_family: bool) -> Axes:
    ways = _ways(reference, candidate, one_family)
    if len(ways) > 1:
        layouts = ["same" if not axes else ",".join(map(str, axes)) for axes in ways]
        raise RequestError(
            f"the axes of the {what} {candidate} can be in more than one order for the reference's {reference}",
            mend="\n".join(f"--map {reference.name}={candidate.name}:{layout}" for layout in layouts),
        )
    if not ways and what == "input":
        raise RequestError(
            f"the candidate's input {candidate} does not fit the reference's {reference}",
            mend="give the reference samples of that size: --samples FILE.npz, or --input NAME:SHAPE",
        )
    return ways[0] if ways else ()


def _choice(
    what: str, left: Mapping[str, list[str]], there: Mapping[str, TensorSpec], here: Mapping[str, TensorSpec]
) -> RequestError:
    mends = [f"--map {one}={other}" for one, others in left.items() for other in others]
    return RequestError(
        f"which {what} of the candidate is which of the reference cannot be known from names, dtypes and shapes",
        wanted=f"reference: {', '.join(map(str, there.values()))}; candidate: {', '.join(map(str, here.values()))}",
        mend="\n".join(mends) if mends else "verify models with the same inputs",
    )
