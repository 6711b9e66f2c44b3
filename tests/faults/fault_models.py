"""Small models to plant faults in: ONNX's own text form and named weights, so that a fault is one line of change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Model:
    """A graph in the text form that onnx.parser reads, without its header; weights by the names that it uses."""

    graph: str
    weights: Mapping[str, Array] = field(default_factory=dict)
    opset: int = 21

    def write(self, path: Path) -> Path:
        """The model as an ONNX file."""
        import onnx
        import onnx.parser

        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {self.opset}]> {self.graph}')
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in self.weights.items()
        )
        onnx.save(model, path)
        return path


Change = Callable[[Model], Model]


def text(old: str, new: str) -> Change:
    """The graph with one place of it written otherwise."""

    def changed(model: Model) -> Model:
        assert model.graph.count(old) == 1, f"{old!r} stands {model.graph.count(old)} times in the graph"
        return replace(model, graph=model.graph.replace(old, new))

    return changed


def weight(name: str, change: Callable[[Array], Array]) -> Change:
    """The model with one of its weights changed; it is given as a copy that may be written to."""

    def changed(model: Model) -> Model:
        new = np.asarray(change(model.weights[name].copy()), model.weights[name].dtype)
        assert new.tobytes() != model.weights[name].tobytes() or new.shape != model.weights[name].shape
        return replace(model, weights={**model.weights, name: new})

    return changed


def both(*changes: Change) -> Change:
    """One change after the other."""

    def changed(model: Model) -> Model:
        for change in changes:
            model = change(model)
        return model

    return changed


def cast_through(name: str, kind: str) -> Change:
    """The value `name` rounded to another precision and back, before anybody reads it."""

    def changed(model: Model) -> Model:
        head, brace, body = model.graph.partition("{")
        assert f"{name} =" in body
        body = body.replace(f"{name} =", f"{name}_full =", 1)
        place = body.index(f"{name}_full =")
        number = {"float16": 10, "bfloat16": 16}[kind]
        end = body.index("\n", place)
        cast = f"\n {name}_less = Cast<to = {number}>({name}_full)\n {name} = Cast<to = 1>({name}_less)"
        return replace(model, graph=head + brace + body[:end] + cast + body[end:])

    return changed


def drawn(seed: int, **shapes: tuple[int, ...]) -> dict[str, Array]:
    """Weights from a seed, scaled so that what they make stays near 1."""
    random = np.random.default_rng(seed)
    return {
        name: (random.standard_normal(shape) / max(1.0, np.sqrt(np.prod(shape[1:])))).astype(np.float32)
        for name, shape in shapes.items()
    }


def cnn(seed: int = 0) -> Model:
    weights = drawn(seed, w1=(8, 3, 3, 3), b1=(8,), w2=(8, 8, 3, 3), b2=(8,), w3=(10, 8), b3=(10,))
    random = np.random.default_rng(seed + 100)
    weights |= {
        "gamma": random.uniform(4, 6, 8).astype(np.float32),
        "beta": random.standard_normal(8).astype(np.float32),
        "mean": random.standard_normal(8).astype(np.float32),
        "var": random.uniform(0.01, 2, 8).astype(np.float32),
        "pixel_mean": np.float32([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1),
        "pixel_std": np.float32([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1),
        "three": np.int64([3]),
    }
    return Model(
        """cnn (float[N, 3, 9, 9] image) => (float[N, 10] logits) {
 centred = Sub(image, pixel_mean)
 scaled = Div(centred, pixel_std)
 c1 = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(scaled, w1, b1)
 n1 = BatchNormalization<epsilon = 0.001>(c1, gamma, beta, mean, var)
 a1 = Relu(n1)
 p1 = MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 0>(a1)
 c2 = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>(p1, w2, b2)
 a2 = LeakyRelu<alpha = 0.1>(c2)
 r2 = Add(a2, p1)
 p2 = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 0>(r2)
 g = GlobalAveragePool(p2)
 f = Flatten<axis = 1>(g)
 logits = Gemm<transB = 1>(f, w3, b3)
}""",
        weights,
    )


def _transformer(seed: int = 1) -> Model:
    squares = dict.fromkeys(("wq", "wk", "wv", "wo"), (16, 16))
    weights = drawn(seed, **squares, w1=(16, 32), b1=(32,), w2=(32, 16), b2=(16,), gamma=(16,), beta=(16,))
    weights |= {
        "gamma": 1 + weights["gamma"],
        "root": np.float32(np.sqrt(8.0)),
        "split": np.int64([0, 0, 2, 8]),
        "merge": np.int64([0, 0, 16]),
        "one": np.float32(1),
        "half": np.float32(0.5),
        "sqrt2": np.float32(np.sqrt(2.0)),
        "far": np.float32(-1e4),
        "last": np.int64([1, 2]),
        "causal": np.triu(np.full((6, 6), -1e4, np.float32), 1),
        "nothing": np.zeros((6, 6), np.float32),
    }
    return Model(
        """block (float[N, 6, 16] x, int64[N, 6] mask) => (float[N, 6, 16] y) {
 q1 = MatMul(x, wq)
 k1 = MatMul(x, wk)
 v1 = MatMul(x, wv)
 q2 = Reshape(q1, split)
 k2 = Reshape(k1, split)
 v2 = Reshape(v1, split)
 q = Transpose<perm = [0, 2, 1, 3]>(q2)
 k = Transpose<perm = [0, 2, 3, 1]>(k2)
 v = Transpose<perm = [0, 2, 1, 3]>(v2)
 qk = MatMul(q, k)
 scores = Div(qk, root)
 kept = Cast<to = 1>(mask)
 lost = Sub(one, kept)
 pushed = Mul(lost, far)
 padding = Unsqueeze(pushed, last)
 masked = Add(scores, padding)
 ordered = Add(masked, causal)
 shares = Softmax<axis = -1>(ordered)
 seen = MatMul(shares, v)
 seen2 = Transpose<perm = [0, 2, 1, 3]>(seen)
 seen3 = Reshape(seen2, merge)
 out = MatMul(seen3, wo)
 added = Add(x, out)
 normal = LayerNormalization<axis = -1, epsilon = 0.001>(added, gamma, beta)
 m1 = MatMul(normal, w1)
 wide = Add(m1, b1)
 bent = Gelu<approximate = "none">(wide)
 m2 = MatMul(bent, w2)
 narrow = Add(m2, b2)
 y = Add(normal, narrow)
}""",
        weights,
    )


def _resize(seed: int = 2) -> Model:
    weights = drawn(seed, w1=(4, 4, 3, 3), w2=(4, 2, 3, 3))
    weights |= {"scales": np.float32([1, 1, 2, 2]), "grown": np.int64([1, 4, 12, 12])}
    return Model(
        """resize (float[1, 4, 6, 6] x) => (float[1, 2, 24, 24] y) {
 c = Conv<pads = [1, 1, 1, 1]>(x, w1)
 big = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">(c, , scales)
 bent = Elu<alpha = 1.0>(big)
 y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]>(bent, w2)
}""",
        weights,
    )


def _recurrent(seed: int = 3) -> Model:
    hidden = 4
    weights = drawn(
        seed,
        W=(2, 4 * hidden, 3),
        R=(2, 4 * hidden, hidden),
        B=(2, 8 * hidden),
        GW=(1, 3 * hidden, 2 * hidden),
        GR=(1, 3 * hidden, hidden),
        GB=(1, 6 * hidden),
    )
    weights |= {"B": weights["B"] * 4, "GB": weights["GB"] * 4, "one": np.int64([1]), "joined": np.int64([0, 0, -1])}
    weights |= {"h0": np.full((2, 1, hidden), 0.5, np.float32), "c0": np.full((2, 1, hidden), -0.5, np.float32)}
    return Model(
        """recurrent (float[7, 1, 3] x) => (float[7, 1, 4] y, float[2, 1, 4] last) {
 both, h, c = LSTM<hidden_size = 4, direction = "bidirectional">(x, W, R, B, , h0, c0)
 turned = Transpose<perm = [0, 2, 1, 3]>(both)
 flat = Reshape(turned, joined)
 g, gh = GRU<hidden_size = 4, linear_before_reset = 1>(flat, GW, GR, GB)
 y = Squeeze(g, one)
 last = Identity(h)
}""",
        weights,
    )


def _detector(seed: int = 4) -> Model:
    weights = drawn(seed, w=(12, 4), ws=(12, 5), wo=(12, 5))
    weights |= {"size": np.float32(640), "k": np.int64([3]), "grain": np.float32(4), "low": np.float32(0.5)}
    return Model(
        """detector (float[20, 12] x)
    => (float[20, 4] boxes, float[20, 5] scores, float[20, 5] other, int64[20, 1] label, int64[20, 3] best,
        bool[20, 5] keep) {
 b1 = MatMul(x, w)
 b2 = Sigmoid(b1)
 boxes = Mul(b2, size)
 s1 = MatMul(x, ws)
 scores = Softmax<axis = 1>(s1)
 o1 = MatMul(x, wo)
 other = HardSigmoid<alpha = 0.2, beta = 0.5>(o1)
 coarse1 = Mul(x, low)
 coarse2 = Round(coarse1)
 label = ArgMax<axis = 1, select_last_index = 0, keepdims = 1>(coarse2)
 values, best = TopK<axis = 1, largest = 1, sorted = 1>(scores, k)
 keep = Greater(s1, low)
}""",
        weights,
    )


def _integers(seed: int = 5) -> Model:
    weights = drawn(seed, table=(9, 6), w=(6, 4))
    weights |= {
        "four": np.int64(4),
        "three": np.int64(3),
        "far": np.int64(2**31 - 4),
        "high": np.int64(250),
        "small": np.int64(1),
        "places": np.int64([0, 1, 2, 3, 4]),
    }
    return Model(
        """integers (int64[5] ids)
    => (float[5, 4] y, int64[5] quotient, int64[5] rest, int64[5] large, uint8[5] byte, bool[5] odd, int64[5] sums) {
 row = Gather<axis = 0>(table, ids)
 m = MatMul(row, w)
 y = Clip(m, low, up)
 signed = Sub(ids, four)
 quotient = Div(signed, three)
 rest = Mod<fmod = 0>(signed, three)
 large = Add(ids, far)
 near = Add(ids, high)
 byte = Cast<to = 2>(near)
 bit = BitwiseAnd(ids, small)
 odd = Cast<to = 9>(bit)
 axis = Constant<value = int64 {0}>()
 sums = CumSum<exclusive = 0>(ids, axis)
}""",
        {**weights, "low": np.float32(-0.6), "up": np.float32(0.6)},
    )


def _numbers(seed: int = 6) -> Model:
    weights = drawn(seed, a=(6, 6), b=(6,))
    weights |= {
        "square": weights["a"],
        "tiny": (weights["b"] * 1e-39).astype(np.float32),
        "huge": np.float32(1e38),
        "eps": np.float32(1e-3),
        "two": np.float32(2),
        "axes": np.int64([-1]),
        "order": np.int64([3, 1, 4, 0, 5, 2]),
    }
    return Model(
        """numbers (float[6, 6] x) => (float[6, 6] y, float[6, 6] slope, float[6, 6] flushed, float[6, 1] rms) {
 m = MatMul(x, square)
 y = Add(m, b)
 t = Gather<axis = 1>(m, order)
 slope = PRelu(t, b)
 u = Mul(x, tiny)
 flushed = Mul(u, huge)
 s1 = Pow(m, two)
 s2 = ReduceMean<keepdims = 1>(s1, axes)
 s3 = Add(s2, eps)
 rms = Sqrt(s3)
}""",
        weights,
    )


def _quantised(seed: int = 7) -> Model:
    random = np.random.default_rng(seed)
    return Model(
        """quantised (float[3, 12] x) => (float[3, 8] y) {
 xq = QuantizeLinear(x, x_scale, x_zero)
 xd = DequantizeLinear(xq, x_scale, x_zero)
 wd = DequantizeLinear<axis = 0>(wq, w_scale, w_zero)
 y = Gemm<transB = 1>(xd, wd, b)
}""",
        {
            "wq": random.integers(-127, 128, (8, 12)).astype(np.int8),
            "w_scale": random.uniform(0.005, 0.02, 8).astype(np.float32),
            "w_zero": np.zeros(8, np.int8),
            "x_scale": np.float32(0.03),
            "x_zero": np.uint8(128),
            "b": random.standard_normal(8).astype(np.float32),
        },
    )


def _layout(seed: int = 8) -> Model:
    return Model(
        """layout (float[1, 8, 8, 8] x) => (float[1, 8, 8, 8] y) {
 c = Conv<pads = [1, 1, 1, 1]>(x, w)
 y = Tanh(c)
}""",
        drawn(seed, w=(8, 8, 3, 3)),
    )


def _hidden(seed: int = 9) -> Model:
    """What lies before the Relu never shows: no input makes it positive."""
    return Model(
        """hidden (float[2, 6] x) => (float[2, 4] y) {
 m = MatMul(x, w)
 s = Tanh(m)
 low = Sub(s, two)
 y = Relu(low)
}""",
        {**drawn(seed, w=(6, 4)), "two": np.float32(2)},
    )


def _saturated(seed: int = 10) -> Model:
    """Answers of nothing but 0 and 1, the same for all samples but for their order of magnitude."""
    return Model(
        """saturated (float[2, 6] x) => (float[2, 4] y) {
 m = MatMul(x, w)
 z = Add(m, b)
 y = Softmax<axis = 1>(z)
}""",
        {**drawn(seed, w=(6, 4)), "b": np.float32([200, 0, 0, 0])},
    )


MODELS: dict[str, Callable[[], Model]] = {
    "cnn": cnn,
    "transformer": _transformer,
    "resize": _resize,
    "recurrent": _recurrent,
    "detector": _detector,
    "integers": _integers,
    "numbers": _numbers,
    "quantised": _quantised,
    "layout": _layout,
    "hidden": _hidden,
    "saturated": _saturated,
}

BLIND = ("hidden", "saturated")
"""Models whose answers could not show a fault: INCONCLUSIVE as they are."""
