"""A frozen graph of TensorFlow to OpenVINO IR by OpenVINO's own TensorFlow frontend, without ONNX between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.convert import openvino_tensorflow

if TYPE_CHECKING:
    from dlconv.convert.edge import Made, Step
    from dlconv.model import TensorSpec


def convert(step: Step) -> Made:
    """The IR of the part between the signature's tensors, "model.xml" and "model.bin"; free sizes stay free.

    Raises Unsupported for strings and for operators that the frontend lacks, each named.
    """
    known = step.signature
    return openvino_tensorflow.convert(step, _tensors(known.inputs), _tensors(known.outputs))


def _tensors(specs: tuple[TensorSpec, ...]) -> dict[str, str]:
    """A node stands for its first output."""
    return {spec.name: spec.name if ":" in spec.name else f"{spec.name}:0" for spec in specs}
