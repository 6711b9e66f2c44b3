"""How the artifacts of a target show their tensors to `dlconv diff`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Course:
    """How the artifacts of a target show their tensors, "" where they do not; cut: how a part is cut out of them."""

    toolchain: str
    module: str = ""
    outline: str = ""
    arithmetic: str = ""
    cut: str = ""


ONNX_OUTLINE: Final = "dlconv.runtimes.onnx_outputs:outline"
ONNX: Final = Course(
    "onnx",
    "dlconv.runtimes.onnx_courses",
    ONNX_OUTLINE,
    "onnxruntime",
    "dlconv.runtimes.onnx_outputs:cut",
)
COURSES: Final = {
    "onnx": ONNX,
    "onnxruntime": ONNX,
    "openvino": Course(
        "openvino",
        "dlconv.runtimes.openvino_courses",
        "dlconv.runtimes.openvino_courses:outline",
        "float32",
        "dlconv.runtimes.openvino_courses:cut",
    ),
    "tflite": Course(
        "tflite", "dlconv.runtimes.tflite_courses", "dlconv.runtimes.tflite_courses:outline", "the file's own"
    ),
}
"""By target."""
