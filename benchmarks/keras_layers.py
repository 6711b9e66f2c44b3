"""Typical Keras models, as people write them: one for each kind of layer and way of putting layers together."""

# ruff: noqa: D103, TID253  (a script of its own, whose functions are named for what they make)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops


@dataclass(frozen=True)
class Entry:
    """A model. high: the largest value of its inputs, over 1: pixels. after: done once it has weights."""

    build: Callable[[], Any]
    high: float = 1.0
    after: Callable[[Any], None] | None = None


TYPICAL: dict[str, Entry] = {}


def typical(
    high: float = 1.0, after: Callable[[Any], None] | None = None
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Enters a function under its name."""

    def enter(build: Callable[[], Any]) -> Callable[[], Any]:
        TYPICAL[build.__name__] = Entry(build, high, after)
        return build

    return enter


# text


@typical()
def bilstm_text() -> Any:
    x = keras.Input((None,), dtype="int32", name="tokens")
    y = layers.Embedding(200, 16, mask_zero=True)(x)
    y = layers.Bidirectional(layers.LSTM(12, return_sequences=True))(y)
    y = layers.Bidirectional(layers.LSTM(8))(y)
    return keras.Model(x, layers.Dense(4, activation="softmax")(y))


@typical()
def bigru_text() -> Any:
    return keras.Sequential(
        [
            keras.Input((12,), dtype="int32", name="tokens"),
            layers.Embedding(200, 16, mask_zero=True),
            layers.Bidirectional(layers.GRU(8, return_sequences=True), merge_mode="sum"),
            layers.GlobalMaxPooling1D(),
            layers.Dropout(0.3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


@keras.saving.register_keras_serializable(package="benchmarks")
class Positions(layers.Layer):
    """Token and position embeddings added, as in Keras' own examples."""

    def __init__(self, length: int, vocabulary: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes = (length, vocabulary, width)
        self.tokens = layers.Embedding(vocabulary, width)
        self.positions = layers.Embedding(length, width)

    def build(self, shape: Any) -> None:
        self.tokens.build(shape)
        self.positions.build((self.sizes[0],))

    def call(self, x: Any) -> Any:
        return self.tokens(x) + self.positions(ops.arange(0, ops.shape(x)[-1]))

    def get_config(self) -> dict[str, Any]:
        length, vocabulary, width = self.sizes
        return {**super().get_config(), "length": length, "vocabulary": vocabulary, "width": width}


@typical()
def registered_layer() -> Any:
    """A registered layer of one's own: Keras refuses the file where its code is not."""
    x = keras.Input((12,), dtype="int32", name="tokens")
    y = Positions(12, 100, 16)(x)
    y = layers.Add()([y, layers.MultiHeadAttention(2, 8)(y, y)])
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


@typical()
def causal_encoder() -> Any:
    x = keras.Input((16,), dtype="int32", name="tokens")
    y = layers.Embedding(100, 24)(x)
    place = layers.Embedding(16, 24)(ops.arange(16))
    y = y + place
    for _ in range(2):
        z = layers.LayerNormalization(epsilon=1e-6)(y)
        y = y + layers.MultiHeadAttention(3, 8)(z, z, use_causal_mask=True)
        z = layers.LayerNormalization(epsilon=1e-6)(y)
        y = y + layers.Dense(24)(layers.Dense(48, activation="gelu")(z))
    return keras.Model(x, layers.Dense(100, name="next")(y))


@typical()
def masked_encoder() -> Any:
    """Attention over a mask of Embedding's, of free length."""
    x = keras.Input((None,), dtype="int32", name="tokens")
    y = layers.Embedding(100, 24, mask_zero=True)(x)
    y = layers.LayerNormalization()(y + layers.MultiHeadAttention(3, 8)(y, y))
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


@typical()
def grouped_query() -> Any:
    x = keras.Input((10, 24), name="sequence")
    y = layers.GroupQueryAttention(head_dim=8, num_query_heads=4, num_key_value_heads=2)(x, x)
    return keras.Model(x, layers.Dense(3)(layers.RMSNormalization()(x + y)))


@typical()
def attention_pair() -> Any:
    query, value = keras.Input((6, 8), name="query"), keras.Input((9, 8), name="value")
    y = layers.Attention(use_scale=True, score_mode="dot")([query, value])
    z = layers.AdditiveAttention()([query, value])
    return keras.Model([query, value], layers.Dense(3)(layers.Concatenate()([y, z])))


@typical()
def einsum_dense() -> Any:
    x = keras.Input((6, 8), name="sequence")
    y = layers.EinsumDense("abc,cde->abde", output_shape=(None, 3, 4), bias_axes="de")(x)
    return keras.Model(x, layers.EinsumDense("abde,def->abf", output_shape=(None, 5), bias_axes="f")(y))


# recurrent


@typical()
def masked_lstm() -> Any:
    x = keras.Input((8, 5), name="series")
    y = layers.Masking(mask_value=0.0)(x)
    return keras.Model(x, layers.Dense(2)(layers.LSTM(7, dropout=0.2)(y)))


@typical()
def stateful_lstm() -> Any:
    x = keras.Input(batch_shape=(1, 6, 4), name="series")
    return keras.Model(x, layers.Dense(2)(layers.LSTM(5, stateful=True, return_sequences=True)(x)))


@typical()
def stacked_cells() -> Any:
    x = keras.Input((7, 4), name="series")
    y = layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)], return_sequences=True)(x)
    return keras.Model(x, layers.Dense(2)(layers.SimpleRNN(4)(y)))


