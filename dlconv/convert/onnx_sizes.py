"""Sizes of free dimensions at which an ONNX model really runs: supposed, and proved by running it. Worker-side."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dlconv.errors import SignatureError, is_out_of_memory
from dlconv.model import Signature

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCHES = (2, 1)
"""A batch of more than one first: an exporter may take one for a constant."""
LENGTHS = (16, 32, 64, 128, 224, 256, 512, 320, 576, 640, 1024, 2048, 4096, 16000, 8, 4, 2, 1, 3, 5, 7, 80, 100, 257)
"""Of the other free dimensions: sequences, the sides of images, frames of audio."""
SECONDS = 60.0


def settle(path: str, signature: dict[str, Any], bounds: dict[str, list[int]]) -> dict[str, Any]:
    """The first supposition of sizes at which the model runs: {"sizes": {name: size}, "tried": number}.

    path: the model. signature: with at least one free dimension. bounds: range of each integer input.
    Raises SignatureError with the runtime's own words where none runs.
    """
    from dlconv.runtimes import onnxruntime
    from dlconv.samples import draw

    told = Signature.from_dict(signature)
    session = onnxruntime.open(path, told, {"optimisation": "none"})
    limits = {name: (int(low), int(high)) for name, (low, high) in bounds.items()}
    errors: list[str] = []
    begun = time.monotonic()
    for tried, sizes in enumerate(_suppositions(told), start=1):
        try:
            session.run(draw(told, 1, 0, sizes, limits).samples[0])
        except Exception as error:  # any refusal of the runtime is an answer to this question
            if is_out_of_memory(error):
                raise
            errors.append(f"{_text(sizes)}: {error}")
        else:
            return {"sizes": sizes, "tried": tried}
        if time.monotonic() - begun > SECONDS:
            break
    raise SignatureError(
        f"the model runs at none of {len(errors)} supposed sizes of its free dimensions",
        wanted=", ".join(str(spec) for spec in told.inputs),
        mend="give sizes that it takes: --input NAME:SHAPE, or --samples FILE.npz",
        problems=tuple(" ".join(error.split())[:300] for error in errors[:4]),
    )


def _suppositions(signature: Signature) -> Iterator[dict[str, int]]:
    firsts = {spec.shape[0] for spec in signature.inputs if spec.shape}
    free = list(dict.fromkeys(dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)))
    batches = [dim for dim in free if dim in firsts and _is_batch(dim, signature)]
    others = [dim for dim in free if dim not in batches]
    for size in LENGTHS if others else LENGTHS[:1]:
        for batch in BATCHES if batches else BATCHES[:1]:
            yield {**dict.fromkeys(batches, batch), **dict.fromkeys(others, size)}
    for dim in others if len(others) > 1 else ():
        # A state's batch often stands behind its layers: as large as the inputs' batch.
        for size in LENGTHS:
            for batch in BATCHES:
                yield {**dict.fromkeys(batches, batch), **dict.fromkeys(others, size), dim: batch}
    for dim in others if len(others) > 1 else ():
        for size in LENGTHS:
            yield {**dict.fromkeys(batches, 1), **dict.fromkeys(others, LENGTHS[0]), dim: size}


def _is_batch(dim: str, signature: Signature) -> bool:
    """A free first dimension is a batch, unless it is its tensor's only one and stands nowhere else."""
    shapes = [spec.shape for spec in signature.inputs if spec.shape and spec.shape[0] == dim]
    return any(len(shape) > 1 for shape in shapes)


def _text(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
