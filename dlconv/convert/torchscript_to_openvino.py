"""TorchScript -> OpenVINO by OpenVINO's own PyTorch frontend, without ONNX between."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.openvino_written import save
from dlconv.convert.torchscript_flat import open_flat
from dlconv.runtimes.torch_state import written_attributes

if TYPE_CHECKING:
    from dlconv.convert.torchscript_flat import Flat


def convert(step: Step) -> Made:
    """Writes model.xml and model.bin in the source's own precision.

    settings: way, "plain" (the script as it is), or "recorded" (the operators that run; the way of stateful models).
    """
    import openvino
    import torch

    flat = open_flat(step.source, step.signature, step.sample)
    written = written_attributes(flat.source)
    way = step.settings.get("way", "recorded" if written else "plain")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(flat.module if way == "plain" else _recorded(flat), example_input=flat.tensors)
    signature, notes = save(model, flat.signature, step.out_dir)
    if written:
        notes += (f"state ({', '.join(written)}) is baked in: the artifact answers as on the first call after a reset",)
    return Made("model.xml", signature, notes)


def _recorded(flat: Flat) -> Any:
    import torch

    from dlconv.convert.torchscript_record import record

    return torch.jit.trace(record(flat), flat.tensors, check_trace=False)
