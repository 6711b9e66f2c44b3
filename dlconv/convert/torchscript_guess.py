"""Suppositions of an input's dtype and shape: from the hints of the graph, from its name, and from what is usual."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlconv.convert.torchscript_hints import Hint, Hints, Wanted

USUAL = {
    "batch": (1, 2),
    "side": (224, 256, 32, 64, 28, 96, 128, 160, 192, 299, 320, 384, 416, 448, 512, 640, 48, 16, 84, 112),
    "depth": (16, 8, 32),
    "length": (128, 64, 32, 16, 256, 512, 100, 8),
    "audio": (16000, 512, 8000, 1024, 2048, 4096, 32000, 48000, 256),
    "feature": (16, 32, 64, 128, 3, 8, 10, 256, 512, 4, 80),
}
USUAL_SCALARS: dict[str, tuple[Any, ...]] = {
    "IntType": (1, 0, 2, 16000, 4, 8),
    "FloatType": (1.0, 0.5, 0.0),
    "NumberType": (1, 1.0),
    "BoolType": (False, True),
    "StringType": ("",),
}
_RATE = re.compile(r"^(sr|fs|rate|samp\w*_?rate)$")


@dataclass(frozen=True)
class Guess:
    """A supposed input. Free sizes are variables: a role, or "role@name" where they are this input's own."""

    dtype: str
    shape: Wanted
    high: int | None = None
    low: int = 0
    reason: str = ""

    @property
    def is_free(self) -> bool:
        return any(isinstance(size, str) for size in self.shape)


# The name of an argument, the dtype and shapes that are usual for it, and the least and greatest value.
_NAMED: tuple[tuple[str, str, tuple[Wanted, ...], int, int | None], ...] = (
    (r"mask", "int64", (("batch", "length"), ("batch", "side", "side"), ("batch", 1, "side", "side")), 1, 1),
    (r"token_type|segment|langs", "int64", (("batch", "length"),), 0, 1),
    (r"position", "int64", (("batch", "length"),), 0, 7),
    (r"(^|_)(ids?|tokens?|indices|labels|codes?)($|_)", "int64", (("batch", "length"),), 0, None),
    (r"bbox|boxes", "int64", (("batch", "length", 4),), 0, 10),
    (r"pixel|image|img|frame", "", (("batch", 3, "side", "side"), ("batch", 1, "side", "side")), 0, None),
    (r"video", "", (("batch", "depth", 3, "side", "side"), ("batch", 3, "depth", "side", "side")), 0, None),
    (r"audio|wav|speech|signal|input_values", "", (("batch", "audio"), ("batch", 1, "audio")), 0, None),
    (r"(^|_)(lens?|lengths?)($|_)", "int64", (("batch",),), 1, 8),
    (r"^(t|timesteps?)$", "", (("batch",), ()), 0, None),
)


def tensor_guesses(name: str, hints: Hints, float_dtype: str) -> list[Guess]:
    """Guesses for a tensor input, the likeliest first, none twice."""
    read = sorted(hints.shapes.get(name, []), key=lambda hint: -_weight(hint, hints))
    guesses = [
        Guess("int64" if hint.integer else float_dtype, hint.shape, _high(hint.bound), 0, hint.reason) for hint in read
    ]
    guesses += [_merged(guess, guesses) for guess in guesses if guess.is_free]
    named = _by_name(name, float_dtype)
    # A mask is turned into positions and biases, whose tables say nothing of its own values.
    guesses = named + guesses if "mask" in name.lower() else guesses + named
    guesses += [
        Guess(float_dtype, ("batch", *["feature"] * (rank - 1)), reason="its rank") for rank in _ranks(name, hints)
    ]
    if not any(guess.dtype == "int64" for guess in guesses):
        guesses.append(Guess("int64", ("batch", "length"), 1, 0, "integers"))
    return [_own_features(name, guess) for guess in dict.fromkeys(guesses)]


def _weight(hint: Hint, hints: Hints) -> float:
    # Attention and recurrence work along a sequence: there a linear layer's input has one more axis.
    return hint.weight + (2 if hints.is_sequence and "length" in hint.shape else 0)


def _high(bound: int | None) -> int | None:
    return None if bound is None else bound - 1


def _by_name(name: str, float_dtype: str) -> list[Guess]:
    for pattern, dtype, shapes, low, high in _NAMED:
        if re.search(pattern, name.lower()):
            if re.search(r"\.\d+$", name):  # a list of images is a batch, whose members may have none of their own
                shapes = (*(shape[1:] for shape in shapes if shape[:1] == ("batch",)), *shapes)
            return [Guess(dtype or float_dtype, shape, high, low, "its name") for shape in shapes]
    return []


def _ranks(name: str, hints: Hints) -> list[int]:
    said = [rank for rank in hints.ranks.get(name, []) if rank > 0]
    usual = [3, 2, 4, 1, 5] if hints.is_sequence else [2, 4, 3, 1, 5]
    return list(dict.fromkeys([*sorted(said, reverse=True), *usual]))


def _merged(guess: Guess, others: list[Guess]) -> Guess:
    """The guess with its free sizes filled from another of the same rank that does not contradict it."""
    shape = list(guess.shape)
    for other in others:
        if len(other.shape) == len(shape) and all(
            isinstance(a, str) or isinstance(b, str) or a == b for a, b in zip(shape, other.shape, strict=True)
        ):
            shape = [b if isinstance(a, str) else a for a, b in zip(shape, other.shape, strict=True)]
    return Guess(guess.dtype, tuple(shape), guess.high, guess.low, guess.reason)


def _own_features(name: str, guess: Guess) -> Guess:
    """Unknown features are each their own, as is a length of floats; tokens, batch and side are shared by inputs."""
    own = {"feature"} if guess.dtype.startswith("int") else {"feature", "length"}
    shape = tuple(f"{size}@{name}.{axis}" if size in own else size for axis, size in enumerate(guess.shape))
    return Guess(guess.dtype, shape, guess.high, guess.low, guess.reason)


def scalar_guesses(name: str, kind: str, hints: Hints) -> list[Any]:
    """Values for a scalar argument: what the program compares it with, and what is usual."""
    compared = [value for value in hints.compared.get(name, []) if _is_of(value, kind)]
    usual = list(USUAL_SCALARS.get(kind, (0,)))
    if _RATE.match(name.lower()):
        compared = sorted(compared, key=lambda value: value != 16000)
        usual = [16000, 8000, *usual]
    return list(dict.fromkeys([*compared, *usual]))


def _is_of(value: Any, kind: str) -> bool:
    wanted: dict[str, tuple[type, ...]] = {"IntType": (int,), "StringType": (str,), "BoolType": (bool,)}
    return isinstance(value, wanted.get(kind, (int, float)))


def domain(variable: str, sizes: list[int]) -> tuple[int, ...]:
    """The sizes to try for a free size, the likeliest first; sizes: integers that the program itself names."""
    role = variable.partition("@")[0]
    usual = USUAL.get(role, USUAL["feature"])
    if role in {"batch", "depth"}:
        return usual
    own = [size for size in sizes if size <= 4096 or role == "audio"]
    near = [size for size in usual if size in own] if role in {"side", "audio"} else []
    return tuple(dict.fromkeys([*near, *usual, *own[:24]] if role != "feature" else [*own[:12], *usual]))
