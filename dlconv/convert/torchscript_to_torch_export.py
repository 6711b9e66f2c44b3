"""TorchScript -> an exported program (.pt2): the operators that run are recorded, and exported."""

from __future__ import annotations

import warnings

from dlconv.convert.edge import Made, Step
from dlconv.convert.torch_exporting import export, python_name
from dlconv.convert.torchscript_flat import open_flat, state_note, with_state
from dlconv.model import Signature, TensorSpec


def convert(step: Step) -> Made:
    """Writes model.pt2. Its inputs are named as Python allows (dots become underscores), its outputs as they were."""
    import torch

    flat = open_flat(step.source, step.signature, step.sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(export(flat), str(step.out_dir / "model.pt2"))
    inputs = tuple(
        TensorSpec(name, spec.dtype, spec.shape, "" if name == spec.source_name else spec.source_name, spec.permutation)
        for spec in flat.signature.inputs
        for name in [python_name(spec.name)]
    )
    made = Made("model.pt2", Signature(inputs, flat.signature.outputs), state_note(flat))
    return with_state(flat, made, step.out_dir)
