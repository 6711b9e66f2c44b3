"""An exported program (.pt2) -> ONNX by torch.onnx's exporter for torch.export."""

from __future__ import annotations

import warnings

from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_written import finish
from dlconv.convert.torch_export_signature import with_outputs
from dlconv.convert.torch_exporting import write_onnx
from dlconv.runtimes.torch_program import load_exported

OPSET = 18


def convert(step: Step) -> Made:
    """Writes model.onnx, its weights in model.onnx.data where they are large. settings: opset (18)."""
    program = load_exported(step.source)
    signature = with_outputs(program, step.signature)
    path = step.out_dir / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_onnx(program, signature, path, int(step.settings.get("opset", OPSET)))
    made, notes = finish(path, signature)
    return Made("model.onnx", made, notes)
