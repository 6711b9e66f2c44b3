"""The first supposition of an input's shape: the one with which the archive was traced, where the archive tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv.convert.torchscript_guess import Guess
from dlconv.files.traced_inputs import Traced, traced_inputs

if TYPE_CHECKING:
    from dlconv.runtimes.torchscript import Argument


def traced_leaves(path: str, arguments: list[Argument], leaves: dict[str, Any]) -> dict[str, Traced]:
    """The tensor that each leaf was in the trace. leaves: name -> (argument, member of it or None)."""
    values = dict(zip((argument.name for argument in arguments), traced_inputs(path), strict=False))
    told = {name: _member(values.get(argument), member) for name, (argument, member) in leaves.items()}
    # A trace by keywords stores the tensors in the order of the call: where that is another one than forward's, the
    # proof by a run refuses them, and the guesses behind this one are tried.
    return {name: value for name, value in told.items() if isinstance(value, Traced) and value.dtype}


def as_traced(traced: Traced, others: list[Guess]) -> Guess:
    """The traced shape; the range of integers is the one of the likeliest of the other guesses that is of integers."""
    integers = traced.dtype.startswith(("int", "uint"))
    like = next((guess for guess in others if guess.dtype.startswith("int")), None) if integers else None
    high, low = (None, 0) if like is None else (like.high, like.low)
    return Guess(traced.dtype, traced.shape, high, low, "the inputs that it was traced with")


def _member(value: Any, member: int | str | None) -> Any:
    if member is None:
        return value
    try:
        return value[member]
    except (TypeError, KeyError, IndexError):
        return None
