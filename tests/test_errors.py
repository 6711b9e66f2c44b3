"""What of a foreign message is told: the line that says why, not the places in a library's source before it."""

from __future__ import annotations

import pytest

from dlconv.errors import cause_of

OPENVINO_RUN = """RuntimeError: Exception from src/inference/src/cpp/infer_request.cpp:224:
Exception from src/plugins/intel_cpu/src/node.cpp:794:
[CPU] AvgPool node with name 'pool' Check 'cmp::le(kernel, dim.get_length())' failed at src/pooling.hpp:149:
While validating node 'opset1::AvgPool pool (x[0]:f32[?,480,1..,1..]) -> (f32[?,480,1..,1..])':
Kernel after dilation has size (dim: 3) larger than the data shape after padding (dim: 1) at axis 0.
"""
OPENVINO_RULE = """openvino._pyopenvino.OpConversionFailure: Summary:
-- No conversion rule found for operations: ai.onnx.ml.TreeEnsembleRegressor
"""


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (OPENVINO_RUN, "Kernel after dilation has size (dim: 3) larger than the data shape after padding (dim: 1) at"),
        (OPENVINO_RULE, "-- No conversion rule found for operations: ai.onnx.ml.TreeEnsembleRegressor"),
        ("ValueError: no such axis\nmore", "ValueError: no such axis"),
        ("RuntimeError: Exception from src/core.cpp:3:", "RuntimeError: Exception from src/core.cpp:3:"),
        ("", "(no message)"),
    ],
)
def test_the_cause_is_the_first_line_that_tells_one(message: str, cause: str) -> None:
    assert cause_of(message).startswith(cause)
