"""A plugin of dlconv: the target onnx-reference. Only data here: no framework is loaded until a worker needs it."""

from __future__ import annotations

from dlconv.candidate import TargetRuntime
from dlconv.convert.graph import Converter
from dlconv.formats import Format
from dlconv.plugins import Plugin
from dlconv.workers.toolchains import Toolchain
from dlconv_onnx_reference.ulps import few_ulps

TOOLCHAIN = Toolchain(
    name="onnx-reference",
    purpose="runs ONNX models by ONNX's own reference evaluator",
    requirements=("dlconv-onnx-reference>=0.1,<1", "onnx>=1.19,<1.24"),
    python=">=3.10",
    python_wanted=(),
    extra="",
    lock="",
)

RUNTIME = TargetRuntime(
    name="onnx-reference",
    toolchain="onnx-reference",
    adapter="dlconv_onnx_reference.runtime",
    settings={},
    format=Format.ONNX,
    factor=40.0,
)

CONVERTER = Converter(
    source="onnx",
    target="onnx-reference",
    module="dlconv_onnx_reference.onnx_to_onnx_reference",
    toolchain="onnx-reference",
    cost=1,
    why="the simplified model as it is, if the evaluator knows all of its operators",
)

PLUGIN = Plugin(
    converters=(CONVERTER,),
    runtimes={"onnx-reference": RUNTIME},
    toolchains=(TOOLCHAIN,),
    validators=(few_ulps,),
)
