"""An exported program (.pt2) -> ONNX by torch.onnx's exporters."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_written import finish
from dlconv.convert.torch_exporting import OPSET, write_onnx
from dlconv.runtimes.torch_export_signature import with_outputs
from dlconv.runtimes.torch_program import ExportedProgram, load_exported
from dlconv.runtimes.torchscript import named_tensors, to_torch

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.model import Signature, TensorSpec


def convert(step: Step) -> Made:
    """Writes model.onnx, its weights in model.onnx.data where they are large.

    settings: opset (18); way: "exported" (the exporter for torch.export) or "traced" (the module is run on the
    sample, and what ran goes through the exporter for scripts).
    """
    program = load_exported(step.source)
    signature = with_outputs(program, step.signature)
    path = step.out_dir / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opset: int | None = step.settings.get("opset")
        if step.settings.get("way", "exported") == "exported":
            write_onnx(program, signature, path, opset)
        else:
            signature = _write_traced(step, signature, path, opset or OPSET)
    made, notes = finish(path, signature)
    return Made("model.onnx", made, notes)


def _write_traced(step: Step, signature: Signature, path: Path, opset: int) -> Signature:
    """What ran has the sample's sizes: the signature with these."""
    import torch

    opened = ExportedProgram(step.source)
    names = [spec.source_name for spec in signature.inputs]

    class Leaves(torch.nn.Module):
        """The program with its inputs in order, and its outputs as a flat tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.module = opened.module

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            answer = opened.call(self.module, dict(zip(names, tensors, strict=True)))
            return tuple(named_tensors(answer).values())

    tensors = tuple(to_torch(step.sample[spec.name], spec.dtype) for spec in signature.inputs)
    leaves = Leaves()
    with torch.no_grad():
        traced: Any = torch.jit.trace(leaves, tensors, check_trace=False)
        torch.onnx.export(
            traced,
            tensors,
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=[spec.name for spec in signature.inputs],
            output_names=[spec.name for spec in signature.outputs],
        )
        answers = leaves(*tensors)
    return replace(signature, inputs=_sized(signature.inputs, tensors), outputs=_sized(signature.outputs, answers))


def _sized(specs: tuple[TensorSpec, ...], tensors: tuple[Any, ...]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, shape=tuple(tensor.shape)) for spec, tensor in zip(specs, tensors, strict=True))