@typical()
def seq2seq() -> Any:
    source, target = keras.Input((None, 6), name="source"), keras.Input((None, 5), name="target")
    _, h, c = layers.LSTM(8, return_state=True)(source)
    y = layers.LSTM(8, return_sequences=True)(target, initial_state=[h, c])
    return keras.Model([source, target], layers.Dense(5, activation="softmax", name="next")(y))


@typical()
def conv_lstm() -> Any:
    x = keras.Input((4, 8, 8, 2), name="frames")
    y = layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True)(x)
    y = layers.BatchNormalization()(y)
    return keras.Model(x, layers.Conv3D(1, 3, padding="same", activation="sigmoid")(y))


@typical()
def time_distributed() -> Any:
    frame = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
        ]
    )
    x = keras.Input((5, 8, 8, 3), name="frames")
    return keras.Model(x, layers.Dense(3)(layers.GRU(6)(layers.TimeDistributed(frame)(x))))


# images, sound and volumes


@typical()
def conv1d_audio() -> Any:
    y = x = keras.Input((128, 1), name="sound")
    for width in (8, 12):
        y = layers.Conv1D(width, 5, strides=2, padding="causal" if width == 8 else "same")(y)
        y = layers.MaxPooling1D(2)(layers.ReLU(max_value=6.0)(layers.BatchNormalization()(y)))
    y = layers.Conv1D(12, 3, dilation_rate=2, padding="same")(y)
    return keras.Model(x, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(y)))


@typical()
def conv3d() -> Any:
    x = keras.Input((6, 10, 10, 2), name="volume")
    y = layers.Conv3D(4, 3, padding="same", activation="relu")(x)
    y = layers.MaxPooling3D(2)(layers.BatchNormalization()(y))
    y = layers.Conv3DTranspose(3, 2, strides=2)(y)
    y = layers.AveragePooling3D(2)(layers.UpSampling3D(2)(layers.ZeroPadding3D(1)(layers.Cropping3D(1)(y))))
    return keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling3D()(y)))


def _block(x: Any, width: int) -> Any:
    return layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same")(x)))


@typical()
def unet_transpose() -> Any:
    """Of any size of image."""
    x = keras.Input((None, None, 3), name="image")
    top = _block(x, 6)
    low = _block(layers.MaxPooling2D()(top), 8)
    y = layers.Concatenate()([layers.Conv2DTranspose(6, 3, strides=2, padding="same")(low), top])
    return keras.Model(x, layers.Conv2D(2, 1, activation="softmax", name="mask")(_block(y, 6)))


def _unet(interpolation: str) -> Any:
    x = keras.Input((32, 32, 3), name="image")
    top = _block(x, 6)
    low = _block(layers.AveragePooling2D(2)(top), 8)
    y = layers.Concatenate()([layers.UpSampling2D(2, interpolation=interpolation)(low), top])
    return keras.Model(x, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(_block(y, 6)))


@typical()
def unet_nearest() -> Any:
    return _unet("nearest")


@typical()
def unet_bilinear() -> Any:
    return _unet("bilinear")


@typical()
def unet_bicubic() -> Any:
    return _unet("bicubic")


@typical()
def separable() -> Any:
    x = keras.Input((16, 16, 4), name="image")
    y = layers.SeparableConv2D(8, 3, padding="same", activation="swish")(x)
    y = layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same")(y)
    y = layers.BatchNormalization()(y)
    y = layers.Conv2D(8, 3, groups=4, padding="same")(y)
    y = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(y)
    y = layers.Reshape((64, 8))(y)
    y = layers.SeparableConv1D(6, 3)(layers.DepthwiseConv1D(3)(y))
    return keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(y)))


