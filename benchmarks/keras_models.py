"""Small Keras models with drawn weights: a member of each family of keras.applications, and layers as people use them.

    python benchmarks/keras_models.py DIRECTORY [NAME ...]

in an interpreter that has TensorFlow and Keras 3 (that of the toolchain `tensorflow`, for one) writes NAME.keras for
each, and some as NAME.h5 and as the SavedModel NAME too. Nothing is downloaded. Weights are so large that every layer
shows in the answers, and BatchNormalization has the statistics of a pass over drawn samples. `keras_runs.py` exports
them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras  # noqa: TID253  (a script of its own)
import numpy as np
from keras_layers import TYPICAL, Entry

PIXELS = {"EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Small", "MobileNetV3Large", "ConvNeXtTiny"}
"""The families that scale pixels of 0 to 255 themselves."""
FAMILIES = {
    "MobileNet": 32, "MobileNetV2": 32, "MobileNetV3Small": 32, "MobileNetV3Large": 32, "EfficientNetB0": 32,
    "EfficientNetV2B0": 32, "ResNet50": 32, "ResNet50V2": 32, "DenseNet121": 32, "NASNetMobile": 32, "Xception": 71,
    "InceptionV3": 75, "InceptionResNetV2": 75, "ConvNeXtTiny": 32, "VGG16": 32,
}  # fmt: skip
"""The families of keras.applications, and the smallest image that each takes."""
ALSO_H5 = {"MobileNetV2", "MobileNetV3Small", "ResNet50", "conv1d_audio", "unet_nearest", "bilstm_text"}
ALSO_SAVED_MODEL = {"MobileNetV2", "EfficientNetB0", "ConvNeXtTiny", "bilstm_text", "causal_encoder", "several_dicts"}
BATCH = 32


def families() -> dict[str, Entry]:
    """The members of keras.applications, by name."""

    def entry(name: str, size: int) -> Entry:
        def build() -> Any:
            return getattr(keras.applications, name)(weights=None, classes=10, input_shape=(size, size, 3))

        return Entry(build, high=255.0 if name in PIXELS else 1.0)

    return {name: entry(name, size) for name, size in FAMILIES.items()}


def entries() -> dict[str, Entry]:
    """Every model, by name."""
    return {**TYPICAL, **families()}


def draw(model: Any, random: np.random.Generator) -> None:
    """Weights that keep the scale of what passes through a layer; no bias, scale or slope is at rest."""
    for variable in model.weights:
        if str(variable.dtype) not in ("float32", "float64"):
            continue
        kind, shape = variable.name, tuple(variable.shape)
        if kind in ("gamma", "scale"):
            drawn = random.normal(1.0, 0.1, shape)
        elif kind in ("beta", "bias"):
            drawn = random.normal(0.0, 0.2, shape)
        elif kind == "alpha":
            drawn = random.uniform(0.1, 0.4, shape)
        elif kind == "embeddings":
            drawn = random.normal(0.0, 1.0, shape)
        elif "kernel" in kind:
            fan = shape[:2] if len(shape) == 4 and shape[-1] == 1 else shape[:-1]
            drawn = random.normal(0.0, 1.4 * float(np.prod(fan) or 1) ** -0.5, shape)
        else:
            continue
        variable.assign(drawn.astype(str(variable.dtype)))


def settle(model: Any, entry: Entry, random: np.random.Generator) -> None:
    """BatchNormalization's statistics become those of one batch, layer after layer."""
    normalised = [each for each in model._flatten_layers() if type(each).__name__ == "BatchNormalization"]
    if not normalised:
        return
    kept = [each.momentum for each in normalised]
    for each in normalised:
        each.momentum = 0.0
    given = [_sample(tensor, entry, random) for tensor in keras.tree.flatten(model.inputs)]
    model(given if len(given) > 1 else given[0], training=True)
    for each, momentum in zip(normalised, kept, strict=True):
        each.momentum = momentum


def _sample(tensor: Any, entry: Entry, random: np.random.Generator) -> Any:
    shape = [BATCH, *(16 if size is None else size for size in tensor.shape[1:])]
    drawn = random.uniform(0.0, entry.high, shape) if entry.high > 1 else random.normal(0.0, 1.0, shape)
    return drawn.astype("float32")


def built(name: str, entry: Entry) -> Any:
    """The model of an entry, its weights drawn."""
    keras.utils.set_random_seed(7)
    keras.backend.clear_session()
    random = np.random.default_rng(7)
    model = entry.build()
    draw(model, random)
    settle(model, entry, random)
    if entry.after is not None:
        entry.after(model)
    return model


def write(name: str, model: Any, directory: Path) -> None:
    """Writes the files of a model."""
    model.save(directory / f"{name}.keras")
    if name in ALSO_H5:
        model.save(directory / f"{name}.h5")
    if name in ALSO_SAVED_MODEL:
        model.export(str(directory / name), verbose=False)


def main() -> int:
    """Writes the models that the command line names, or all; 1 where one could not be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", help="only these")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    bad = 0
    for name, entry in entries().items():
        if options.names and name not in options.names:
            continue
        start = time.monotonic()
        try:
            write(name, built(name, entry), options.directory)
        except Exception:
            bad += 1
            print(f"{name}: not built: {traceback.format_exc()[-600:]}", flush=True)
            continue
        print(f"{name}: written, {time.monotonic() - start:.1f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
