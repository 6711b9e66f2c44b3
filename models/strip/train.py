"""Train the recurrent sample model: it reads a strip of handwritten digits, of any length, column by column.

    python models/strip/train.py [FOLDER]

A strip is made of one to six of scikit-learn's digits (8 x 8 pixels) side by side, so it is 8 to 48 columns long. The
model tells for each column which digit it is part of. Writes strip.keras, with a free batch and a free length, and
samples.npz: held-out strips of several lengths, a sample each. Trained by Keras on PyTorch; the seed is fixed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 20261123
STEPS = 500
BATCH = 64
LENGTHS = (1, 2, 3, 4, 6)
SAMPLES = 10


def model() -> keras.Model:
    """columns: (N, T, 8) float32, pixels in [0, 1] -> digits: (N, T, 10) float32, the probabilities of each column."""
    columns = keras.Input((None, 8), name="columns")
    x = keras.layers.Dense(24, activation="relu")(columns)
    x = keras.layers.Bidirectional(keras.layers.GRU(24, return_sequences=True))(x)
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.LSTM(24, return_sequences=True)(x)
    digits = keras.layers.Dense(10, activation="softmax", name="digits")(x)
    return keras.Model(columns, digits, name="strip")


def strips(
    images: np.ndarray, labels: np.ndarray, count: int, length: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`count` strips of `length` digits: columns (count, 8 * length, 8), and the digit that each column is part of."""
    chosen = random.integers(0, len(images), size=(count, length))
    columns = images[chosen].transpose(0, 1, 3, 2).reshape(count, 8 * length, 8)
    return columns, np.repeat(labels[chosen], 8, axis=1)


def main(folder: Path) -> None:
    """Train, write all files into `folder` and print the accuracy on held-out strips, of columns."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    images, labels = load_digits(return_X_y=True)
    pixels = (images / 16.0).astype(np.float32).reshape(-1, 8, 8)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels.astype(np.int64), test_size=0.25, random_state=SEED, stratify=labels
    )
    made = model()
    made.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, STEPS)), "sparse_categorical_crossentropy"
    )
    for step in range(STEPS):
        made.train_on_batch(*strips(train_x, train_y, BATCH, LENGTHS[step % 4], random))
    plain = model()  # without the optimizer's state
    plain.set_weights(made.get_weights())
    plain.save(folder / "strip.keras", zipped=True)
    held = [strips(test_x, test_y, 1, LENGTHS[number % len(LENGTHS)], random)[0] for number in range(SAMPLES)]
    np.savez_compressed(
        folder / "samples.npz", **{f"{number:03d}.columns": columns for number, columns in enumerate(held)}
    )
    columns, wanted = strips(test_x, test_y, 256, 5, random)  # a length that it was not trained on
    right = np.mean(np.asarray(made.predict(columns, verbose=0)).argmax(axis=-1) == wanted)
    print(f"held-out accuracy: {right:.4f} of columns, in strips of five digits")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
