"""TensorFlow and Keras, imported on the CPU alone. Worker-side: what they print goes to the worker's log."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

_SETTINGS = {"CUDA_VISIBLE_DEVICES": "-1"}


def tensorflow() -> Any:
    """The module `tensorflow`."""
    os.environ.update(_SETTINGS)
    tf = import_module("tensorflow")
    tf.get_logger().setLevel("ERROR")
    return tf


def keras(backend: str = "tensorflow") -> Any:
    """The module `keras` on a backend ("tensorflow", "torch" or "jax"), which is the process's for good.

    Raises RuntimeError where the process has another.
    """
    os.environ.update(_SETTINGS)
    os.environ["KERAS_BACKEND"] = backend
    module = import_module("keras")
    if module.backend.backend() != backend:
        raise RuntimeError(f"this process has Keras on {module.backend.backend()}, not on {backend}")
    return module


def legacy_keras() -> Any:
    """The module `tf_keras`: Keras 2, which opens what Keras 3 refuses."""
    tensorflow()
    return import_module("tf_keras")
