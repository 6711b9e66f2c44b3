"""What an exported JAX program takes and gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import RequestError, SignatureError, Unsupported, is_out_of_memory
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes.jax_program import Program, open_program

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBERS = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64",
}  # fmt: skip
_TRIED = (2, 4, 8, 16, 32, 64, 128, 256)


def read(
    path: str,
    entry: str = "",
    trust: bool = False,
    inputs: Sequence[dict[str, Any]] = (),
    outputs: Sequence[str] = (),
) -> dict[str, Any]:
    """What the program at `path` takes and gives; runs in a worker that has JAX.

    inputs: the user's `--input`, which may fix a free size. Returns signature (a Signature as data), notes, and sizes:
    of each free dimension those that the program takes, where the usual ones are refused by it.
    Raises Unsupported for inputs that are no arrays of numbers and for what `open_program` refuses, SignatureError
    where the sizes of one input follow from another's.
    """
    if entry or outputs:
        raise RequestError("an exported JAX program is one function", mend="leave out --signature and --outputs")
    program = open_program(Path(path), trust=trust)
    exported = program.exported
    fixed = {each["name"]: tuple(each["shape"] or ()) for each in inputs}
    pairs = zip(program.inputs, exported.in_avals, strict=True)
    taken = tuple(TensorSpec(name, _dtype(name, aval), _shape(aval)) for name, aval in pairs)
    _refuse_dependent_sizes(taken, fixed)
    pairs = zip(program.outputs, exported.out_avals, strict=True)
    given = tuple(TensorSpec(name, _dtype(name, aval), _shape(aval)) for name, aval in pairs)
    unused = [name for place, name in enumerate(program.inputs) if place not in exported.module_kept_var_idx]
    notes = [f"the program does not use {', '.join(unused)}"] if unused else []
    sizes = _sizes(program, taken, fixed)
    return {
        "signature": Signature(taken, given).to_dict(),
        "notes": notes,
        **({"sizes": {name: [size] for name, size in sizes.items()}} if sizes else {}),
    }


def _dtype(name: str, aval: Any) -> str:
    dtype = str(aval.dtype)
    if dtype.startswith("key<"):
        raise Unsupported(
            f"{name} is a key of random numbers ({dtype})",
            wanted="a function of arrays alone",
            mend="export a function that makes its key of a constant, or that does without: dropout off, no noise",
        )
    if dtype not in _NUMBERS:
        raise Unsupported(
            f"{name} is {dtype}",
            wanted="one of " + ", ".join(sorted(_NUMBERS)),
            mend="export a function that takes and gives those: of a complex number x.real and x.imag",
        )
    return dtype


def _shape(aval: Any) -> tuple[Dim, ...]:
    return tuple(size if isinstance(size, int) else str(size).replace(" ", "") for size in aval.shape)


def _refuse_dependent_sizes(taken: tuple[TensorSpec, ...], fixed: dict[str, tuple[Dim, ...]]) -> None:
    """Sizes such as "2*b" in an input: samples know of names alone, so all of them are to be given."""
    dependent = [
        f"axis {axis} of {spec.name} is {dim}"
        for spec in taken
        for axis, dim in enumerate(spec.shape or ())
        if isinstance(dim, str) and not dim.isidentifier() and not _is_size(fixed.get(spec.name), axis)
    ]
    if dependent:
        raise SignatureError(
            f"sizes of the program follow from others: {dependent[0]}",
            wanted="a size for each free dimension of that input and of those that it follows from",
            mend="--input " + " --input ".join(str(spec) for spec in taken) + " with numbers in place of names",
            problems=tuple(dependent),
        )


def _is_size(shape: tuple[Dim, ...] | None, axis: int) -> bool:
    return shape is not None and axis < len(shape) and isinstance(shape[axis], int)


def _sizes(program: Program, taken: tuple[TensorSpec, ...], fixed: dict[str, tuple[Dim, ...]]) -> dict[str, int]:
    """Sizes that the program takes, if it refuses the usual ones (2 for a first axis, 16 for others); else {}."""
    places = {
        dim: axis for spec in reversed(taken) for axis, dim in enumerate(spec.shape or ()) if isinstance(dim, str)
    }
    if not places or any(name in fixed for name in program.inputs):
        return {}
    usual = {dim: 2 if axis == 0 else 16 for dim, axis in places.items()}
    if _runs(program, taken, usual):
        return {}
    others = [dict.fromkeys(places, size) for size in _TRIED]
    others += [{dim: 2 if axis == 0 else size for dim, axis in places.items()} for size in _TRIED]
    return next((sizes for sizes in others if _runs(program, taken, sizes)), {})


def _runs(program: Program, taken: tuple[TensorSpec, ...], sizes: dict[str, int]) -> bool:
    import numpy as np
    from jax import numpy as jnp

    shapes = [[sizes[dim] if isinstance(dim, str) else dim for dim in spec.shape or ()] for spec in taken]
    try:
        program.call([jnp.zeros(shape, np.dtype(spec.dtype)) for shape, spec in zip(shapes, taken, strict=True)])
    except Exception as error:  # JAX's own, of a size that the program does not take
        if is_out_of_memory(error):
            raise
        return False
    return True
