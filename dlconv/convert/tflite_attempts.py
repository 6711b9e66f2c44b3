"""How far the sizes of what becomes a TFLite file may stay free: attempts, each proved by running the file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dlconv.convert.other_sizes import other_sizes
from dlconv.errors import StepError, cause_of, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dlconv.convert.edge import Made
    from dlconv.model import Dim, Signature, TensorSpec
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.tflite import TfliteSession

Shapes = dict[str, tuple["Dim", ...]]


class Source(Protocol):
    """The source, opened: its answers by the signature's names."""

    @property
    def call(self) -> Callable[[Tensors], Tensors]: ...


def first_that_holds(signature: Signature, sample: Tensors, make: Callable[[set[str], Shapes], Made]) -> Made:
    """The first attempt that `make` does not raise on, which is told the free dimensions that it keeps, and the inputs'
    sizes; the notes tell which could not stay free, and why."""
    reasons: list[str] = []
    attempts = list(_attempts(signature, sample))
    for number, (kept, shapes) in enumerate(attempts):
        try:
            made = make(kept, shapes)
        except Exception as error:  # whatever the trouble with a free size is, a later attempt has less of it
            if number == len(attempts) - 1 or is_out_of_memory(error):
                raise
            reasons.append(f"{', '.join(sorted(kept))} cannot stay free: {cause_of(str(error) or repr(error))}")
        else:
            return replace(made, notes=(*reasons, *made.notes))
    raise StepError("no attempt was made")


def _attempts(signature: Signature, sample: Tensors) -> Iterator[tuple[set[str], Shapes]]:
    """Freest first: all free dimensions, the inputs' first axes' alone (the batch), none."""
    first = {spec.shape[0] for spec in signature.inputs if spec.shape}
    names = {dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)}
    choices = [names, names & first, set[str]()]
    for kept in [choice for place, choice in enumerate(choices) if choice not in choices[:place]]:
        yield (
            kept,
            {
                spec.name: tuple(
                    dim if dim in kept else size
                    for dim, size in zip(spec.shape or sample[spec.name].shape, sample[spec.name].shape, strict=True)
                )
                for spec in signature.inputs
            },
        )


def answered_elsewhere(program: Source, sample: Tensors, shapes: Shapes) -> tuple[Tensors, Tensors]:
    """Inputs at another size of the free dimensions, and what the source answers to them. Raises StepError where it
    takes no other that is tried."""
    for other in other_sizes(shapes, sample):
        try:
            return other, program.call(other)
        except Exception as error:  # TensorFlow's own, of a size that the source does not take
            if is_out_of_memory(error):
                raise
    raise StepError("the source itself takes no other size that was tried")


def proved(session: TfliteSession, fed: Tensors, wanted: Tensors) -> Tensors:
    """What the file answers. Raises StepError as `require_near`."""
    got = session.run({name: value for name, value in fed.items() if name in session.inputs})
    require_near(got, fed, wanted)
    return got


def require_near(got: Tensors, fed: Tensors, wanted: Tensors) -> None:
    """Raises StepError unless names, shapes and, roughly, values of what a file answers are the source's."""
    sizes = {name: list(value.shape) for name, value in fed.items()}
    for name, reference in wanted.items():
        if name not in got or got[name].shape != reference.shape:
            met = list(got[name].shape) if name in got else "nothing"
            raise StepError(f"for {sizes} the file answers {name} with {met}", wanted=f"{list(reference.shape)}")
        if not _is_near(got[name], reference):
            raise StepError(f"for {sizes} the file answers something else as {name}")


def _is_near(got: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> bool:
    """Whether it is the same model at all: within a twentieth. How near it is, parity judges."""
    wide = reference.astype(np.float64)
    scale = float(np.max(np.abs(wide), initial=0.0)) or 1.0
    return bool(np.max(np.abs(got.astype(np.float64) - wide), initial=0.0) <= 0.05 * scale)


def as_answered(spec: TensorSpec, answers: list[np.ndarray[Any, Any]]) -> TensorSpec:
    """The output with the sizes that the file answered; an axis that differs between the answers is free."""
    known = spec.shape or ()
    dims: list[Dim] = []
    for axis, size in enumerate(answers[0].shape):
        told = known[axis] if axis < len(known) else ""
        name = told if isinstance(told, str) and told else f"{spec.name}_{axis}"
        dims.append(size if len({answer.shape[axis] for answer in answers}) == 1 else name)
    return replace(spec, dtype=answers[0].dtype.name, shape=tuple(dims))


def unaccelerated(session: TfliteSession) -> tuple[str, ...]:
    """A note where the delegate that every application takes refuses the file; call it after a run."""
    refused = session.placement().get("delegate_refused", "")
    return (f"runs without the XNNPACK delegate alone, which refuses the model: {refused}",) if refused else ()
