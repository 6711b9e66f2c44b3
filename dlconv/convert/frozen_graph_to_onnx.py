"""A frozen graph of TensorFlow to ONNX by tf2onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.convert import tf2onnx_running

if TYPE_CHECKING:
    from dlconv.convert.edge import Made, Step


def convert(step: Step) -> Made:
    """The ONNX model of a frozen graph of TensorFlow, as "model.onnx": the signature's names, axes as they are.

    settings: "opset" (18). Raises Unsupported for operators that tf2onnx lacks, each named, for strings, and for 2 GB
    of weights and more.
    """
    return tf2onnx_running.convert(step)
