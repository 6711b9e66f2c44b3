"""TorchScript -> OpenVINO by OpenVINO's own PyTorch frontend, without ONNX between."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.openvino_written import save
from dlconv.convert.torchscript_flat import open_flat, state_note, with_state
from dlconv.errors import is_out_of_memory
from dlconv.runtimes.openvino_ports import import_openvino

if TYPE_CHECKING:
    from dlconv.convert.torchscript_flat import Flat


def convert(step: Step) -> Made:
    """Writes model.xml and model.bin in the source's own precision.

    settings: ways, which of "plain" (the script as it is) and "recorded" (the operators that run) to try, in order.
    """
    flat = open_flat(step.source, step.signature, step.sample)
    stateful = state_note(flat)
    ways = step.settings.get("ways") or (["recorded"] if stateful else ["plain", "recorded"])
    model, failed = _first(flat, ways)
    signature, notes = save(model, flat.signature, step.out_dir)
    notes += stateful
    if failed:
        notes += (f"converted from what was recorded, since {failed}",)
    return with_state(flat, Made("model.xml", signature, notes), step.out_dir)


def _first(flat: Flat, ways: list[str]) -> tuple[Any, str]:
    """The model by the first way that works, and why those before did not; the last one's exception passes."""
    openvino = import_openvino()
    import torch

    failed: list[str] = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for way in ways[:-1]:
            try:
                return openvino.convert_model(_PREPARE[way](flat), example_input=flat.tensors), "; ".join(failed)
            except Exception as error:  # the frontend raises of every kind; the next way may do
                if is_out_of_memory(error):
                    raise
                failed.append(f"{way} failed: {type(error).__name__}: {str(error).strip()[:200]}")
        return openvino.convert_model(_PREPARE[ways[-1]](flat), example_input=flat.tensors), "; ".join(failed)


def _plain(flat: Flat) -> Any:
    return flat.module


def _recorded(flat: Flat) -> Any:
    import torch

    from dlconv.convert.torchscript_record import record

    return torch.jit.trace(record(flat), flat.tensors, check_trace=False)


_PREPARE = {"plain": _plain, "recorded": _recorded}
