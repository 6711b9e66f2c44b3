"""What an operator with known weights demands of the tensor it is given."""

from __future__ import annotations

from typing import Any

from dlconv.convert.torchscript_quantised import packed_sizes

Demand = tuple[tuple[int | str, ...], bool, int | None, int]
"""Shape, whether its values are integers, their bound, weight of the evidence."""

_SPATIAL = {1: ("length",), 2: ("side", "side"), 3: ("depth", "side", "side")}
_CONVOLUTIONS = {
    "aten::_convolution", "aten::convolution", "aten::conv1d", "aten::conv2d", "aten::conv3d",
    "aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d",
}  # fmt: skip


def consume(kind: str, position: int, plain: list[Any]) -> list[Demand]:
    """The shapes that operator `kind` takes at argument `position`; plain: its arguments where they are known."""
    if kind in _CONVOLUTIONS and position == 0:
        return _convolution(kind, plain)
    if kind.startswith("quantized::") and position == 0:
        return _packed(kind.removeprefix("quantized::"), plain)
    if kind in {"aten::linear"} and position == 0:
        return _matrix(_sizes(plain[1]), 1)
    if kind == "aten::addmm" and position == 1:
        return [(("batch", size), False, None, 50) for size in _sizes(plain[2])[:1]]
    if kind in {"aten::matmul", "aten::mm"} and position == 0:
        return _matrix(_sizes(plain[1]), 0)
    if kind in {"aten::embedding", "aten::embedding_bag"} and position == 1:
        rows = _sizes(plain[0])
        return [(("batch", "length"), True, rows[0] if rows else None, 80)]
    if kind == "aten::one_hot" and position == 0:
        bound = plain[1] if isinstance(plain[1], int) and plain[1] > 0 else None
        return [(("batch", "length"), True, bound, 60), (("batch",), True, bound, 59)]
    if kind in {"aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"} and position == 0:
        return _recurrent(plain)
    if kind in {"aten::lstm_cell", "aten::gru_cell", "aten::rnn_tanh_cell"} and position == 0:
        return [(("batch", size), False, None, 70) for size in _sizes(plain[2])[1:2]]
    return _norm_or_view(kind, position, plain)


def _norm_or_view(kind: str, position: int, plain: list[Any]) -> list[Demand]:
    if position != 0:
        return []
    if kind == "aten::batch_norm":
        sizes = next((_sizes(item) for item in plain[1:5] if _sizes(item)), ())
        ranks = (("side", "side"), ("length",), ())
        return [(("batch", size, *rest), False, None, 30 - i) for size in sizes[:1] for i, rest in enumerate(ranks)]
    if kind == "aten::layer_norm" and _all_sizes(plain[1]):
        known = tuple(plain[1])
        return [(("batch", *known), False, None, 40), (("batch", "length", *known), False, None, 39)]
    if kind in {"aten::view", "aten::reshape"} and _all_sizes(plain[1]):
        count = 1
        for size in plain[1]:
            count *= size
        flat = (1, count) if plain[1][0] == 1 else (plain[1][0], count // max(plain[1][0], 1))
        return [(flat, False, None, 45)]
    if kind in {"aten::max_pool2d", "aten::avg_pool2d", "aten::upsample_bilinear2d", "aten::upsample_nearest2d"}:
        return [(("batch", 3, "side", "side"), False, None, 10)]
    if kind in {"aten::add", "aten::sub", "aten::mul", "aten::div"} and len(plain) > 1:
        sizes = _sizes(plain[1])
        if sizes and sizes[-1] > 1:
            return [(("batch", *(size if size > 1 else "feature" for size in sizes[1:])), False, None, 20)]
    return []


def _convolution(kind: str, plain: list[Any]) -> list[Demand]:
    sizes = _sizes(plain[1])
    if len(sizes) < 3:
        return []
    transposed = "transpose" in kind or (kind.endswith("convolution") and plain[6] is True)
    groups = plain[8] if kind.endswith("convolution") else plain[7] if "transpose" in kind else plain[6]
    channels = sizes[0] if transposed else sizes[1] * (groups if isinstance(groups, int) else 1)
    spatial = _SPATIAL[len(sizes) - 2]
    if len(sizes) == 3 and channels == 1:
        spatial = ("audio",)
    return [(("batch", channels, *spatial), False, None, 90)]


def _packed(operator: str, plain: list[Any]) -> list[Demand]:
    sizes = packed_sizes(operator, plain[1]) if len(plain) > 1 else ()
    if len(sizes) == 2:
        return _matrix(sizes, 1)
    return [(("batch", sizes[1], *_SPATIAL[len(sizes) - 2]), False, None, 90)] if sizes else []


def _matrix(sizes: tuple[int, ...], axis: int) -> list[Demand]:
    if len(sizes) != 2:
        return []
    size = sizes[axis]
    return [
        (("batch", size), False, None, 50),
        (("batch", "length", size), False, None, 49),
        (("batch", "length", "length", size), False, None, 5),
    ]


def _recurrent(plain: list[Any]) -> list[Demand]:
    weights = next((item for item in plain[1:4] if isinstance(item, list) and item and _sizes(item[0])), None)
    if weights is None:
        return []
    first = next((item for item in weights if len(_sizes(item)) == 2), None)
    size = _sizes(first)[1:2]
    batch_first = plain[-1] is True
    order = ("batch", "length") if batch_first else ("length", "batch")
    return [((*order, each), False, None, 70) for each in size]


def _sizes(tensor: Any) -> tuple[int, ...]:
    shape = getattr(tensor, "shape", None)
    return tuple(shape) if shape is not None else ()


def _all_sizes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(s, int) and s > 0 for s in value)
