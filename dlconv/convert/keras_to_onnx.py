"""A Keras file to ONNX: by tf2onnx, or by Keras' own export on its PyTorch or its JAX backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlconv.convert.edge import Made, Step


def convert(step: Step) -> Made:
    """The ONNX model, as "model.onnx": inputs and outputs by the signature's names, axes as they are.

    settings: "backend": "tensorflow" (the default: tf2onnx), "torch" or "jax"; "opset" (18; 21 on JAX).
    Raises Unsupported for operators that the backend's exporter lacks, each named, and for strings.
    """
    if step.settings.get("backend", "tensorflow") == "tensorflow":
        from dlconv.convert import tf2onnx_running

        return tf2onnx_running.convert(step)
    from dlconv.convert import keras_exported

    return keras_exported.convert(step)
