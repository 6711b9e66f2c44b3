"""ONNX operators in float64, in NumPy: those for which ONNX Runtime has no float64 kernel.

Each is `operator(attributes, inputs) -> outputs`; inputs are arrays, None where an optional one is absent. They follow
the operators' specification alone, so that they are independent of every runtime that is judged by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.onnx_double_recurrent import gru, lstm, rnn
from dlconv.runtimes.onnx_double_resize import resize, upsample
from dlconv.runtimes.onnx_plan import filled

Array = Any
"""A NumPy array: dtype and rank are what an operator is about, so they are no types here."""
Attributes = dict[str, Any]
Inputs = Sequence[Any]
Operator = Callable[[Attributes, Inputs], Sequence[Any]]

_SQRT_HALF = math.sqrt(0.5)
_CACHED_BYTES = 1 << 23


def conv(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """Convolution over any number of axes: matrix products of rows of the output, as many as stay in a cache."""
    x, w, bias = filled(inputs, 3)
    groups, kernel = attributes.get("group", 1), w.shape[2:]
    window = _Window(attributes, x.shape[2:], kernel)
    padded = np.pad(x, [(0, 0), (0, 0), *window.pads]) if any(map(any, window.pads)) else x
    batch, channels = x.shape[0], x.shape[1] // groups
    seen = padded.reshape(batch, groups, channels, *padded.shape[2:])
    out = np.zeros((batch, groups, w.shape[0] // groups, *window.out))
    if channels == 1 < groups:  # depthwise: a product over one channel is a multiplication
        scales = w.reshape(groups, -1, *kernel)
        for offset in product(*map(range, kernel)):
            scale = scales[_last_axes(offset)].reshape(groups, -1, *[1] * len(kernel))
            out += scale * seen[_last_axes(window.at(offset))]
    else:
        weights = w.reshape(groups, w.shape[0] // groups, -1)
        row_bytes = x.shape[1] * math.prod(kernel) * math.prod(window.out[1:]) * x.itemsize
        step = max(1, _CACHED_BYTES // max(row_bytes, 1))
        for sample, first in product(range(batch), range(0, window.out[0], step)):
            rows = slice(first, min(first + step, window.out[0]))
            parts = [seen[sample][_last_axes(window.at(offset, rows))] for offset in product(*map(range, kernel))]
            columns = np.stack(parts, 2).reshape(groups, weights.shape[2], -1)
            out[sample, :, :, rows] = np.matmul(weights, columns).reshape(groups, -1, *parts[0].shape[2:])
    out = out.reshape(batch, w.shape[0], *window.out)
    return [out if bias is None else out + bias.reshape(-1, *[1] * len(window.out))]


def conv_transpose(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """Transposed convolution: each offset of the kernel is scattered with its stride."""
    x, w, bias = filled(inputs, 3)
    groups, spatial = attributes.get("group", 1), x.ndim - 2
    strides = attributes.get("strides", [1] * spatial)
    dilations = attributes.get("dilations", [1] * spatial)
    extra = attributes.get("output_padding", [0] * spatial)
    batch, channels = x.shape[:2]
    whole = [
        stride * (size - 1) + add + dilation * (kernel - 1) + 1
        for stride, size, add, dilation, kernel in zip(strides, x.shape[2:], extra, dilations, w.shape[2:], strict=True)
    ]
    weights = w.reshape(groups, channels // groups, w.shape[1], *w.shape[2:])
    out = np.zeros((batch, groups, w.shape[1], *whole))
    seen = x.reshape(batch, groups, channels // groups, -1)
    for offset in product(*map(range, w.shape[2:])):
        kernel = np.swapaxes(weights[_last_axes(offset)], 1, 2)
        part = np.matmul(kernel, seen).reshape(batch, groups, w.shape[1], *x.shape[2:])
        place = tuple(
            slice(at * dilation, at * dilation + stride * (size - 1) + 1, stride)
            for at, dilation, stride, size in zip(offset, dilations, strides, x.shape[2:], strict=True)
        )
        out[_last_axes(place)] += part
    crops = _crops(attributes, whole, strides, x.shape[2:])
    # An output_shape may ask for more than the kernel reaches: zeros behind.
    beyond = [(0, max(crop.stop - size, 0)) for crop, size in zip(crops, whole, strict=True)]
    out = np.pad(out.reshape(batch, -1, *whole), [(0, 0), (0, 0), *beyond])[_last_axes(crops)]
    return [out if bias is None else out + bias.reshape(-1, *[1] * spatial)]


def _crops(attributes: Attributes, whole: list[int], strides: list[int], sizes: Sequence[int]) -> list[slice]:
    spatial = len(whole)
    mode = attributes.get("auto_pad", "NOTSET")
    pads = attributes.get("pads", [0] * 2 * spatial)
    wanted = attributes.get("output_shape")
    if wanted is None and mode not in ("SAME_UPPER", "SAME_LOWER"):
        return [slice(pads[axis], whole[axis] - pads[axis + spatial]) for axis in range(spatial)]
    wanted = wanted or [stride * size for stride, size in zip(strides, sizes, strict=True)]
    crops: list[slice] = []
    for size, want in zip(whole, wanted[-spatial:], strict=True):
        total = max(size - want, 0)
        before = total // 2 if mode == "SAME_UPPER" else total - total // 2
        crops.append(slice(before, before + want))
    return crops


def _last_axes(places: Sequence[int | slice]) -> tuple[Any, ...]:
    return (..., *places)


def average_pool(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """Mean over windows; padding counts only if count_include_pad says so, and never beyond the padding itself."""
    (x,) = inputs
    kernel = attributes["kernel_shape"]
    window = _Window(attributes, x.shape[2:], kernel)
    counted = attributes.get("count_include_pad", 0)
    inside = np.pad(np.ones(x.shape[2:]), window.pads, constant_values=float(counted))
    overhang = [(0, more) for more in window.overhang]
    inside = np.pad(inside, overhang)
    padded = np.pad(np.pad(x, [(0, 0), (0, 0), *window.pads]), [(0, 0), (0, 0), *overhang])
    total = np.zeros((*x.shape[:2], *window.out))
    count = np.zeros(window.out)
    for offset in product(*map(range, kernel)):
        place = window.at(offset)
        total += padded[_last_axes(place)]
        count += inside[place]
    return [total / count]


class _Window:
    """Where a sliding window lies: pads before and after each axis, and the sizes of the output."""

    def __init__(self, attributes: Attributes, sizes: Sequence[int], kernel: Sequence[int]) -> None:
        spatial = len(sizes)
        self._strides = attributes.get("strides", [1] * spatial)
        self._dilations = attributes.get("dilations", [1] * spatial)
        spans = [dilation * (size - 1) + 1 for dilation, size in zip(self._dilations, kernel, strict=True)]
        self.pads = self._pads(attributes, sizes, spans)
        rounding = math.ceil if attributes.get("ceil_mode", 0) else math.floor
        self.out: list[int] = []
        self.overhang: list[int] = []
        for size, span, stride, (before, after) in zip(sizes, spans, self._strides, self.pads, strict=True):
            count = rounding((size + before + after - span) / stride) + 1
            # A window that would start in the padding behind the data is left out.
            if count > 1 and rounding is math.ceil and (count - 1) * stride >= size + before:
                count -= 1
            self.out.append(count)
            self.overhang.append(max((count - 1) * stride + span - (size + before + after), 0))

    def _pads(self, attributes: Attributes, sizes: Sequence[int], spans: Sequence[int]) -> list[tuple[int, int]]:
        mode = attributes.get("auto_pad", "NOTSET")
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            pads: list[tuple[int, int]] = []
            for size, span, stride in zip(sizes, spans, self._strides, strict=True):
                total = max((math.ceil(size / stride) - 1) * stride + span - size, 0)
                less = total // 2
                pads.append((less, total - less) if mode == "SAME_UPPER" else (total - less, less))
            return pads
        given = attributes.get("pads", [0] * 2 * len(sizes)) if mode == "NOTSET" else [0] * 2 * len(sizes)
        return list(zip(given[: len(sizes)], given[len(sizes) :], strict=True))

    def at(self, offset: Sequence[int], rows: slice | None = None) -> tuple[slice, ...]:
        """What the kernel's element at `offset` sees of the padded data, for every position of the window; along the
        first axis for those of `rows` alone."""
        ranges = [(0, count) for count in self.out]
        if rows is not None:
            ranges[0] = (rows.start, rows.stop)
        return tuple(
            slice(place * dilation + stride * first, place * dilation + stride * (last - 1) + 1, stride)
            for place, dilation, stride, (first, last) in zip(
                offset, self._dilations, self._strides, ranges, strict=True
            )
        )


def gemm(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """alpha * A * B + beta * C."""
    a, b, c = filled(inputs, 3)
    a = a.T if attributes.get("transA", 0) else a
    b = b.T if attributes.get("transB", 0) else b
    out = attributes.get("alpha", 1.0) * (a @ b)
    return [out if c is None else out + attributes.get("beta", 1.0) * c]


def instance_normalization(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """Each channel of each sample to mean 0 and variance 1, then scaled and shifted."""
    x, scale, bias = inputs
    axes = tuple(range(2, x.ndim))
    shape = (-1, *[1] * len(axes))
    normal = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + attributes.get("epsilon", 1e-5))
    return [normal * scale.reshape(shape) + bias.reshape(shape)]


def layer_normalization(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """Everything from an axis on to mean 0 and variance 1; the mean and the inverse deviation are outputs as well."""
    x, scale, bias = filled(inputs, 3)
    axes = tuple(range(attributes.get("axis", -1) % x.ndim, x.ndim))
    mean = x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(x.var(axes, keepdims=True) + attributes.get("epsilon", 1e-5))
    out = (x - mean) * inverse * scale
    return [out if bias is None else out + bias, mean, inverse]


def mean_variance_normalization(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """Everything along some axes to mean 0 and variance 1."""
    (x,) = inputs
    axes = tuple(attributes.get("axes", [0, 2, 3]))
    # The operator is defined with this epsilon beside the deviation.
    return [(x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + 1e-9)]


def group_normalization(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """Each group of channels to mean 0 and variance 1; scale and shift are per channel, or per group (opset 18)."""
    x, scale, bias = inputs
    groups = attributes["num_groups"]
    grouped = x.reshape(x.shape[0], groups, -1)
    spread = np.sqrt(grouped.var(-1, keepdims=True) + attributes.get("epsilon", 1e-5))
    normal = ((grouped - grouped.mean(-1, keepdims=True)) / spread).reshape(x.shape)
    repeats = x.shape[1] // scale.size
    shape = (-1, *[1] * (x.ndim - 2))
    return [normal * np.repeat(scale, repeats).reshape(shape) + np.repeat(bias, repeats).reshape(shape)]


def erf(x: Array) -> Array:
    """The error function, exact to float64."""
    return np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


def gelu(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """Gelu, by erf or by tanh."""
    (x,) = inputs
    if attributes.get("approximate", "none") == "tanh":
        return [0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))]
    return [0.5 * x * (1 + erf(x * _SQRT_HALF))]


def prelu(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """x where it is positive, slope * x elsewhere."""
    x, slope = inputs
    if slope.ndim == 1 and x.ndim > 1 and slope.size not in (1, x.shape[-1]):
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))  # before opset 7: one a channel
    return [np.where(x < 0, slope * x, x)]


def hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    """A line, clipped to [0, 1]."""
    return np.clip(alpha * x + beta, 0, 1)


def celu(x: Array, alpha: float) -> Array:
    """x where it is positive, a saturating exponential elsewhere."""
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))


def selu(x: Array, alpha: float, gamma: float) -> Array:
    """The scaled exponential unit; its constants are float32's, as the operator's definition has them."""
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def dropout(attributes: Attributes, inputs: Inputs) -> Sequence[Any]:
    """The input: a model that is being used drops nothing."""
    x = inputs[0]
    if len(inputs) > 2 and inputs[2] is not None and bool(inputs[2]):
        raise Unsupported("Dropout is in training mode: its answers are random", mend="export the model in eval mode")
    return [x, np.ones(x.shape, bool)]


def quantize(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """round(x / scale) + zero point, kept within the quantised type."""
    x, scale, zero = filled(inputs, 3)
    if zero is None and attributes.get("output_dtype", 0) not in (0, 2):
        raise Unsupported("QuantizeLinear without a zero point to another type than uint8")
    kind = np.dtype(np.uint8) if zero is None else zero.dtype
    if kind.kind not in "iu":
        raise Unsupported(f"QuantizeLinear to {kind}")
    offset = 0 if zero is None else _along(zero.astype(np.float64), x, attributes)
    limits = np.iinfo(kind)
    return [np.clip(np.rint(x / _along(scale, x, attributes)) + offset, limits.min, limits.max).astype(kind)]


def dequantize(attributes: Attributes, inputs: Inputs) -> Sequence[Array]:
    """(x - zero point) * scale."""
    x, scale, zero = filled(inputs, 3)
    offset = 0.0 if zero is None else _along(zero.astype(np.float64), x, attributes)
    return [(x.astype(np.float64) - offset) * _along(scale, x, attributes)]


def _along(values: Array, x: Array, attributes: Attributes) -> Array:
    """A scale or zero point, one a tensor, a channel or a block, in a shape that fits x."""
    if values.size == 1 and values.ndim <= 1:
        return values.reshape(())
    axis = attributes.get("axis", 1) % x.ndim
    if values.ndim == x.ndim:
        return np.repeat(values, attributes.get("block_size", 1), axis)[tuple(slice(size) for size in x.shape)]
    return values.reshape([-1 if place == axis else 1 for place in range(x.ndim)])


def _of_one(function: Callable[[Array, Attributes], Array]) -> Operator:
    return lambda attributes, inputs: [function(inputs[0], attributes)]


def _over_space(reduce: Callable[..., Array]) -> Operator:
    return lambda attributes, inputs: [reduce(inputs[0], axis=tuple(range(2, inputs[0].ndim)), keepdims=True)]


OPERATORS: dict[str, Operator] = {
    "AveragePool": average_pool,
    "Celu": _of_one(
        lambda x, a: np.maximum(x, 0) + np.minimum(0, a.get("alpha", 1.0) * np.expm1(x / a.get("alpha", 1.0)))
    ),
    "ConstantOfShape": lambda attributes, inputs: [
        np.full(inputs[0].tolist(), np.asarray(attributes.get("value", 0.0)).reshape(()))
    ],
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DequantizeLinear": dequantize,
    "Dropout": dropout,
    "Erf": _of_one(lambda x, a: erf(x)),
    "GRU": gru,
    "Gelu": gelu,
    "Gemm": gemm,
    "GlobalAveragePool": _over_space(np.mean),
    "GlobalMaxPool": _over_space(np.max),
    "GroupNormalization": group_normalization,
    "HardSigmoid": _of_one(lambda x, a: hard_sigmoid(x, a.get("alpha", 0.2), a.get("beta", 0.5))),
    "HardSwish": _of_one(lambda x, a: x * hard_sigmoid(x, 1 / 6, 0.5)),
    "InstanceNormalization": instance_normalization,
    "LSTM": lstm,
    "LayerNormalization": layer_normalization,
    "LeakyRelu": _of_one(lambda x, a: np.where(x < 0, a.get("alpha", 0.01) * x, x)),
    "MatMul": lambda attributes, inputs: [np.matmul(*inputs)],
    "MeanVarianceNormalization": mean_variance_normalization,
    "Mish": _of_one(lambda x, a: x * np.tanh(np.logaddexp(0, x))),
    "PRelu": prelu,
    "QuantizeLinear": quantize,
    "RNN": rnn,
    "Resize": resize,
    "Selu": _of_one(
        lambda x, a: (
            a.get("gamma", 1.0507009873554805) * np.where(x > 0, x, a.get("alpha", 1.6732632423543772) * np.expm1(x))
        )
    ),
    "Softplus": _of_one(lambda x, a: np.logaddexp(0, x)),
    "ThresholdedRelu": _of_one(lambda x, a: np.where(x > a.get("alpha", 1.0), x, 0.0)),
    "Upsample": upsample,
}
"""ONNX's own operators by name, all of which keep float64."""
