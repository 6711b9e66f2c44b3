"""The grammar of `--input`: a tensor's name, sizes and dtype, or the value of an argument that is no tensor."""

from __future__ import annotations

import difflib
import keyword

from dlconv.asked.sizes import RangedDim
from dlconv.errors import RequestError
from dlconv.model import Dim, TensorSpec

Constant = int | float | bool | str | None
"""An argument of the source model that is no tensor."""

DTYPES = (
    "float32", "float64", "float16", "bfloat16",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool", "string", "complex64", "complex128",
)  # fmt: skip
"""NumPy's names of dtypes, and those besides that models have."""

_GRAMMAR = (
    "NAME:SHAPE[:DTYPE], sizes or names joined by x or by commas: x:1x3x224x224, ids:1xS:int64, x:N,3,max_px; "
    "a range: x:1..32x3 or x:N=1..32,3; a scalar: t:scalar:int64; an argument that is no tensor: NAME=VALUE, sr=16000"
)
_SCALARS = ("", "scalar")


def parse_input(text: str) -> TensorSpec | tuple[str, Constant]:
    """What one `--input` says: a tensor (dtype "" where it leaves that open) or the value of another argument.

    Names may hold ":" themselves ("serving_default_x:0:1x28x28"): the text is read from the right.
    Raises RequestError, with the grammar.
    """
    name, equals, value = text.partition("=")
    if equals and name and ":" not in name:
        return name, _constant(value)
    head, _, last = text.rpartition(":")
    if not head:
        raise _refusal(text, "has no name" if text.startswith(":") else "has no shape")
    if last.lower() in DTYPES or last == "":
        name, colon, shape = head.rpartition(":")
        if colon:
            return TensorSpec(_named(name, text), last.lower(), _shape(shape, text))
        if last:
            raise _refusal(text, "has no shape")
    if _looks_like_dtype(last) or ("x" in (before := head.rpartition(":")[2]) and _is_sized(before)):
        raise _refusal(text, f"has an unknown dtype {last!r}: there are {', '.join(DTYPES)}")
    return TensorSpec(_named(head, text), "", _shape(last, text))


def parse_optima(texts: tuple[str, ...]) -> tuple[TensorSpec, ...]:
    """What all `--opt`s say. Raises RequestError for what is no name with sizes."""
    found: list[TensorSpec] = []
    for text in texts:
        spec = parse_input(text)
        if not isinstance(spec, TensorSpec) or spec.dtype or spec.is_dynamic:
            raise RequestError(f"--opt {text!r} is no shape", wanted="NAME:SHAPE in sizes", mend="--opt x:8x3x224x224")
        found.append(spec)
    return tuple(found)


def ranges_of(inputs: tuple[TensorSpec, ...]) -> dict[str, tuple[int, int]]:
    """The least and the most of the free sizes that were given a range, by name."""
    dims = [dim for spec in inputs for dim in spec.shape or () if isinstance(dim, RangedDim)]
    return {str(dim): (dim.least, dim.most) for dim in dims}


def parse_inputs(texts: tuple[str, ...]) -> tuple[tuple[TensorSpec, ...], tuple[tuple[str, Constant], ...]]:
    """All `--input`s, as tensors and constants. Raises RequestError for the first that is wrong."""
    parsed = [parse_input(text) for text in texts]
    tensors = tuple(spec for spec in parsed if isinstance(spec, TensorSpec))
    return tensors, tuple(pair for pair in parsed if not isinstance(pair, TensorSpec))


def _named(name: str, text: str) -> str:
    if not name:
        raise _refusal(text, "has no name")
    return name


def _shape(shape: str, text: str) -> tuple[Dim, ...]:
    if shape.lower() in _SCALARS:
        return ()
    return tuple(_dim(word.strip(), text) for word in shape.split("," if "," in shape else "x"))


def _is_sized(text: str) -> bool:
    words = text.split("x")
    return any(word.isdigit() for word in words) and all(word.isidentifier() or word.isdigit() for word in words)


def _looks_like_dtype(word: str) -> bool:
    return "x" not in word and bool(difflib.get_close_matches(word.lower(), DTYPES, n=1, cutoff=0.75))


def _dim(word: str, text: str) -> Dim:
    try:
        ranged = RangedDim.of(word)
    except ValueError as error:
        raise _refusal(text, f"has a size that cannot be: {error}") from error
    if ranged is not None:
        return ranged
    if word.isascii() and word.isdigit():
        return int(word)
    if word.isascii() and word.isidentifier() and not keyword.iskeyword(word):
        return word
    what = f"has {word!r}, which is no size and no name" if word else "has an empty size"
    raise _refusal(text, f"{what} (x joins sizes: where a name holds an x, join them by commas)")


def _constant(value: str) -> Constant:
    words: dict[str, Constant] = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _refusal(text: str, trouble: str) -> RequestError:
    return RequestError(f"--input {text!r} {trouble}", wanted=_GRAMMAR, mend=f"write it as --input '{_example(text)}'")


def _example(text: str) -> str:
    return f"{text.partition(':')[0].partition('=')[0] or 'x'}:1x3x224x224"
