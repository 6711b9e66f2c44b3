"""An exported program (.pt2) -> OpenVINO by OpenVINO's own PyTorch frontend."""

from __future__ import annotations

import warnings

from dlconv.convert.edge import Made, Step
from dlconv.convert.openvino_written import save
from dlconv.runtimes.openvino_ports import import_openvino
from dlconv.runtimes.torch_export_signature import with_outputs
from dlconv.runtimes.torch_program import load_exported


def convert(step: Step) -> Made:
    """Writes model.xml and model.bin in the source's own precision."""
    openvino = import_openvino()
    import torch

    program = load_exported(step.source)
    signature = with_outputs(program, step.signature)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(program)
    made, notes = save(model, signature, step.out_dir)
    return Made("model.xml", made, notes)
