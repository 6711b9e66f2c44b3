"""The compiler's side."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

ASKED: list[dict[str, Any]] = []
"""What each build was told."""


def convert_exported_program_to_serialized_trt_engine(
    exported_program: Any,
    *,
    arg_inputs: list[Any],
    kwarg_inputs: dict[str, Any],
    disable_tf32: bool = False,
    workspace_size: int = 0,
    optimization_level: int | None = None,
    version_compatible: bool = False,
    hardware_compatible: bool = False,
    enable_weight_streaming: bool = False,
    immutable_weights: bool = True,
    timing_cache_path: str = "",
) -> bytes:
    ASKED.append(dict(locals()))
    import onnx
    import tensorrt
    import torch

    if timing_cache_path:
        Path(timing_cache_path).write_bytes(b"timings")
    given = [*arg_inputs, *kwarg_inputs.values()]
    names = [spec.arg.name for spec in exported_program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    count = sum(spec.kind.name == "USER_OUTPUT" for spec in exported_program.graph_signature.output_specs)
    exported = torch.onnx.export(
        exported_program,
        dynamo=True,
        opset_version=18,
        input_names=names,
        output_names=[f"output{number}" for number in range(count)],
        verbose=False,
    )
    file = io.BytesIO()
    exported.save(file)
    model = onnx.load_from_string(file.getvalue())
    logger = tensorrt.ILogger()
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    network._take(model)
    config = builder.create_builder_config()
    if disable_tf32:
        config.clear_flag(tensorrt.BuilderFlag.TF32)
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    free = {name: each.range for name, each in zip(names, given, strict=True) if each.shape is None}
    if free:
        profile = builder.create_optimization_profile()
        for name, ends in free.items():
            profile.set_shape(name, *ends)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return bytes(plan)
