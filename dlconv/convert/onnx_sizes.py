"""Sizes of free dimensions at which an ONNX model really runs: supposed, and proved by running it. Worker-side."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import SignatureError, cause_of, is_out_of_memory
from dlconv.graphs.onnx_narrow import Windows
from dlconv.model import Signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlconv.runtimes.base import Session, Tensors

BATCHES = (2, 1)
"""A batch of more than one first: an exporter may take one for a constant."""
ROWS = (16, 2, 1)
"""Of tables, whose rows cost little, and of which few may be of another class."""
MOST_COLUMNS = 2048
SIDES = (
    (64, 128), (64, 64), (128, 256), (128, 128), (224, 224), (256, 256), (320, 320), (512, 512), (640, 640), (48, 320),
    (32, 128), (32, 32), (96, 96),
)  # fmt: skip
"""Height and width of pictures: first such as most networks take, which halve them five times, and no square, in which
swapped axes would hide."""
LENGTHS = (16, 32, 64, 128, 224, 256, 512, 320, 576, 640, 1024, 2048, 4096, 16000, 8, 4, 2, 1, 3, 5, 7, 80, 100, 257)
"""Of the other free dimensions: sequences, frames of audio."""
CHANNELS = {3: (3,), 4: (1, 3, 4)}
"""Of pictures, by the number of the input's dimensions: without a batch a leading 1 would be one."""
SECONDS = 60.0


def settle(path: str, signature: dict[str, Any], bounds: dict[str, list[int]]) -> dict[str, Any]:
    """The first supposition of sizes at which the model runs: {"sizes": {name: size}, "tried": number}.

    path: the model. signature: with at least one free dimension. bounds: range of each integer input. Sizes at which
    a window is wider than its data are taken only if there are no others: runtimes differ in what they make of them.
    Raises SignatureError with the runtime's own words where none runs.
    """
    model = _Model(path, Signature.from_dict(signature), bounds)
    errors: list[str] = []
    narrow: dict[str, Any] | None = None
    begun = time.monotonic()
    for tried, sizes in enumerate(_suppositions(model.signature), start=1):
        error, is_narrow = model.refusal(sizes)
        if error:
            errors.append(f"{_text(sizes)}: {error}")
        elif is_narrow:
            narrow = narrow or {"sizes": sizes, "tried": tried}
        else:
            return {"sizes": sizes, "tried": tried}
        if time.monotonic() - begun > SECONDS:
            break
    if narrow is not None:
        return narrow
    raise SignatureError(
        f"the model runs at none of {len(errors)} supposed sizes of its free dimensions",
        wanted=", ".join(str(spec) for spec in model.signature.inputs),
        mend="give sizes that it takes: --input NAME:SHAPE, or --samples FILE.npz",
        problems=tuple(" ".join(error.split())[:300] for error in errors[:4]),
    )


def explore(
    path: str,
    signature: dict[str, Any],
    bounds: dict[str, list[int]],
    sizes: dict[str, int],
    ranges: dict[str, list[int]],
) -> dict[str, Any]:
    """What else the model shows at other sizes than `sizes`, at which it runs.

    ranges: the least and the most of free dimensions that have them. Returns others (smaller sizes and larger ones, of
    all dimensions at once or of the batch alone; `sizes` once more where it runs at no such), notes on what it does not
    run at, and outputs: the shapes of those that are none such as the signature says.
    """
    model = _Model(path, Signature.from_dict(signature), bounds)
    others: list[dict[str, int]] = []
    notes: list[str] = []
    for word, tries in (("smaller", _smaller(sizes)), ("larger", _larger(sizes))):
        refusals: list[str] = []
        for tried in tries:
            at = tried | {dim: ends[word == "larger"] for dim, ends in ranges.items()}
            if at in (sizes, *others):
                continue
            error, is_narrow = model.refusal(at)
            if not error and not is_narrow:
                others.append(at)
                break
            refusals.append(f"{_text(at)}: {error or is_narrow}")
        else:
            others.append(dict(sizes))  # so that as many samples as ever are those that no labels are for
            notes += [f"no {word} size is judged, for the source runs at none ({refusals[0]})"] if refusals else []
    return {"others": others, "notes": notes, "outputs": model.strange_outputs(sizes)}


