"""An exported program (.pt2) -> TFLite by litert-torch: no ONNX in between."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from dlconv.convert.edge import Made, Step
from dlconv.convert.tflite_attempts import as_answered, proved, unaccelerated
from dlconv.model import Signature
from dlconv.runtimes import tflite
from dlconv.runtimes.torch_export_signature import with_outputs
from dlconv.runtimes.torch_program import ExportedProgram
from dlconv.runtimes.torchscript import named_tensors, to_numpy, to_torch

ENTRY = "model.tflite"


def convert(step: Step) -> Made:
    """Writes model.tflite, its inputs and outputs by the signature's names.

    Every size is the sample's: litert-torch 0.10 lowers no program that was tried with a free one.
    """
    import torch

    opened = ExportedProgram(step.source)
    signature = with_outputs(opened.program, step.signature)
    module = _named(opened, signature)
    tensors = {spec.name: to_torch(step.sample[spec.name], spec.dtype) for spec in signature.inputs}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = {name: to_numpy(tensor) for name, tensor in module(**tensors).items()}
        _write(module, tensors, str(step.out_dir / ENTRY))
    session = tflite.TfliteSession(step.out_dir / ENTRY, threads=1)
    fed = {spec.name: step.sample[spec.name] for spec in signature.inputs}
    answer = proved(session, fed, wanted)
    told = unaccelerated(session)
    inputs = tuple(
        replace(
            spec, dtype=np.dtype(session.inputs[spec.name]["dtype"]).name, shape=tuple(step.sample[spec.name].shape)
        )
        for spec in signature.inputs
        if spec.name in session.inputs
    )
    outputs = tuple(as_answered(spec, [answer[spec.name]]) for spec in signature.outputs)
    frozen = sorted({dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)})
    if frozen:
        told = (f"{', '.join(frozen)} cannot stay free by this converter", *told)
    return Made(ENTRY, Signature(inputs, outputs, signature.constants), told)


def _named(opened: ExportedProgram, signature: Signature) -> Any:
    """The program as a module that takes its inputs by the signature's names, and gives its outputs so."""
    import torch

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = opened.copy()

        def forward(self, **tensors: Any) -> dict[str, Any]:
            given = {spec.source_name: tensors[spec.name] for spec in signature.inputs}
            answer = named_tensors(opened.call(self.module, given))
            return {spec.name: answer[spec.source_name] for spec in signature.outputs}

    return Named()


def _write(module: Any, tensors: dict[str, Any], path: str) -> None:
    import litert_torch

    litert_torch.convert(module, sample_kwargs=tensors).export(path)
