"""The precisions that can be asked for, and what each of them claims of an artifact."""

from __future__ import annotations

from typing import Final, Literal, get_args

Precision = Literal["fp32", "fp16", "bf16", "int8", "int16x8", "fp16-weights", "int8-weights"]
"""fp16, bf16, int8 and int16x8 (activations in 16 bits, weights in 8) are of arithmetic; "-weights" is of storage
alone, and what is computed stays float32."""

PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)

EMULATED: Final = {"fp16": "float16", "bf16": "bfloat16", "int8": "int8",
                   "int16x8": "int8", "fp16-weights": "float16", "int8-weights": "int8"}  # fmt: skip
"""The dtype through which the emulation of a precision rounds; of a "-weights" one what is stored alone is rounded."""

CALIBRATED: Final = ("int8", "int16x8")
"""Those whose activations are quantised: their ranges are found on calibration samples."""


def dtype_of(precision: str) -> str:
    """The dtype that the precision puts into an artifact, in NumPy's words. "float32" for fp32."""
    return EMULATED.get(precision, "float32")


def computed_in(precision: str) -> str:
    """The dtype that operators of an artifact are in, where they are in the precision."""
    return "int16" if precision == "int16x8" else dtype_of(precision)


def rounds_stored_alone(precision: str) -> bool:
    """Whether its noise is that of stored numbers: nothing computed is rounded, or to 16 bits of a range, whose noise
    is 1/256 of that of weights in 8."""
    return is_stored_alone(precision) or precision == "int16x8"


def is_stored_alone(precision: str) -> bool:
    """Whether the precision is one of storage: computed is in float32."""
    return precision.endswith("-weights")
