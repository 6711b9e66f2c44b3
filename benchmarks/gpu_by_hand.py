"""An ONNX model to a TensorRT plan as one would by hand: the parser, the flags, the builder. Needs tensorrt alone.

python benchmarks/gpu_by_hand.py MODEL.onnx PLAN fp32|fp16 all|own
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tensorrt


def main(source: str, plan: str, precision: str, tactics: str) -> None:
    """Build it. tactics "own": no kernels of cuBLAS and cuDNN."""
    trt: Any = tensorrt
    log = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(log)
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(source):
        raise SystemExit(parser.get_error(0).desc())
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if tactics == "own":
        own = trt.TacticSource.EDGE_MASK_CONVOLUTIONS, trt.TacticSource.JIT_CONVOLUTIONS
        config.set_tactic_sources(sum(1 << int(source) for source in own))
        if hasattr(trt.PreviewFeature, "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"):
            config.set_preview_feature(trt.PreviewFeature.DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805, True)
    if precision == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    Path(plan).write_bytes(builder.build_serialized_network(network, config))


if __name__ == "__main__":
    main(*sys.argv[1:])
