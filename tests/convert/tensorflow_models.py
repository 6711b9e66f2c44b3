"""Small TensorFlow and Keras models of every kind; run in the interpreter of the toolchain `tensorflow`:

    python tensorflow_models.py FOLDER

FOLDER/NAME is a SavedModel, FOLDER/NAME.pb a frozen graph, .keras and .h5 Keras files. Weights are drawn, not trained.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

RANDOM = np.random.default_rng(7)
LAYERS = keras.layers
v1 = tf.compat.v1


def weights(*shape: int) -> Any:
    fan = int(np.prod(shape[:-1])) or 1
    return tf.constant((RANDOM.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))


def spec(*shape: int | None, dtype: Any = tf.float32) -> Any:
    return tf.TensorSpec(shape, dtype)


def save(folder: Path, name: str, **signatures: tuple[Callable[..., Any], dict[str, Any]]) -> None:
    """A SavedModel of plain functions, each with its inputs by name."""
    module = tf.Module()
    made = {}
    for key, (function, inputs) in signatures.items():
        made[key] = tf.function(function, autograph=False).get_concrete_function(**inputs)
        module.held = [*getattr(module, "held", []), *made[key].graph.variables]
    tf.saved_model.save(module, str(folder / name), signatures=made)


# SavedModels of TensorFlow 2


def two() -> Callable[..., Any]:
    """Inputs and outputs whose names sort otherwise than they came, a variable, and an output that is no float."""
    scale, head = tf.Variable(weights(6)), weights(6, 4)

    def call(zeta: Any, alpha: Any) -> Any:
        mixed = tf.nn.silu(zeta * scale) @ head
        return {"scores": mixed + alpha, "best": tf.argmax(mixed, axis=1), "any": tf.reduce_any(mixed > 0, axis=1)}

    return call


def image() -> Callable[..., Any]:
    first, second, head = weights(3, 3, 2, 8), weights(3, 3, 8, 1), weights(8, 5)

    def call(image: Any) -> Any:
        x = tf.nn.relu(tf.nn.conv2d(image, first, 1, "SAME"))
        x = tf.nn.depthwise_conv2d(tf.nn.max_pool2d(x, 2, 2, "SAME"), second, [1, 1, 1, 1], "SAME")
        return {"logits": tf.reduce_mean(x, (1, 2)) @ head, "features": x}

    return call


def encode(rows: Any) -> Any:
    return {"code": tf.tanh(rows @ tf.constant(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)))}


def decode(code: Any) -> Any:
    return {"rows": code @ tf.constant(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)) + 0.5}


def tokens() -> Callable[..., Any]:
    table, head = weights(11, 4), weights(4, 3)
    return lambda tokens: {"mean": tf.reduce_mean(tf.gather(table, tokens), axis=1) @ head}


def loop() -> Callable[..., Any]:
    """As many turns as an input says, of a matrix."""
    matrix = weights(4, 4)

    def call(x: Any, turns: Any) -> Any:
        told = tf.while_loop(lambda n, _: n < turns, lambda n, y: (n + 1, tf.tanh(y @ matrix) + x), (0, x))
        return {"y": told[1]}

    return call


def branch(x: Any) -> Any:
    return {"y": tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2 + 1, lambda: tf.abs(x) - 3)}


def listed() -> Callable[..., Any]:
    """Rows one after another, kept in a TensorList."""
    matrix = weights(4, 4)

    def call(rows: Any) -> Any:
        start = tf.zeros((tf.shape(rows)[1], 4))
        each = tf.scan(lambda state, row: tf.tanh(state @ matrix + row), rows, initializer=start)
        return {"states": each, "last": each[-1]}

    return call


def through(x: Any) -> Any:
    """An output that is called as the input, and is it; and one that is another."""
    twice = x * 2.0
    return {"x": x, "twice": twice, "again": twice}


def narrow(image: Any) -> Any:
    """An operator that knows float32 alone."""
    return {"y": tf.nn.local_response_normalization(image) * 2.0}


def counted() -> Callable[..., Any]:
    total = tf.Variable(tf.zeros(3))
    return lambda x: {"total": total.assign_add(x) * 2.0}


def saved_models(folder: Path) -> None:
    save(folder, "two", serving_default=(two(), {"zeta": spec(None, 6), "alpha": spec(None, 4)}))
    save(folder, "image", serving_default=(image(), {"image": spec(None, 8, 8, 2)}))
    save(
        folder,
        "several",
        encode=(encode, {"rows": spec(None, 4)}),
        decode=(decode, {"code": spec(None, 3)}),
    )
    save(
        folder,
        "usual",
        encode=(encode, {"rows": spec(None, 4)}),
        serving_default=(decode, {"code": spec(None, 3)}),
    )
    save(folder, "tokens", serving_default=(tokens(), {"tokens": spec(None, 6, dtype=tf.int64)}))
    save(folder, "loop", serving_default=(loop(), {"x": spec(2, 4), "turns": spec(dtype=tf.int32)}))
    save(folder, "branch", serving_default=(branch, {"x": spec(3, 4)}))
    save(folder, "listed", serving_default=(listed(), {"rows": spec(5, 2, 4)}))
    save(folder, "through", serving_default=(through, {"x": spec(None, 3)}))
    save(folder, "narrow", serving_default=(narrow, {"image": spec(None, 4, 4, 6)}))
    save(folder, "counted", serving_default=(counted(), {"x": spec(3)}))
    save(folder, "noisy", serving_default=(lambda x: {"y": x + tf.random.normal((3,))}, {"x": spec(3)}))
    text = {"text": tf.TensorSpec((None,), tf.string)}
    save(folder, "text", serving_default=(lambda text: {"size": tf.strings.length(text)}, text))
    tf.saved_model.save(tf.Module(), str(folder / "nameless"))
    looked_up(folder)


def looked_up(folder: Path) -> None:
    """A table of TensorFlow's own, which is neither a variable nor a constant."""
    keys = tf.lookup.KeyValueTensorInitializer(tf.range(4, dtype=tf.int64), tf.constant([0.5, 1, 2, 4]))
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(keys, 0.0)
    call = tf.function(lambda key: {"value": module.table.lookup(key)}, autograph=False)
    made = call.get_concrete_function(key=spec(None, dtype=tf.int64))
    tf.saved_model.save(module, str(folder / "table"), signatures={"serving_default": made})