@typical()
def normalised() -> Any:
    x = keras.Input((8, 8, 8), name="image")
    y = layers.GroupNormalization(4)(layers.Conv2D(8, 3)(x))
    y = layers.GroupNormalization(-1)(layers.SpectralNormalization(layers.Conv2D(8, 3))(y))
    y = layers.UnitNormalization()(layers.LayerNormalization(axis=[1, 2, 3])(y))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


@typical()
def activated() -> Any:
    x = keras.Input((8, 8, 6), name="image")
    y = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(6, 3)(x))
    y = layers.PReLU()(layers.LeakyReLU(negative_slope=0.1)(layers.Conv2D(6, 3)(y)))
    kinds = ("elu", "selu", "gelu", "mish", "hard_silu", "softplus", "softsign", "exponential", "log_sigmoid", "celu")
    parts = [layers.Activation(kind)(y) for kind in kinds]
    y = layers.Add()([layers.Softmax(axis=1)(y), *parts])
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


@typical()
def pooled() -> Any:
    x = keras.Input((9, 9, 4), name="image")
    y = layers.Conv2D(6, 3, padding="same")(x)
    parts = [
        layers.GlobalAveragePooling2D(keepdims=True)(y),
        layers.GlobalMaxPooling2D(keepdims=True)(y),
        layers.GlobalAveragePooling2D(keepdims=True)(layers.MaxPooling2D(3, strides=2, padding="same")(y)),
        layers.GlobalMaxPooling2D(keepdims=True)(layers.AveragePooling2D(2, padding="same")(y)),
    ]
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.Concatenate()(parts))))


@typical()
def adaptive_pooled() -> Any:
    x = keras.Input((9, 9, 4), name="image")
    y = layers.AdaptiveAveragePooling2D((4, 4))(layers.Conv2D(6, 3, padding="same")(x))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


# layers at the front


@typical(high=255.0)
def preprocessed_image() -> Any:
    return keras.Sequential(
        [
            keras.Input((40, 36, 3), name="image"),
            layers.Resizing(32, 32),
            layers.CenterCrop(28, 28),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Normalization(mean=[0.1, 0.0, -0.1], variance=[0.3, 0.4, 0.5]),
            layers.Conv2D(8, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax"),
        ]
    )


@typical(high=255.0)
def aspect_resized() -> Any:
    """Pictures of any size, as bytes."""
    x = keras.Input((None, None, 3), dtype="uint8", name="image")
    y = layers.Resizing(24, 24, interpolation="bilinear", crop_to_aspect_ratio=True)(x)
    y = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255.0)(y))
    return keras.Model(x, layers.Dense(5)(layers.Flatten()(y)))


@typical()
def table_features() -> Any:
    age, colour, amount = (
        keras.Input((1,), name="age"),
        keras.Input((1,), dtype="int32", name="colour"),
        keras.Input((3,), name="amount"),
    )
    scaled = layers.Normalization()
    scaled.adapt(np.array([[0.1, 2.0, -3.0], [1.2, 0.3, 1.0], [-0.7, 1.1, 0.4]]))
    parts = [
        layers.CategoryEncoding(num_tokens=5, output_mode="one_hot")(
            layers.Discretization(bin_boundaries=[-1.0, 0.0, 0.5, 1.0])(age)
        ),
        layers.CategoryEncoding(num_tokens=6, output_mode="one_hot")(colour),
        scaled(amount),
    ]
    y = layers.Dense(8, activation="relu")(layers.Concatenate()(parts))
    return keras.Model({"age": age, "colour": colour, "amount": amount}, layers.Dense(1, name="price")(y))


@typical()
def integer_lookup() -> Any:
    x = keras.Input((3,), dtype="int64", name="codes")
    y = layers.IntegerLookup(vocabulary=[0, 1, 2, 5, 7, 9])(x)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(layers.Embedding(8, 4)(y))))


@typical()
def hashed() -> Any:
    x = keras.Input((3,), dtype="int64", name="codes")
    y = layers.Embedding(11, 4)(layers.Hashing(num_bins=11)(x))
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))


@typical()
def string_lookup() -> Any:
    x = keras.Input((3,), dtype="string", name="words")
    y = layers.StringLookup(vocabulary=["red", "green", "blue"])(x)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(layers.Embedding(4, 4)(y))))


@typical()
def text_vectorised() -> Any:
    words = layers.TextVectorization(max_tokens=20, output_sequence_length=6)
    words.adapt(["the cat sat on the mat", "a dog ran"])
    x = keras.Input((1,), dtype="string", name="text")
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Embedding(20, 4)(words(x)))))


