"""What `--io-precision` says: the dtype of an artifact's inputs and outputs, where it is not the source's float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dlconv.errors import RequestError

DTYPES: Final = ("float32", "float16", "int8", "uint8")

_OF: Final = {"fp16": ("float16",), "int8": ("int8", "uint8")}
"""By the precision that is computed in: what a boundary may be in besides float32."""


@dataclass(frozen=True)
class Boundary:
    """The dtype of float32 inputs, and of float32 outputs. Integers and booleans stay what they are."""

    inputs: str = "float32"
    outputs: str = "float32"

    @property
    def dtypes(self) -> frozenset[str]:
        """Those that are not float32."""
        return frozenset({self.inputs, self.outputs} - {"float32"})

    def problems(self, precision: str) -> list[str]:
        """What keeps an artifact in `precision` from such a boundary."""
        allowed = _OF.get(precision, ())
        return [
            f"inputs and outputs in {dtype} beside {precision}: there are {', '.join(('float32', *allowed))}"
            for dtype in sorted(self.dtypes)
            if dtype not in allowed
        ]

    def to_dict(self) -> dict[str, str]:
        return {"inputs": self.inputs, "outputs": self.outputs}


def parse(text: str) -> Boundary:
    """DTYPE for both, or in=DTYPE,out=DTYPE. RequestError for what is neither."""
    words = (
        [word.partition("=") for word in text.split(",")] if "=" in text else [("in", "=", text), ("out", "=", text)]
    )
    said = {key.strip(): value.strip() for key, _, value in words}
    if len(said) != len(words) or not said.keys() <= {"in", "out"} or not set(said.values()) <= set(DTYPES):
        raise RequestError(
            f"--io-precision {text!r} is none", wanted=f"one of {', '.join(DTYPES)}, or in=...,out=...",
            mend="--io-precision float16",
        )  # fmt: skip
    return Boundary(said.get("in", "float32"), said.get("out", "float32"))
