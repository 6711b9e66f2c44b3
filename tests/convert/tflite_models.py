"""TFLite files as TensorFlow's converter makes them, small; run in the interpreter of the toolchain `tensorflow`:

    python tflite_models.py FOLDER

Each is FOLDER/NAME.tflite. Weights are drawn, not trained, but scaled so that outputs vary with the inputs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

random = np.random.default_rng(7)
tf.random.set_seed(7)
keras.utils.set_random_seed(7)
tf_keras.utils.set_random_seed(7)


def image_model() -> keras.Model:
    """8x8x2 -> 5 scores: convolutions, a residual, pooling, and weights enough that the converter quantises them."""
    image = keras.Input((8, 8, 2), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Add()([x, y])
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(24, 3, strides=2, padding="same", activation="relu6")(x)
    x = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(5, name="scores")(x))


def saved(model: keras.Model, folder: Path, name: str) -> str:
    path = str(folder / f"{name}.saved")
    model.export(path, verbose=False)
    return path


def examples() -> object:
    for _ in range(32):
        yield [random.standard_normal((1, 8, 8, 2)).astype(np.float32)]


def images(folder: Path) -> None:
    """One model in float32, with float16 weights, dynamic range, integers inside, integers at the boundary, 16x8."""
    path = saved(image_model(), folder, "image")

    def write(
        name: str, boundary: tf.DType | None = None, wide: bool = False, static: bool = False, **told: object
    ) -> None:
        made = tf.lite.TFLiteConverter.from_saved_model(path)
        for key, value in told.items():
            setattr(made, key, value)
        if static:
            made.representative_dataset = examples
            kinds = tf.lite.OpsSet
            made.target_spec.supported_ops = [
                kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
                if wide
                else kinds.TFLITE_BUILTINS_INT8
            ]
        if boundary is not None:
            made.inference_input_type = made.inference_output_type = boundary
        (folder / f"{name}.tflite").write_bytes(made.convert())

    default = [tf.lite.Optimize.DEFAULT]
    write("float32")
    write("dynamic", optimizations=default)
    write("integers_inside", static=True, optimizations=default)
    write("int8", tf.int8, static=True, optimizations=default)
    write("uint8", tf.uint8, static=True, optimizations=default)
    write("int16", tf.int16, wide=True, static=True, optimizations=default)
    half = tf.lite.TFLiteConverter.from_saved_model(path)
    half.optimizations = default
    half.target_spec.supported_types = [tf.float16]
    (folder / "float16.tflite").write_bytes(half.convert())


class Two(tf.Module):
    """Two entry points of one file."""

    weights = tf.constant(random.standard_normal((4, 3)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="rows")])
    def encode(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"code": tf.tanh(rows @ self.weights), "size": tf.norm(rows, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="code")])
    def decode(self, code: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"rows": tf.matmul(code, self.weights, transpose_b=True) + 0.5}


class Counter(tf.Module):
    """Adds up what it is given, from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.total = tf.Variable(tf.zeros((3,)))

    @tf.function(input_signature=[tf.TensorSpec((3,), tf.float32, name="x")])
    def add(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": self.total.assign_add(x) * 2.0}


@tf.function(input_signature=[tf.TensorSpec((None, 6), tf.int32, name="tokens")])
def embedded(tokens: tf.Tensor) -> dict[str, tf.Tensor]:
    """Words of a table of 11 rows."""
    table = tf.constant(np.random.default_rng(3).standard_normal((11, 4)), tf.float32)
    return {"mean": tf.reduce_mean(tf.gather(table, tokens), axis=1)}


@tf.function(input_signature=[tf.TensorSpec((4, 4), tf.float32, name="x")])
def determined(x: tf.Tensor) -> dict[str, tf.Tensor]:
    """An operator that TFLite has not: it needs TensorFlow's."""
    return {"y": tf.linalg.det(x) * tf.ones((2,)) + x[0, :2]}


@tf.function(input_signature=[tf.TensorSpec((None, 3, 16), tf.float32, name="x")])
def transformed(x: tf.Tensor) -> dict[str, tf.Tensor]:
    """A Fourier transform, of which a part and both parts are taken."""
    whole = tf.signal.rfft(x)
    return {"part": tf.cast(whole, tf.float32), "both": tf.math.real(whole) * tf.math.imag(whole)}


@tf.function(input_signature=[tf.TensorSpec((2, 4, 8), tf.float32, name="x")])
def transformed_over_two(x: tf.Tensor) -> dict[str, tf.Tensor]:
    """A Fourier transform over two axes."""
    return {"size": tf.abs(tf.signal.rfft2d(x))}


@tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 16), tf.float32, name="x")])
def thinned(x: tf.Tensor) -> dict[str, tf.Tensor]:
    """A convolution, most of whose weights are nothing: the converter stores the others alone."""
    drawn = np.random.default_rng(5).standard_normal((1, 1, 16, 32))
    weights = np.where(np.random.default_rng(6).random(drawn.shape) < 0.1, drawn, 0.0)
    return {"y": tf.nn.conv2d(x, tf.constant(weights, tf.float32), 1, "SAME")}


def recurrent(folder: Path) -> None:
    """An LSTM that the converter fuses, as Keras 2 writes one."""
    sequence = tf_keras.Input((7, 3), name="sequence", batch_size=1)
    fused = tf_keras.Model(sequence, tf_keras.layers.Dense(2)(tf_keras.layers.LSTM(5)(sequence)))
    (folder / "lstm.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(fused).convert())


def write(folder: Path, name: str, functions: dict[str, object], owner: object, flex: bool = False) -> None:
    path = str(folder / f"{name}.saved")
    tf.saved_model.save(owner, path, signatures=functions)
    made = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=list(functions))
    if flex:
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    if name == "sparse":
        made.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if name == "counter":
        made.experimental_enable_resource_variables = True
    (folder / f"{name}.tflite").write_bytes(made.convert())


def main(folder: Path) -> None:
    images(folder)
    recurrent(folder)
    two, counter = Two(), Counter()
    write(folder, "two", {"encode": two.encode, "decode": two.decode}, two)
    write(folder, "counter", {"serving_default": counter.add}, counter)
    plain = tf.Module()
    plain.embedded, plain.determined = embedded, determined
    plain.transformed, plain.over_two = transformed, transformed_over_two
    plain.thinned = thinned
    write(folder, "sparse", {"serving_default": thinned}, plain)
    write(folder, "fourier", {"serving_default": transformed}, plain)
    write(folder, "fourier_two", {"serving_default": transformed_over_two}, plain)
    write(folder, "tokens", {"serving_default": embedded}, plain)
    write(folder, "flex", {"serving_default": determined}, plain, flex=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
