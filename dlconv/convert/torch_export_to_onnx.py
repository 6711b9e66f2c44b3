"""An exported program (.pt2) -> ONNX by torch.onnx's exporter for torch.export."""

from __future__ import annotations

import warnings
from typing import Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_written import finish
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes.torch_program import load_exported

OPSET = 18


def convert(step: Step) -> Made:
    """Writes model.onnx, its weights in model.onnx.data where they are large. settings: opset (18)."""
    import torch

    program = load_exported(step.source)
    signature = step.signature if step.signature.outputs else _with_outputs(step)
    path = step.out_dir / "model.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=int(step.settings.get("opset", OPSET)),
            input_names=[spec.name for spec in signature.inputs],
            output_names=[spec.name for spec in signature.outputs],
            verbose=False,
        )
        _name_sizes(exported, signature)
        exported.save(str(path), external_data=_bytes_of(program) > 1 << 30)
    made, notes = finish(path, signature)
    return Made("model.onnx", made, notes)


def _with_outputs(step: Step) -> Signature:
    from dlconv.convert.torch_export_signature import read

    outputs = Signature.from_dict(read(str(step.source))["signature"]).outputs
    return Signature(step.signature.inputs, outputs, step.signature.constants)


def _bytes_of(program: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())


def _name_sizes(exported: Any, signature: Signature) -> None:
    """The exporter numbers free sizes; they get the names that the signature has."""
    specs: dict[str, TensorSpec] = {spec.name: spec for spec in (*signature.inputs, *signature.outputs)}
    names: dict[str, str] = {}
    graph = exported.model.graph
    for value in (*graph.inputs, *graph.outputs):
        shape = specs[value.name].shape if value.name in specs else None
        for size, dim in zip(shape or (), value.shape or (), strict=False):
            if isinstance(size, str) and not isinstance(dim, int) and dim.value is not None:
                names.setdefault(str(dim.value), size)
    if names:
        exported.rename_axes(names)
