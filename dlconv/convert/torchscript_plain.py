"""Operators that exporters lack, or get wrong, in plainer ones: what the recorder writes in their place.

Sizes are numbers while recording, so windows become gathers with constant indices, and uneven pooling a product
with a constant matrix. A rule that does not fit returns NotImplemented: the operator is recorded as it is.
"""

from __future__ import annotations

from typing import Any


def plain_operators() -> dict[Any, Any]:
    """Operator -> the function that is recorded in its place."""
    import torch

    aten = torch.ops.aten
    return {
        aten.lstm_cell.default: _lstm_cell,
        aten.gru_cell.default: _gru_cell,
        aten.unfold.default: _unfold,
        aten.as_strided.default: _as_strided,
        aten.adaptive_avg_pool1d.default: _adaptive_average,
        aten.adaptive_avg_pool2d.default: _adaptive_average,
        aten._transformer_encoder_layer_fwd.default: _encoder_layer,
    }


def _lstm_cell(x: Any, state: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> tuple[Any, Any]:
    from torch.nn.functional import linear

    i, f, g, o = (linear(x, w_ih, b_ih) + linear(state[0], w_hh, b_hh)).chunk(4, 1)
    cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _gru_cell(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    from torch.nn.functional import linear

    reset_x, update_x, new_x = linear(x, w_ih, b_ih).chunk(3, 1)
    reset_h, update_h, new_h = linear(h, w_hh, b_hh).chunk(3, 1)
    update = (update_x + update_h).sigmoid()
    new = (new_x + (reset_x + reset_h).sigmoid() * new_h).tanh()
    return new + update * (h - new)


def _unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    """Windows along an axis: their elements become the last axis."""
    import torch

    axis = dimension % x.dim()
    count = (x.shape[axis] - size) // step + 1
    indices = (torch.arange(count)[:, None] * step + torch.arange(size)[None]).reshape(-1)
    windows = x.index_select(axis, indices).reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    others = [i for i in range(windows.dim()) if i != axis + 1]
    return windows.permute(*others, axis + 1)


def _as_strided(x: Any, size: list[int], stride: list[int], storage_offset: int | None = None) -> Any:
    """A view by strides, as a gather: the place of each element in memory is looked up among x's own."""
    import numpy as np
    import torch

    own = _places(list(x.shape), list(x.stride()), x.storage_offset())
    wanted = _places(list(size), list(stride), x.storage_offset() if storage_offset is None else storage_offset)
    order = np.argsort(own, kind="stable")
    found = np.minimum(np.searchsorted(own[order], wanted), own.size - 1)
    if (own[order][found] != wanted).any():
        return NotImplemented  # it reaches memory beyond x's own elements
    return x.reshape(-1).index_select(0, torch.from_numpy(order[found])).reshape(size)


def _places(size: list[int], stride: list[int], offset: int) -> Any:
    import numpy as np

    places = np.array(offset, dtype=np.int64)
    for count, step in zip(size, stride, strict=True):
        places = places[..., None] + np.arange(count, dtype=np.int64) * step
    return places.reshape(-1)


def _adaptive_average(x: Any, output_size: list[int]) -> Any:
    """Averages over windows of uneven sizes: a product with a constant matrix along each axis."""
    sizes = list(x.shape[-len(output_size) :])
    if all(size % wanted == 0 for size, wanted in zip(sizes, output_size, strict=True)):
        return NotImplemented
    y = x @ _averages(sizes[-1], output_size[-1], x)
    if len(output_size) == 2:
        y = (y.transpose(-1, -2) @ _averages(sizes[0], output_size[0], x)).transpose(-1, -2)
    return y


def _averages(size: int, wanted: int, like: Any) -> Any:
    import torch

    matrix = torch.zeros(size, wanted, dtype=torch.float64)
    for column in range(wanted):
        first, last = column * size // wanted, -(-(column + 1) * size // wanted)
        matrix[first:last, column] = 1.0 / (last - first)
    return matrix.to(like.dtype)


def _encoder_layer(
    x: Any, width: int, heads: int, w_qkv: Any, b_qkv: Any, w_out: Any, b_out: Any, use_gelu: bool, norm_first: bool,
    epsilon: float, g1: Any, h1: Any, g2: Any, h2: Any, w1: Any, c1: Any, w2: Any, c2: Any,
    mask: Any = None, kind: Any = None,
) -> Any:  # fmt: skip
    """The fused layer of torch.nn.TransformerEncoder in its parts. A mask is left to the fused one."""
    from torch.nn.functional import gelu, layer_norm, linear

    if mask is not None:
        return NotImplemented

    def attend(y: Any) -> Any:
        batch, length, _ = y.shape
        q, k, v = (
            linear(y, w_qkv, b_qkv).reshape(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
        )
        scores = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5).softmax(-1)
        return linear((scores @ v).transpose(1, 2).reshape(batch, length, width), w_out, b_out)

    def feed(y: Any) -> Any:
        inner = linear(y, w1, c1)
        return linear(gelu(inner) if use_gelu else inner.relu(), w2, c2)

    if norm_first:
        x = x + attend(layer_norm(x, [width], g1, h1, epsilon))
        return x + feed(layer_norm(x, [width], g2, h2, epsilon))
    x = layer_norm(x + attend(x), [width], g1, h1, epsilon)
    return layer_norm(x + feed(x), [width], g2, h2, epsilon)