class _Model:
    """The model, to be run at this size and that."""

    def __init__(self, path: str, signature: Signature, bounds: Mapping[str, list[int]]) -> None:
        from dlconv.runtimes import onnxruntime

        self.signature = signature
        self._bounds = {name: (int(low), int(high)) for name, (low, high) in bounds.items()}
        self._session: Session = onnxruntime.open(path, signature, {"optimisation": "none"})
        self._path = Path(path)

    @cached_property
    def _windows(self) -> Windows:
        return Windows(self._path)

    def refusal(self, sizes: Mapping[str, int]) -> tuple[str, str]:
        """What the runtime says against these sizes, and which window is too wide for them; "" is nothing."""
        try:
            self._run(sizes)
        except Exception as error:  # any refusal of the runtime is an answer to this question
            if is_out_of_memory(error):
                raise
            return cause_of(str(error)), ""
        return "", self._windows.too_narrow(self.signature, sizes)

    def strange_outputs(self, sizes: Mapping[str, int]) -> dict[str, list[Any]]:
        """The shapes of outputs that have another number of dimensions, or a size elsewhere, than is declared."""
        answers = self._run(sizes)
        found: dict[str, list[Any]] = {}
        for spec in self.signature.outputs:
            seen = answers[spec.name].shape
            named = [f"{spec.name}_{axis}" for axis in range(len(seen))]
            if spec.shape is None:
                continue
            if len(spec.shape) != len(seen):
                found[spec.name] = named
            elif any(isinstance(dim, int) and dim != size for dim, size in zip(spec.shape, seen, strict=True)):
                found[spec.name] = [
                    name if isinstance(dim, int) and dim != size else dim
                    for dim, size, name in zip(spec.shape, seen, named, strict=True)
                ]
        return found

    def _run(self, sizes: Mapping[str, int]) -> Tensors:
        from dlconv.drawing import draw

        return self._session.run(draw(self.signature, 1, 0, sizes, self._bounds).samples[0])


def _suppositions(signature: Signature) -> Iterator[dict[str, int]]:
    firsts = {spec.shape[0] for spec in signature.inputs if spec.shape}
    free = list(dict.fromkeys(dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)))
    batches = [dim for dim in free if dim in firsts and _is_batch(dim, signature)]
    others = [dim for dim in free if dim not in batches]
    sides, counts = _sides(signature), ROWS if _is_table(signature) else BATCHES
    for pair in SIDES if sides else ():
        for batch in BATCHES if batches else BATCHES[:1]:
            yield {**dict.fromkeys(batches, batch), **dict.fromkeys(others, LENGTHS[0]), **_paired(sides, pair)}
    for size in LENGTHS if others else LENGTHS[:1]:
        for batch in counts if batches else counts[:1]:
            yield {**dict.fromkeys(batches, batch), **dict.fromkeys(others, size)}
    for dim in others if len(others) > 1 else ():
        # A state's batch often stands behind its layers: as large as the inputs' batch.
        for size in LENGTHS:
            for batch in BATCHES:
                yield {**dict.fromkeys(batches, batch), **dict.fromkeys(others, size), dim: batch}
    for dim in others if len(others) > 1 else ():
        for size in LENGTHS:
            yield {**dict.fromkeys(batches, 1), **dict.fromkeys(others, LENGTHS[0]), dim: size}


def _is_table(signature: Signature) -> bool:
    """Whether all inputs are a free number of rows of a few columns of floats."""
    return all(
        spec.dtype.startswith("float")
        and spec.shape is not None
        and len(spec.shape) == 2
        and isinstance(spec.shape[0], str)
        and isinstance(spec.shape[1], int)
        and spec.shape[1] <= MOST_COLUMNS
        for spec in signature.inputs
    )


def _sides(signature: Signature) -> list[tuple[int, str]]:
    """Free heights (0) and widths (1) of inputs that look like pictures: a few channels before them or behind."""
    found: list[tuple[int, str]] = []
    for spec in signature.inputs:
        shape = list(spec.shape or ())[-3:]
        channels = CHANNELS.get(len(spec.shape or ()))
        if channels is None or spec.dtype not in ("float32", "float16", "uint8"):
            continue
        where = (1, 2) if shape[0] in channels else (0, 1) if shape[2] in channels else ()
        found += [(side, size) for side, axis in enumerate(where) if isinstance(size := shape[axis], str)]
    return found


def _paired(sides: list[tuple[int, str]], pair: tuple[int, int]) -> dict[str, int]:
    return {name: pair[side] for side, name in reversed(sides)}


def _is_batch(dim: str, signature: Signature) -> bool:
    """A free first dimension is a batch, unless it is its tensor's only one and stands nowhere else."""
    shapes = [spec.shape for spec in signature.inputs if spec.shape and spec.shape[0] == dim]
    return any(len(shape) > 1 for shape in shapes)


def _smaller(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    yield dict.fromkeys(sizes, 1)
    yield {name: max(1, size // 2) for name, size in sizes.items()}
    yield {name: 1 if place == 0 else size for place, (name, size) in enumerate(sizes.items())}


def _larger(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    yield {name: size + max(1, size // 2) for name, size in sizes.items()}
    yield {name: 2 * size for name, size in sizes.items()}
    yield {name: size + 1 if place == 0 else size for place, (name, size) in enumerate(sizes.items())}


def _text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