# TensorFlow 1


def switches(x: Any) -> Any:
    """Branches and a loop as TensorFlow 1 writes them: Switch, Merge, Enter, Exit, NextIteration."""
    total = tf.reduce_sum(x)
    y = v1.cond(total > 0, lambda: x * 2 + 1, lambda: tf.abs(x) - 3)
    return v1.while_loop(lambda n, _: n < 3, lambda n, z: (n + 1, tf.tanh(z) + x), (tf.constant(0), y))[1]


def first_generation(folder: Path) -> None:
    v1.disable_control_flow_v2()
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(7)
        x = v1.placeholder(tf.float32, (None, 8, 8, 2), "picture")
        kernel = v1.get_variable("kernel", initializer=weights(3, 3, 2, 6), use_resource=False)
        mean = v1.get_variable("mean", initializer=weights(6), use_resource=True)
        y, _, _ = v1.nn.fused_batch_norm(
            tf.nn.conv2d(x, kernel, 2, "SAME"), tf.ones(6), tf.zeros(6), mean, tf.ones(6) * 0.7, is_training=False
        )
        pooled = tf.reduce_mean(tf.nn.relu6(y), (1, 2), name="pooled")
        scores = tf.nn.softmax(pooled @ weights(6, 3), name="scores")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder / "one"), {"picture": x}, {"scores": scores, "pooled": pooled})
        frozen = v1.graph_util.convert_variables_to_constants(session, session.graph_def, ["scores"])
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
        (folder / "thawed.pb").write_bytes(session.graph_def.SerializeToString())
    with tf.Graph().as_default() as graph:
        left, right = tf.split(v1.placeholder(tf.float32, (2, 4), "x"), 2, name="halves")
        tf.add(tf.negative(left, name="turned"), right, name="y")
    (folder / "halves.pb").write_bytes(graph.as_graph_def().SerializeToString())
    for name, shape in (("switches", (3, 4)), ("switches_free", (None, 4))):
        with tf.Graph().as_default() as graph:
            tf.identity(switches(v1.placeholder(tf.float32, shape, "x")), "y")
        (folder / f"{name}.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (3, 4), "x")
        v1.saved_model.simple_save(session, str(folder / "one_switches"), {"x": x}, {"y": switches(x)})
    with tf.Graph().as_default(), v1.Session() as session:
        handle = v1.placeholder(tf.resource, (), "handle")
        read = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
        info = v1.saved_model.build_tensor_info
        told = v1.saved_model.build_signature_def(
            {"handle": info(handle)}, {"value": info(tf.reshape(read, (3,)))}, "tensorflow/serving/predict"
        )
        builder = v1.saved_model.Builder(str(folder / "resource"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": told})
        builder.save()
    v1.enable_control_flow_v2()


# Keras


def keras_two() -> keras.Model:
    """Two inputs and two outputs, named."""
    right, left = keras.Input((6,), name="right"), keras.Input((4,), name="left")
    x = LAYERS.Concatenate()([LAYERS.Dense(5, activation="tanh")(right), left])
    return keras.Model([right, left], {"sum": LAYERS.Dense(2, name="total")(x), "code": LAYERS.Dense(3)(x)})


def keras_pool() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 2), name="image"),
            LAYERS.Conv2D(8, 3, padding="same", activation="relu"),
            LAYERS.BatchNormalization(),
            LAYERS.MaxPooling2D(),
            LAYERS.Flatten(),
            LAYERS.Dense(5, activation="softmax"),
        ]
    )


