"""A Torch-TensorRT that is none: its function for a plan takes what the real one documents, and builds by the fake
TensorRT, of the program's ONNX. It shows that the call is right, and nothing of what Torch-TensorRT does."""

from __future__ import annotations

from typing import Any


class Input:
    """Of a fixed shape, or of a range of shapes."""

    def __init__(
        self, *, shape: Any = None, min_shape: Any = None, opt_shape: Any = None, max_shape: Any = None, dtype: Any
    ) -> None:
        if (shape is None) == (min_shape is None or opt_shape is None or max_shape is None):
            raise ValueError("either shape, or min_shape, opt_shape and max_shape")
        self.shape, self.range, self.dtype = shape, (min_shape, opt_shape, max_shape), dtype
