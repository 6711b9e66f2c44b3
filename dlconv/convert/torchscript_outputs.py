"""The outputs of a module that runs: names, dtypes, sizes, and which of them follow the free sizes of the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv.errors import SignatureError
from dlconv.model import Dim, TensorSpec
from dlconv.runtimes.torchscript import dtype_name, named_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.convert.torchscript_search import Found
    from dlconv.convert.torchscript_trial import Trial

Shapes = dict[str, tuple[int, ...]]


def output_specs(
    trial: Trial, found: Found, names: Mapping[str, str]
) -> tuple[tuple[TensorSpec, ...], dict[str, list[int]]]:
    """The outputs, and for each named size the sizes that ran.

    names: the search's variable -> the user's name of it. A size of an output that follows a named one has its
    name, or, where it is computed from it, a name of its own. SignatureError where a named size cannot vary.
    """
    base = shapes_of(found.outcome.value)
    dims: dict[str, list[Dim]] = {name: list(shape) for name, shape in base.items()}
    ran: dict[str, list[int]] = {}
    for variable, user_name in names.items():
        size, shapes = _second_size(trial, found, variable, user_name)
        ran[user_name] = [found.sizes[variable], size]
        for name, shape in shapes.items():
            for axis, other in enumerate(shape):
                if name in base and axis < len(base[name]) and other != base[name][axis]:
                    follows = base[name][axis] == found.sizes[variable] and other == size
                    dims[name][axis] = user_name if follows else f"{name}_{axis}"
    tensors = named_tensors(found.outcome.value)
    specs = tuple(TensorSpec(name, dtype_name(tensor.dtype), tuple(dims[name])) for name, tensor in tensors.items())
    if not specs:
        raise SignatureError(
            "the model returns no tensor", wanted="at least one output", mend="return a tensor from forward"
        )
    return specs, ran


def shapes_of(value: Any) -> Shapes:
    """The sizes of every output, by name."""
    return {name: tuple(tensor.shape) for name, tensor in named_tensors(value).items()}


def _second_size(trial: Trial, found: Found, variable: str, user_name: str) -> tuple[int, Shapes]:
    base = found.sizes[variable]
    steps = (base + 1, base + 2, base * 2, base + 32, base + 16, base + 8, base // 2, base - 1, base + 4)
    error = ""
    for size in dict.fromkeys(step for step in steps if step > 0 and step != base):
        guesses, sizes = found.guesses, {**found.sizes, variable: size}
        outcome = trial.run(_again(guesses, sizes), found.constants)
        if outcome.ran:
            return size, shapes_of(outcome.value)
        error = error or outcome.error
    raise SignatureError(
        f"the size {user_name!r} cannot vary: the model runs at {base}, and fails at others ({error})",
        wanted="a name only for a size that the model leaves free",
        mend=f"give the size itself, {base}, in place of {user_name!r}",
    )


def _again(guesses: Any, sizes: dict[str, int]) -> Any:
    from dlconv.convert.torchscript_search import materialise

    return materialise(guesses, sizes)