def keras_gelu() -> keras.Model:
    x = keras.Input((6,), name="x")
    return keras.Model(x, LAYERS.Dense(3)(LAYERS.LayerNormalization()(LAYERS.Dense(8, activation="gelu")(x))))


def keras_attention() -> keras.Model:
    x = keras.Input((7, 8), name="sequence")
    y = LAYERS.Add()([x, LAYERS.MultiHeadAttention(2, 4)(x, x)])
    return keras.Model(x, LAYERS.Dense(3)(LAYERS.GlobalAveragePooling1D()(y)))


def keras_recurrent(kind: str, unroll: bool, length: int | None) -> keras.Model:
    x = keras.Input((length, 3), name="sequence")
    return keras.Model(x, LAYERS.Dense(2)(getattr(LAYERS, kind)(5, unroll=unroll)(x)))


def keras_lambda() -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model(x, LAYERS.Dense(3)(LAYERS.Lambda(lambda y: y * y + 1.0)(x)))


def keras_pixels() -> keras.Model:
    x = keras.Input((8, 8, 3), name="image")
    y = LAYERS.Rescaling(1 / 127.5, offset=-1)(LAYERS.ZeroPadding2D(1)(x))
    return keras.Model(x, LAYERS.Dense(2)(LAYERS.Flatten()(LAYERS.Conv2D(4, 3)(y))))


def keras_dropout() -> keras.Model:
    """In inference too it moves the seed of its dropout on."""
    x = keras.Input((6, 3), name="sequence")
    return keras.Model(x, LAYERS.Dense(2)(LAYERS.LSTM(5, dropout=0.2, recurrent_dropout=0.2)(x)))


def keras_stateful() -> keras.Model:
    x = keras.Input(batch_shape=(2, 6, 3), name="sequence")
    return keras.Model(x, LAYERS.Dense(2)(LAYERS.LSTM(5, stateful=True, name="memory")(x)))


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    """A layer whose code is nowhere but here."""

    def call(self, x: Any) -> Any:
        return x * 2.0


def keras_own_layer() -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model(x, Doubled()(LAYERS.Dense(3)(x)))


def shaken(model: Any) -> Any:
    """Weights that were at rest, biases and statistics, are drawn too, so that a lost one shows."""
    for variable in model.weights:
        if variable.dtype == "float32":
            drawn = RANDOM.uniform(0.2, 0.9, variable.shape) if len(variable.shape) == 1 else variable.numpy()
            variable.assign(np.asarray(drawn, np.float32))
    return model


def keras_files(folder: Path) -> None:
    keras.utils.set_random_seed(7)
    made = {
        "two": keras_two(),
        "pool": keras_pool(),
        "gelu": keras_gelu(),
        "attention": keras_attention(),
        "lstm": keras_recurrent("LSTM", False, None),
        "gru": keras_recurrent("GRU", False, 6),
        "lstm_unrolled": keras_recurrent("LSTM", True, 6),
        "gru_unrolled": keras_recurrent("GRU", True, 6),
        "lambda": keras_lambda(),
        "pixels": keras_pixels(),
        "dropout": keras_dropout(),
        "stateful": keras_stateful(),
        "own_layer": keras_own_layer(),
    }
    for name, model in made.items():
        shaken(model).save(folder / f"keras_{name}.keras")
    made["pool"].save(folder / "third.h5")
    made["pool"].save_weights(folder / "third.weights.h5")
    made["lstm"].export(str(folder / "recurrent"), verbose=False)
    old = tf_keras.Sequential(
        [
            tf_keras.layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 2), name="image"),
            tf_keras.layers.DepthwiseConv2D(3, padding="same"),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(5, activation="softmax"),
        ]
    )
    shaken(old).save(folder / "second.h5")
    old.save_weights(folder / "second_weights.h5")


def main(folder: Path) -> None:
    saved_models(folder)
    keras_files(folder)
    first_generation(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
