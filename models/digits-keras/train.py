"""Train the Keras twin of the sample model: a small CNN on scikit-learn's handwritten digits, channels last.

    python models/digits-keras/train.py [FOLDER]

writes digits.keras, with a free batch dimension, and samples.npz and labels.npz: held-out images under the name of the
model's input, and their classes. The file is the same whatever backend Keras trains it with; here it is PyTorch. The
seed is fixed and one thread computes.
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

SEED = 20261122
EPOCHS = 40
BATCH = 64
SAMPLES = 64


def model() -> keras.Model:
    """image: (N, 8, 8, 1) float32, pixels in [0, 1] -> probabilities: (N, 10) float32."""
    image = keras.Input((8, 8, 1), name="image")
    x = image
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Dense(32, activation="gelu")(x)
    probabilities = keras.layers.Dense(10, activation="softmax", name="probabilities")(x)
    return keras.Model(image, probabilities, name="digits")


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and labels to train on, and those held out: a quarter, in the same proportion of classes."""
    images, labels = load_digits(return_X_y=True)
    pixels = (images / 16.0).astype(np.float32).reshape(-1, 8, 8, 1)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels.astype(np.int64), test_size=0.25, random_state=SEED, stratify=labels
    )
    return train_x, train_y, test_x, test_y


def main(folder: Path) -> None:
    """Train, write all files into `folder` and print the accuracy on the held-out images."""
    keras.utils.set_random_seed(SEED)
    train_x, train_y, test_x, test_y = data()
    made = model()
    made.compile(
        keras.optimizers.AdamW(2e-3, weight_decay=1e-2), keras.losses.CategoricalCrossentropy(label_smoothing=0.05)
    )
    made.fit(train_x, np.eye(10, dtype=np.float32)[train_y], batch_size=BATCH, epochs=EPOCHS, verbose=0)
    plain = model()  # without the optimizer's state
    plain.set_weights(made.get_weights())
    plain.save(folder / "digits.keras", zipped=True)
    np.savez_compressed(folder / "samples.npz", image=test_x[:SAMPLES])
    np.savez_compressed(folder / "labels.npz", label=test_y[:SAMPLES])
    right = int((np.asarray(made.predict(test_x, verbose=0)).argmax(axis=1) == test_y).sum())
    print(f"held-out accuracy: {right / len(test_y):.4f} ({right} of {len(test_y)})")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
