"""The planted faults: each a model and one change of it, or of what runs it. Every one must be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from fault_models import Array, Change, both, cast_through, cnn, text, weight


@dataclass(frozen=True)
class Fault:
    """A fault in a model's file, or (runtime) in the runtime that answers a right file. why: how an INCONCLUSIVE one
    could not show."""

    name: str
    model: str
    change: Change | None = None
    runtime: str = ""
    expect: str = "FAIL"
    why: str = ""


def part(index: object, change: Callable[[Array], Array] | float) -> Callable[[Array], Array]:
    """A change of some elements of a weight: multiplied by a number, or by a function."""

    def changed(array: Array) -> Array:
        array[index] = change(array[index]) if callable(change) else array[index] * change  # type: ignore[index]
        return array

    return changed


def as_int8(array: Array) -> Array:
    """Symmetric rounding to 8 bits, a scale for the whole tensor."""
    step = np.abs(array).max() / 127
    return np.round(array / step) * step


def bit(number: int) -> Callable[[Array], Array]:
    """The bit of one float32 in the middle of the tensor turned; 22 is the mantissa's highest."""

    def changed(array: Array) -> Array:
        array.view(np.uint32).reshape(-1)[array.size // 2] ^= np.uint32(1 << number)
        return array

    return changed


def gates(*order: int) -> Callable[[Array], Array]:
    """The gates of an LSTM (four) or GRU (three) in another order, along axis 1."""

    def changed(array: Array) -> Array:
        blocks = np.split(array, array.shape[1] // 4, axis=1)
        whole = len(order)
        return np.concatenate([blocks[g // whole * whole + order[g % whole]] for g in range(len(blocks))], axis=1)

    return changed


def all_gates(*order: int) -> Change:
    return both(*(weight(name, gates(*order)) for name in "WRB"))


def directions(array: Array) -> Array:
    return array[::-1]


def answers_as(kind: str, number: int) -> Change:
    """The logits of `cnn` in another dtype."""
    return both(
        text("float[N, 10] logits", f"{kind}[N, 10] logits"),
        text("logits = Gemm", "single = Gemm"),
        text("(f, w3, b3)\n", f"(f, w3, b3)\n logits = Cast<to = {number}>(single)\n"),
    )


BATCH_STATISTICS = text(
    "n1 = BatchNormalization<epsilon = 0.001>(c1, gamma, beta, mean, var)",
    """axes = Constant<value = int64[3] {0, 2, 3}>()
 bm = ReduceMean<keepdims = 0>(c1, axes)
 sq = Mul(c1, c1)
 ms = ReduceMean<keepdims = 0>(sq, axes)
 mm = Mul(bm, bm)
 bv = Sub(ms, mm)
 n1 = BatchNormalization<epsilon = 0.001>(c1, gamma, beta, bm, bv)""",
)
RELU6 = text(
    "a1 = Relu(n1)", "z = Constant<value = float {0}>()\n s = Constant<value = float {6}>()\n a1 = Clip(n1, z, s)"
)
# ONNX Runtime leaves out a Dropout, whatever its training_mode says; what an exporter makes of one, it runs.
DROPOUT = text(
    "m2 = MatMul(bent, w2)",
    """chance = RandomUniformLike<low = 0.0, high = 1.0>(bent)
 kept2 = Greater(chance, half)
 gate = Cast<to = 1>(kept2)
 held = Mul(bent, gate)
 m2 = MatMul(held, w2)""",
)

IN_WEIGHTS = (
    Fault("weights of another seed", "cnn", lambda model: cnn(seed=11)),
    Fault("one channel's weight zeroed", "cnn", weight("w1", part(3, 0.0))),
    Fault("one channel's sign turned", "cnn", weight("w2", part(5, -1.0))),
    Fault("one input channel of one filter zeroed", "cnn", weight("w2", part((2, 4), 0.0))),
    Fault("bias dropped", "cnn", weight("b2", np.zeros_like)),
    Fault("bias of one channel dropped", "cnn", weight("b3", part(7, 0.0))),
    Fault("bias of a dense layer moved by one", "cnn", weight("b3", lambda b: np.roll(b, 1))),
    Fault("a layer's weights rounded to 8 bits", "cnn", weight("w2", as_int8)),
    Fault("a layer's weights rounded to float16", "cnn", weight("w2", lambda w: w.astype(np.float16))),
    Fault("channels permuted", "cnn", weight("w1", lambda w: w[[1, 0, 2, 3, 4, 5, 6, 7]])),
    Fault("filter mirrored (true convolution)", "cnn", weight("w2", lambda w: w[:, :, ::-1, ::-1])),
    Fault("filter's height and width swapped", "cnn", weight("w1", lambda w: w.transpose(0, 1, 3, 2))),
    Fault("filter's channels in and out swapped", "cnn", weight("w2", lambda w: w.transpose(1, 0, 2, 3))),
    Fault("red and blue swapped", "cnn", weight("w1", lambda w: w[:, ::-1])),
    Fault("pixel mean lost", "cnn", weight("pixel_mean", np.zeros_like)),
    Fault("pixel std lost", "cnn", weight("pixel_std", np.ones_like)),
    Fault("pixels of 0 to 255 taken for 0 to 1", "cnn", weight("pixel_std", lambda s: s * 255)),
    Fault("batch norm's variance taken for its square root", "cnn", weight("var", np.sqrt)),
    Fault("batch norm's mean lost", "cnn", weight("mean", np.zeros_like)),
    Fault("highest mantissa bit of one weight turned", "cnn", weight("w2", bit(22))),
    Fault("tenth mantissa bit of one weight turned", "cnn", weight("w2", bit(13))),
    Fault("sign bit of one weight turned", "cnn", weight("w1", bit(31))),
    Fault("exponent bit of one weight turned", "cnn", weight("w1", bit(26))),
    Fault("one weight is NaN", "cnn", weight("w2", part((0, 0, 0, 0), lambda _: np.float32(np.nan)))),
    Fault("square matrix transposed", "numbers", weight("square", np.transpose)),
    Fault("denormal weights flushed", "numbers", weight("tiny", np.zeros_like)),
    Fault("queries of one head turned, its values halved", "transformer", both(
        weight("wq", part((slice(None), slice(0, 8)), -1.0)),
        weight("wv", part((slice(None), slice(0, 8)), 0.5)))),
    Fault("heads swapped", "transformer", weight("wo", lambda w: np.roll(w, 8, axis=0))),
    Fault("layer norm's gain lost", "transformer", weight("gamma", np.ones_like)),
    Fault("layer norm's bias lost", "transformer", weight("beta", np.zeros_like)),
    Fault("scale 1/sqrt(d) of the model's width", "transformer", weight("root", lambda r: np.float32(4))),
    Fault("quantisation scale of one channel", "quantised", weight("w_scale", part(3, 1.1))),
    Fault("quantisation scale of one channel, by a hundredth", "quantised", weight("w_scale", part(6, 1.01))),
    Fault("per-channel scales become one for all", "quantised", weight("w_scale", lambda s: np.full_like(s, s.mean()))),
    Fault("zero point of the input off by one on one side", "quantised", both(
        weight("x_zero", lambda z: z - 1), text("DequantizeLinear(xq, x_scale, x_zero)",
        "middle = Constant<value = uint8 {128}>()\n xd = DequantizeLinear(xq, x_scale, middle)"),
        text("xd = middle", "middle"))),
    Fault("zero point of one channel off by one", "quantised", weight("w_zero", part(2, lambda z: z + 1))),
    Fault("int8 weight of -127 wraps to 127", "quantised", weight("wq", lambda w: np.where(w < -120, 127, w))),
    Fault("embedding table moved by a row", "integers", weight("table", lambda t: np.roll(t, 1, axis=0))),
    Fault("LSTM gates in another framework's order", "recurrent", all_gates(0, 2, 3, 1)),
    Fault("LSTM forget and input gate swapped", "recurrent", all_gates(2, 1, 0, 3)),
    Fault("directions swapped", "recurrent", both(*(weight(name, directions) for name in "WRB"))),
    Fault("recurrent bias lost", "recurrent", weight("B", part((slice(None), slice(16, 32)), 0.0))),
    Fault("GRU gates in another framework's order", "recurrent", both(
        *(weight(name, gates(1, 0, 2)) for name in ("GW", "GR", "GB")))),
    Fault("deconvolution's filter mirrored", "resize", weight("w2", lambda w: w[:, :, ::-1, ::-1])),
    Fault("upper clip bound", "integers", weight("up", lambda u: u * np.float32(1.1))),
    Fault("box scale of another image size", "detector", weight("size", lambda s: s * np.float32(0.8))),
)  # fmt: skip

IN_GRAPH = (
    Fault("epsilon of the batch norm", "cnn", text("epsilon = 0.001", "epsilon = 0.00001")),
    Fault("ReLU6 for ReLU", "cnn", RELU6),
    Fault("ReLU lost", "cnn", text("Relu(n1)", "Identity(n1)")),
    Fault("slope of the leaky ReLU", "cnn", text("alpha = 0.1", "alpha = 0.01")),
    Fault("wrong padding", "cnn", text(
        "c2 = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]",
        "c2 = Conv<kernel_shape = [3, 3], pads = [0, 0, 2, 2]")),
    Fault("wrong stride", "cnn", text("AveragePool<kernel", "AveragePool<strides = [2, 2], kernel")),
    Fault("dilated", "cnn", text(
        "c2 = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]",
        "c2 = Conv<dilations = [2, 2], kernel_shape = [3, 3], pads = [2, 2, 2, 2]")),
    Fault("pooling off by one", "cnn", text(
        "kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 0",
        "kernel_shape = [2, 2], strides = [2, 2], pads = [1, 1, 0, 0], ceil_mode = 1")),
    Fault("ceil_mode", "cnn", text("ceil_mode = 0", "ceil_mode = 1")),
    Fault("average for max pooling", "cnn", text(
        "MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 0>(a1)",
        "AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(a1)")),
    Fault("padding counted in the average", "cnn", text("count_include_pad = 0", "count_include_pad = 1")),
    Fault("global max for global average", "cnn", text("GlobalAveragePool", "GlobalMaxPool")),
    Fault("batch norm in training mode", "cnn", BATCH_STATISTICS),
    Fault("batch norm lost", "cnn", text("BatchNormalization<epsilon = 0.001>(c1, gamma, beta, mean, var)",
                                         "Identity(c1)")),
    Fault("layer skipped", "cnn", text(
        "a2 = LeakyRelu<alpha = 0.1>(c2)", "a2 = LeakyRelu<alpha = 0.1>(p1)")),
    Fault("residual dropped", "cnn", text("Add(a2, p1)", "Identity(a2)")),
    Fault("normalised twice", "cnn", text(
        "scaled = Div(centred, pixel_std)", "once = Div(centred, pixel_std)\n scaled = Div(once, pixel_std)")),
    Fault("a value rounded through float16", "cnn", cast_through("c2", "float16")),
    Fault("a value rounded through bfloat16", "cnn", cast_through("n1", "bfloat16")),
    Fault("answers rounded through float16", "cnn", cast_through("logits", "float16")),
    Fault("a broadcastable shape", "cnn", both(
        text("float[N, 10] logits", "float[N, M] logits"),
        text("logits = Gemm<transB = 1>(f, w3, b3)",
             "all = Gemm<transB = 1>(f, w3, b3)\n ax = Constant<value = int64[1] {1}>()\n"
             " logits = ReduceMean<keepdims = 1>(all, ax)"))),
    Fault("the answers are float64", "cnn", answers_as("double", 11)),
    Fault("the answers are float16", "cnn", answers_as("float16", 10)),
    Fault("softmax added", "cnn", both(
        text("logits = Gemm", "raw = Gemm"), text("(f, w3, b3)\n", "(f, w3, b3)\n logits = Softmax(raw)\n"))),
    Fault("logits shifted by 1000", "cnn", both(
        text("logits = Gemm", "raw = Gemm"),
        text("(f, w3, b3)\n",
             "(f, w3, b3)\n far = Constant<value = float {1000}>()\n logits = Add(raw, far)\n"))),
    Fault("the answer to the first row for all", "cnn", both(
        text("f = Flatten<axis = 1>(g)",
             "fl = Flatten<axis = 1>(g)\n zero = Constant<value = int64[1] {0}>()\n f1 = Gather<axis = 0>(fl, zero)\n"
             " sh = Shape(fl)\n f = Expand(f1, sh)"))),
    Fault("output renamed", "cnn", both(text("float[N, 10] logits", "float[N, 10] scores"),
                                        text("logits = Gemm", "scores = Gemm"))),
    Fault("input renamed", "cnn", both(text("9, 9] image", "9, 9] picture"), text("Sub(image", "Sub(picture"))),
    Fault("an input more", "cnn", text("9, 9] image)", "9, 9] image, float[1] temperature)")),
    Fault("takes only the traced batch", "cnn", text("float[N, 3, 9, 9] image", "float[2, 3, 9, 9] image")),
    Fault("GELU tanh for erf", "transformer", text('approximate = "none"', 'approximate = "tanh"')),
    Fault("ReLU for GELU", "transformer", text('Gelu<approximate = "none">', "Relu")),
    Fault("softmax axis", "transformer", text("Softmax<axis = -1>", "Softmax<axis = -2>")),
    Fault("softmax over all heads", "transformer", text("Softmax<axis = -1>", "Softmax<axis = 1>")),
    Fault("scale 1/sqrt(d) lost", "transformer", text("Div(qk, root)", "Identity(qk)")),
    Fault("attention mask ignored", "transformer", text("Add(scores, padding)", "Identity(scores)")),
    Fault("attention mask inverted", "transformer", text("Sub(one, kept)", "Identity(kept)")),
    Fault("mask added as 1 and 0", "transformer", text("Mul(lost, far)", "Identity(lost)")),
    Fault("causal mask dropped", "transformer", text("Add(masked, causal)", "Add(masked, nothing)")),
    Fault("causal mask transposed", "transformer", weight("causal", np.transpose)),
    Fault("residual dropped around the attention", "transformer", text("Add(x, out)", "Identity(out)")),
    Fault("residual from before the norm", "transformer", text("y = Add(normal, narrow)", "y = Add(added, narrow)")),
    Fault("layer norm over another axis", "transformer", text(
        "normal = LayerNormalization<axis = -1, epsilon = 0.001>(added, gamma, beta)",
        "ones = Constant<value = float[6] {1, 1, 1, 1, 1, 1}>()\n tr = Transpose<perm = [0, 2, 1]>(added)\n"
        " plain = LayerNormalization<axis = -1, epsilon = 0.001>(tr, ones)\n"
        " back = Transpose<perm = [0, 2, 1]>(plain)\n"
        " gained = Mul(back, gamma)\n normal = Add(gained, beta)")),
    Fault("layer norm over two axes", "transformer", both(
        text("normal = LayerNormalization<axis = -1, epsilon = 0.001>(added, gamma, beta)",
             "wide_shape = Constant<value = int64[2] {6, 16}>()\n gamma2 = Expand(gamma, wide_shape)\n"
             " beta2 = Expand(beta, wide_shape)\n"
             " normal = LayerNormalization<axis = -2, epsilon = 0.001>(added, gamma2, beta2)"))),
    Fault("epsilon of the layer norm", "transformer", text("epsilon = 0.001", "epsilon = 0.000001")),
    Fault("keys taken for queries", "transformer", text(
        "q = Transpose<perm = [0, 2, 1, 3]>(q2)", "q = Transpose<perm = [0, 2, 1, 3]>(k2)")),
    Fault("dropout left on", "transformer", DROPOUT),
    Fault("nearest for bilinear", "resize", text('mode = "linear"', 'mode = "nearest"')),
    Fault("align_corners", "resize", text('"half_pixel"', '"align_corners"')),
    Fault("asymmetric coordinates", "resize", text('"half_pixel"', '"asymmetric"')),
    Fault("cubic for bilinear", "resize", text('mode = "linear"', 'mode = "cubic"')),
    Fault("another alpha of ELU", "resize", text("alpha = 1.0", "alpha = 1.05")),
    Fault("deconvolution's padding moved", "resize", text(
        "ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]>",
        "ConvTranspose<strides = [2, 2], pads = [0, 0, 1, 1]>")),
    Fault("deconvolution one smaller", "resize", text(", output_padding = [1, 1]", "")),
    Fault("the wrong layout of (1, 8, 8, 8)", "layout", both(
        text("y = Tanh(c)", "t = Tanh(c)\n y = Transpose<perm = [0, 2, 3, 1]>(t)"))),
    Fault("input in the wrong layout of (1, 8, 8, 8)", "layout", both(
        text("c = Conv<pads = [1, 1, 1, 1]>(x, w)",
             "xt = Transpose<perm = [0, 3, 1, 2]>(x)\n c = Conv<pads = [1, 1, 1, 1]>(xt, w)"))),
    Fault("height and width swapped", "layout", text("y = Tanh(c)",
                                                     "t = Tanh(c)\n y = Transpose<perm = [0, 1, 3, 2]>(t)")),
    Fault("linear_before_reset", "recurrent", text("linear_before_reset = 1", "linear_before_reset = 0")),
    Fault("the first state is lost", "recurrent", text(", , h0, c0)", ")")),
    Fault("last cell for last hidden state", "recurrent", text("Identity(h)", "Identity(c)")),
    Fault("only forward, twice", "recurrent", both(
        text("both, h, c = LSTM", "two, h, c = LSTM"),
        text(", , h0, c0)\n",
             ", , h0, c0)\n z = Constant<value = int64[2] {0, 0}>()\n both = Gather<axis = 1>(two, z)\n"))),
    Fault("two outputs of one shape swapped", "detector", both(
        text("scores = Softmax", "swap = Softmax"), text("other = HardSigmoid", "scores = HardSigmoid"),
        text("TopK<axis = 1, largest = 1, sorted = 1>(scores, k)",
             "TopK<axis = 1, largest = 1, sorted = 1>(swap, k)\n other = Identity(swap)"))),
    Fault("softmax over the boxes", "detector", text("Softmax<axis = 1>", "Softmax<axis = 0>")),
    Fault("hard sigmoid's slope of another framework", "detector", text("alpha = 0.2", "alpha = 0.16666667")),
    Fault("argmax takes the last of equals", "detector", text("select_last_index = 0", "select_last_index = 1")),
    Fault("argmin for argmax", "detector", text("label = ArgMax", "label = ArgMin")),
    Fault("smallest for largest", "detector", text("largest = 1", "largest = 0")),
    Fault("top k of the boxes' logits", "detector", text("sorted = 1>(scores, k)", "sorted = 1>(other, k)")),
    Fault("indices as int32", "detector", both(
        text("int64[20, 3] best", "int32[20, 3] best"), text("values, best = TopK", "values, wide = TopK"),
        text("(scores, k)\n", "(scores, k)\n best = Cast<to = 6>(wide)\n"))),
    Fault("bool inverted", "detector", text("Greater(s1, low)", "LessOrEqual(s1, low)")),
    Fault("bool as float", "detector", both(
        text("bool[20, 5] keep", "float[20, 5] keep"), text("keep = Greater(s1, low)",
                                                            "flag = Greater(s1, low)\n keep = Cast<to = 1>(flag)"))),
    Fault("20 scores lost beside boxes of 0 to 640", "detector", both(
        text("s1 = MatMul(x, ws)", "s0 = MatMul(x, ws)\n zero = Constant<value = float {0}>()\n s1 = Mul(s0, zero)"))),
    Fault("an output lost", "detector", both(
        text(", float[20, 5] other", ""), text("other = HardSigmoid", "o = HardSigmoid"))),
    Fault("integer overflow of int32", "integers", both(
        text("large = Add(ids, far)",
             "i1 = Cast<to = 6>(ids)\n i2 = Cast<to = 6>(far)\n i3 = Add(i1, i2)\n large = Cast<to = 7>(i3)"))),
    Fault("division rounds down, not to zero", "integers", text(
        "quotient = Div(signed, three)",
        "f1 = Cast<to = 1>(signed)\n f2 = Cast<to = 1>(three)\n f3 = Div(f1, f2)\n f4 = Floor(f3)\n"
        " quotient = Cast<to = 7>(f4)")),
    Fault("remainder has the dividend's sign", "integers", text("fmod = 0", "fmod = 1")),
    Fault("bytes saturate, and do not wrap", "integers", text(
        "byte = Cast<to = 2>(near)",
        "top = Constant<value = int64 {255}>()\n cut = Min(near, top)\n byte = Cast<to = 2>(cut)")),
    Fault("embedding off by one", "integers", text(
        "row = Gather<axis = 0>(table, ids)",
        "next = Add(ids, small)\n end = Constant<value = int64 {8}>()\n near_end = Min(next, end)\n"
        " row = Gather<axis = 0>(table, near_end)")),
    Fault("sum excludes its own element", "integers", text("exclusive = 0", "exclusive = 1")),
    Fault("bool is always true", "integers", text("odd = Cast<to = 9>(bit)", "odd = Cast<to = 9>(near)")),
    Fault("matrix product in the other order", "numbers", text("MatMul(x, square)", "MatMul(square, x)")),
    Fault("order of a gather", "numbers", text("Gather<axis = 1>(m, order)", "Gather<axis = 0>(m, order)")),
    Fault("epsilon outside of the root", "numbers", both(
        text("s3 = Add(s2, eps)\n", ""), text("rms = Sqrt(s3)", "s3 = Sqrt(s2)\n rms = Add(s3, eps)"))),
    Fault("square output transposed", "numbers", both(
        text("y = Add(m, b)", "yy = Add(m, b)\n y = Transpose<perm = [1, 0]>(yy)"))),
)  # fmt: skip

IN_RUNTIME = (
    Fault("answers of the sample before", "cnn", runtime="stale"),
    Fault("the first answer for every sample", "cnn", runtime="repeated"),
    Fault("state not reset between calls", "recurrent", runtime="state kept"),
    Fault("NaN in one element of thousands", "layout", runtime="one NaN"),
    Fault("all NaN", "cnn", runtime="all NaN"),
    Fault("batch 1 right and batch 2 wrong", "cnn", runtime="first row for all"),
    Fault("batch in reverse order", "cnn", runtime="batch turned"),
    Fault("constant output", "cnn", runtime="constant"),
    Fault("bfloat16 run as float32", "transformer", runtime="bfloat16"),
    Fault("float16 run as float32", "transformer", runtime="float16"),
    Fault("everything shifted by 1000", "transformer", runtime="shifted"),
    Fault("a gain of 1.0001", "resize", runtime="scaled"),
    Fault("noise that differs from run to run", "transformer", runtime="noise"),
    Fault("the last element of each output, by a thousandth", "layout", runtime="last element"),
    Fault("negative answers become zero", "layout", runtime="sign of zero region"),
    Fault("the process dies by a signal", "cnn", runtime="dies"),
    Fault("one sample of all raises", "cnn", runtime="refuses"),
    Fault("the runtime gives one output less", "detector", runtime="output lost"),
    Fault("the runtime gives one output more", "detector", runtime="output more"),
    Fault("outputs of other names", "cnn", runtime="names changed"),
    Fault("no outputs at all", "cnn", runtime="no names"),
    Fault("the runtime gives float64", "cnn", runtime="float64"),
    Fault("the runtime flattens", "cnn", runtime="flattened"),
    Fault("the runtime adds an axis", "cnn", runtime="axis more"),
    Fault("the runtime drops the batch", "cnn", runtime="batch lost"),
    Fault("the runtime transposes", "numbers", runtime="transposed"),
    Fault("the largest answer overflows", "resize", runtime="infinite"),
    Fault("int64 wraps in int32", "integers", runtime="wrapped"),
    Fault("float answers clipped to one", "cnn", runtime="clipped"),
)

IN_THE_DARK = (
    Fault("other weights before a dead Relu", "hidden", weight("w", lambda w: w + np.float32(0.1)),
          expect="INCONCLUSIVE", why="the source answers 0 for every input"),
    Fault("two outputs of a dead layer swapped", "hidden", weight("w", lambda w: w[:, ::-1]),
          expect="INCONCLUSIVE", why="the source answers 0 for every input"),
    Fault("other weights before a saturated softmax", "saturated", weight("w", lambda w: w * np.float32(1.5)),
          expect="INCONCLUSIVE", why="the source answers 1, 0, 0, 0 for every input"),
    Fault("bias of a saturated softmax", "saturated", weight("b", part(0, 0.9)),
          expect="INCONCLUSIVE", why="the source answers 1, 0, 0, 0 for every input"),
    Fault("bfloat16 in a saturated softmax", "saturated", cast_through("z", "bfloat16"),
          expect="INCONCLUSIVE", why="the source answers 1, 0, 0, 0 for every input"),
)  # fmt: skip

FAULTS = (*IN_WEIGHTS, *IN_GRAPH, *IN_RUNTIME, *IN_THE_DARK)
