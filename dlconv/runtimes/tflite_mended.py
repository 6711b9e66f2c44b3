"""A TFLite file with small mends, for readers that refuse what means nothing, or know a file's first graph alone."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from dlconv.runtimes.tflite_flatbuffer import FlatModel, FlatTensor

if TYPE_CHECKING:
    from pathlib import Path


def stray_axes(model: FlatModel) -> tuple[FlatTensor, ...]:
    """Tensors of one axis that say that another one is quantised: converters of 2019 gave a bias the axis of its
    weights. It can only be the one that there is; newer readers refuse the file for it."""
    return tuple(
        tensor
        for graph in model.graphs
        for tensor in graph.tensors
        if tensor.axis_at and tensor.scale and len(tensor.shape) == 1 and tensor.axis > 0
    )


def mended(path: Path, model: FlatModel, graph: int = 0) -> bytes | None:
    """The file with stray axes set right, and `graph` as its first; None where it is so already."""
    stray = stray_axes(model)
    if not stray and not graph:
        return None
    data = bytearray(path.read_bytes())
    for tensor in stray:
        struct.pack_into("<i", data, tensor.axis_at, 0)
    if graph:
        # An offset counts from where it stands: what changes its place is as much nearer or farther.
        first, other = model.slots[0], model.slots[graph]
        to_first, to_other = (struct.unpack_from("<I", data, slot)[0] for slot in (first, other))
        struct.pack_into("<I", data, first, to_other + (other - first))
        struct.pack_into("<I", data, other, to_first - (other - first))
    return bytes(data)


def note_on(model: FlatModel) -> tuple[str, ...]:
    """What is told of a mend, nothing where none was needed."""
    count = len(stray_axes(model))
    if not count:
        return ()
    return (f"{count} biases state an axis of quantisation that they do not have, which newer runtimes refuse: mended",)