@typical()
def spectrogram() -> Any:
    x = keras.Input((800,), name="sound")
    y = layers.MelSpectrogram(num_mel_bins=16, fft_length=256, sequence_stride=128, sampling_rate=8000)(x)
    y = layers.Reshape((16, 7, 1))(y)
    y = layers.BatchNormalization()(y)
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(y))))


# shapes of models


@typical()
def several_dicts() -> Any:
    given = {"image": keras.Input((8, 8, 3), name="image"), "meta": keras.Input((4,), name="meta")}
    y = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(given["image"]))
    y = layers.Concatenate()([y, layers.Dense(6, activation="tanh")(given["meta"])])
    return keras.Model(given, {"label": layers.Dense(3, activation="softmax")(y), "box": layers.Dense(4)(y)})


@typical()
def siamese() -> Any:
    """A shared tower, and outputs in a list."""
    tower = keras.Sequential([keras.Input((10,)), layers.Dense(8, activation="relu"), layers.Dense(4)], name="tower")
    left, right = keras.Input((10,), name="left"), keras.Input((10,), name="right")
    a, b = tower(left), tower(right)
    return keras.Model([left, right], [layers.Dot(axes=1, normalize=True)([a, b]), ops.abs(a - b)])


@keras.saving.register_keras_serializable(package="benchmarks")
class Subclassed(keras.Model):
    """A model in the subclassing API: its code is needed to load it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first, self.last = layers.Dense(8, activation="relu"), layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.last(self.first(x))


@typical()
def subclassed() -> Any:
    model = Subclassed()
    model(keras.random.normal((2, 5)))
    return model


@typical()
def lambda_layer() -> Any:
    x = keras.Input((6,), name="x")
    y = layers.Lambda(lambda t: ops.square(t) + 1.0)(layers.Dense(4)(x))
    return keras.Model(x, layers.Dense(3)(y))


@typical()
def nested() -> Any:
    """A backbone with a head of one's own, as in transfer learning."""
    backbone = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), include_top=False, weights=None, alpha=0.35, pooling="avg"
    )
    x = keras.Input((32, 32, 3), name="photo")
    y = layers.Rescaling(1.0, offset=0.1)(x)
    y = layers.Dropout(0.2)(backbone(y, training=False))
    return keras.Model(x, layers.Dense(5, activation="softmax")(y))


@typical()
def operations() -> Any:
    """`keras.ops` between layers."""
    x = keras.Input((6, 8), name="sequence")
    y = ops.einsum("bij,bkj->bik", x, x) / 8.0
    y = ops.softmax(ops.where(y > 0, y, -y), axis=-1)
    y = ops.concatenate([ops.matmul(y, x), ops.cumsum(x, axis=1), ops.roll(x, 1, axis=1)], axis=-1)
    y = ops.take(y, [0, 3, 5], axis=1) * ops.logsumexp(x, axis=(1, 2), keepdims=True)
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y[:, ::-1, :])))


@typical()
def top_two() -> Any:
    """Outputs that are no floats."""
    x = keras.Input((10,), name="x")
    y = layers.Dense(6, activation="softmax")(x)
    values, places = ops.top_k(y, 2)
    return keras.Model(x, {"scores": values, "classes": places, "best": ops.argmax(y, axis=-1)})


# other numbers


def _image_classifier(**words: Any) -> Any:
    x = keras.Input((16, 16, 3), name="image")
    y = layers.Conv2D(8, 3, **words)(x)
    y = layers.ReLU(**words)(layers.BatchNormalization(**words)(y))
    y = layers.Flatten(**words)(layers.MaxPooling2D(**words)(y))
    return keras.Model(x, layers.Dense(5, activation="softmax", dtype=words.get("last", words["dtype"]))(y))


@typical()
def mixed_float16() -> Any:
    return _image_classifier(dtype="mixed_float16")


@typical()
def mixed_bfloat16() -> Any:
    return _image_classifier(dtype="mixed_bfloat16")


@typical()
def float64() -> Any:
    x = keras.Input((6,), dtype="float64", name="x")
    y = layers.Dense(8, activation="tanh", dtype="float64")(x)
    return keras.Model(x, layers.Dense(3, dtype="float64")(y))


def _dense_text() -> Any:
    x = keras.Input((12,), dtype="int32", name="tokens")
    y = layers.Flatten()(layers.Embedding(50, 16)(x))
    return keras.Model(x, layers.Dense(4)(layers.Dense(32, activation="relu")(y)))


@typical(after=lambda model: model.quantize("int8"))
def quantised_int8() -> Any:
    return _dense_text()


@typical(after=lambda model: model.quantize("int4"))
def quantised_int4() -> Any:
    return _dense_text()


@typical(after=lambda model: model.quantize("float8"))
def quantised_float8() -> Any:
    return _dense_text()
