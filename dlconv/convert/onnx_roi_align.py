"""RoiAlign written as gathers and an average, for converters that get it wrong.

A region is sampled on a grid, each sample between four neighbours, and the samples of each cell are averaged. Rows and
columns of the grid are independent: so are their places, their weights, and whether they lie outside of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dlconv.convert.onnx_rewriting import attributes_of

if TYPE_CHECKING:
    from dlconv.convert.onnx_rewriting import Rewriting
    from dlconv.graphs.onnx_graph import Proto

_INT32, _FLOAT = 6, 1
_FIRST_OPSET_OF_HALF_PIXELS: Final = 16


@dataclass(frozen=True)
class _Line:
    """One side of the grid, by names: of the lower and the upper neighbour, places int32 [regions, points] and weights
    float32 [regions, points]."""

    places: tuple[str, str]
    weights: tuple[str, str]
    points: int


def spell_out_roi_align(node: Proto, known: Rewriting) -> list[Proto]:
    """RoiAlign of averages, of pictures [n, channels, height, width] of known sizes and any number of regions.

    Not where the number of samples follows each region's size (sampling_ratio 0), nor where the largest is taken.
    """
    shape = known.shapes.get(node.input[0]) if node.op_type == "RoiAlign" else None
    told = attributes_of(node)
    ratio = int(told.get("sampling_ratio", 0))
    if shape is None or len(shape) != 4 or ratio <= 0 or told.get("mode", b"avg") != b"avg":
        return []
    usual = b"half_pixel" if known.opset >= _FIRST_OPSET_OF_HALF_PIXELS else b"output_half_pixel"
    is_aligned = told.get("coordinate_transformation_mode", usual) == b"half_pixel"
    made: list[Proto] = []
    height, width = shape[2:]
    lines = [
        _line(node, known, made, ends, int(told.get(cells, 1)) * ratio, size, is_aligned)
        for ends, cells, size in (((1, 3), "output_height", height), ((0, 2), "output_width", width))
    ]
    whole = _sampled(node, known, made, lines[0], lines[1], shape)
    turned = known.name("turned")
    made.append(known.node("Transpose", [whole], [turned], perm=[0, 3, 1, 2]))
    sides = [ratio, ratio]
    made.append(known.node("AveragePool", [turned], list(node.output), kernel_shape=sides, strides=sides))
    return made


def _line(
    node: Proto, known: Rewriting, made: list[Proto], ends: tuple[int, int], points: int, size: int, is_aligned: bool
) -> _Line:
    def do(kind: str, *inputs: str, stem: str = "grid", **attributes: int) -> str:
        made.append(known.node(kind, list(inputs), [name := known.name(stem)], **attributes))
        return name

    def number(value: float) -> str:
        return known.tensor(np.array(value, np.float32), "number")

    scale = number(float(attributes_of(node).get("spatial_scale", 1.0)))
    corners = [do("Mul", do("Gather", node.input[1], known.constant([end]), axis=1), scale) for end in ends]
    if is_aligned:
        corners = [do("Sub", corner, number(0.5)) for corner in corners]
    length = do("Sub", corners[1], corners[0])
    if not is_aligned:
        length = do("Max", length, number(1.0))
    parts = known.tensor(((np.arange(points) + 0.5) / points).astype(np.float32)[None], "parts")
    at = do("Add", corners[0], do("Mul", length, parts))
    inside = do("And", do("GreaterOrEqual", at, number(-1.0)), do("LessOrEqual", at, number(size)))
    counts = do("Cast", inside, to=_FLOAT)
    held = do("Min", do("Max", at, number(0.0)), number(size - 1.0))
    lower = do("Floor", held)
    upper = do("Min", do("Add", lower, number(1.0)), number(size - 1.0))
    beyond = do("Sub", held, lower)
    weights = (do("Mul", do("Sub", number(1.0), beyond), counts), do("Mul", beyond, counts))
    return _Line((do("Cast", lower, to=_INT32), do("Cast", upper, to=_INT32)), weights, points)


def _sampled(
    node: Proto, known: Rewriting, made: list[Proto], rows: _Line, columns: _Line, shape: tuple[int, ...]
) -> str:
    """The name of the samples, [regions, rows, columns, channels]."""

    def do(kind: str, *inputs: str, **attributes: object) -> str:
        made.append(known.node(kind, list(inputs), [name := known.name("samples")], **attributes))
        return name

    def folded(name: str, *sizes: int) -> str:
        made.append((reshaped := known.reshape(name, sizes))[0])
        return reshaped[1]

    def whole(value: int) -> str:
        return known.tensor(np.array(value, np.int32), "number")

    pictures, channels, height, width = shape
    pixels = folded(do("Transpose", node.input[0], perm=[0, 2, 3, 1]), pictures * height * width, channels)
    batch = folded(do("Cast", node.input[2], to=_INT32), -1, 1, 1)
    first = do("Mul", batch, whole(height * width))
    parts = []
    for row, down in zip(rows.places, rows.weights, strict=True):
        start = do("Add", first, do("Mul", folded(row, -1, rows.points, 1), whole(width)))
        for column, along in zip(columns.places, columns.weights, strict=True):
            place = do("Add", start, folded(column, -1, 1, columns.points))
            weight = do("Mul", folded(down, -1, rows.points, 1, 1), folded(along, -1, 1, columns.points, 1))
            parts.append(do("Mul", do("Gather", pixels, place, axis=0), weight))
    return do("Add", do("Add", parts[0], parts[1]), do("Add", parts[2], parts[3]))
