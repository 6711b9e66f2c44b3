"""An exported JAX program in float64: its StableHLO replayed with every floating type widened, constants too.

The types of StableHLO are fixed, so JAX itself cannot widen a program. The replay is proved first: in the program's
own precision it has to answer as the program does.
"""

# pyright: reportAttributeAccessIssue=false
# Where JAX is not installed, pyright takes jax.py beside this file for it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.stablehlo_replay import replayed

if TYPE_CHECKING:
    from dlconv.runtimes.jax_program import Program

_NEAR = 1e-3  # of an output's largest number: XLA fuses the replay otherwise than the program, by roundings alone


class Widened:
    """A program that answers in float64. Raises Unsupported where it cannot."""

    def __init__(self, program: Program) -> None:
        import jax

        self._program = program
        self._plain = jax.jit(replayed(program))
        self._wide = jax.jit(replayed(program, double=True))
        self._proved: set[tuple[tuple[int, ...], ...]] = set()

    def call(self, values: list[Any]) -> list[Any]:
        """The outputs, the floating ones in float64; of each size the replay is proved once."""
        sizes = tuple(tuple(np.shape(value)) for value in values)
        if sizes not in self._proved:
            self._prove(values)
            self._proved.add(sizes)
        return list(self._wide(*values))

    def _prove(self, values: list[Any]) -> None:
        names = self._program.outputs
        for name, wanted, got in zip(names, self._program.call(values), self._plain(*values), strict=True):
            one, other = np.asarray(wanted), np.asarray(got)
            if one.shape != other.shape or one.dtype != other.dtype or not _is_near(one, other):
                raise no_double(f"replayed in its own precision it answers {name} otherwise")


def _is_near(wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any]) -> bool:
    if wanted.dtype.kind in "iub":
        # A rounding may turn a choice (argmax, a comparison): few of many.
        return bool(np.mean(wanted != got) <= _NEAR) if wanted.size else True
    one, other = wanted.astype(np.float64), got.astype(np.float64)
    whole = np.isfinite(one)
    if not np.array_equal(one[~whole], other[~whole], equal_nan=True):
        return False
    scale = float(np.max(np.abs(one[whole]), initial=0.0)) or 1.0
    bar = _NEAR if wanted.dtype.itemsize >= 4 else 0.05
    return bool(np.max(np.abs(one[whole] - other[whole]), initial=0.0) <= bar * scale)


def no_double(reason: str) -> Unsupported:
    """The refusal to answer in float64."""
    return Unsupported(
        f"the program cannot run in float64: {reason}",
        wanted="a program whose operators all work in float64",
        mend="the program's own precision serves as the reference",
    )
