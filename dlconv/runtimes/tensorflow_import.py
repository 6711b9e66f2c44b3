"""TensorFlow and Keras, imported quietly, on the CPU alone. Worker-side."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "CUDA_VISIBLE_DEVICES": "-1",
}


def tensorflow() -> Any:
    """The module `tensorflow`. What it prints at its start is of no use to anybody, and goes to no log."""
    os.environ.update(_QUIET)
    tf = import_module("tensorflow")
    tf.get_logger().setLevel("ERROR")
    return tf


def keras(backend: str = "tensorflow") -> Any:
    """The module `keras` on a backend ("tensorflow", "torch" or "jax"), which is the process's for good.

    Raises RuntimeError where the process has another.
    """
    os.environ.update(_QUIET)
    os.environ["KERAS_BACKEND"] = backend
    module = import_module("keras")
    if module.backend.backend() != backend:
        raise RuntimeError(f"this process has Keras on {module.backend.backend()}, not on {backend}")
    return module


def legacy_keras() -> Any:
    """The module `tf_keras`: Keras 2, which opens what Keras 3 refuses."""
    tensorflow()
    return import_module("tf_keras")
