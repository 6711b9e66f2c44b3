"""Operators of ONNX that are computed in int8 where int8 is asked for; the others stay in float32."""

from __future__ import annotations

from typing import Final

WEIGHED: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Where the time goes: sums of products with weights."""

QUANTISED: Final = (
    *WEIGHED,
    *("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Relu"),
    *("Reshape", "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
)
"""What is around those, and what moves their data: kernels for it exist in ONNX Runtime, OpenVINO and TensorRT, so that
a chain stays in int8. Softmax and normalisations are left out: they lose most by 8 bits, and cost little."""
