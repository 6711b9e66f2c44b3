"""TorchScript -> ONNX by torch.onnx's TorchScript exporter.

The archive is exported as it is; where the exporter cannot (control flow in Python, attributes that are set),
its constants are folded by freezing; and where that fails too, the operators that really run are recorded and
those are exported. The notes tell which of them it was.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_written import finish
from dlconv.convert.torchscript_flat import Flat, open_flat
from dlconv.errors import DlconvError
from dlconv.runtimes.torch_state import written_attributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPSET = 18


def convert(step: Step) -> Made:
    """Writes model.onnx (and model.onnx.data above 2 GB).

    settings: opset (18); ways: which of "plain", "frozen", "recorded" to try, in this order.
    """
    flat = open_flat(step.source, step.signature, step.sample)
    path = step.out_dir / "model.onnx"
    written = written_attributes(flat.source)
    ways = step.settings.get("ways") or (["recorded"] if written else ["plain", "frozen", "recorded"])
    way, failed = _export_first(flat, path, ways, int(step.settings.get("opset", OPSET)))
    signature, notes = finish(path, flat.signature)
    if written:
        notes += (f"state ({', '.join(written)}) is baked in: the artifact answers as on the first call after a reset",)
    if way != ways[0]:
        notes += (f"exported {way}, since {failed}",)
    return Made("model.onnx", signature, notes)


def _export_first(flat: Flat, path: Path, ways: list[str], opset: int) -> tuple[str, str]:
    """The first way that works, and what was wrong with those before; the last one's exception passes."""
    prepare: dict[str, Callable[[Flat], Any]] = {"plain": lambda flat: flat.module, "frozen": _frozen, "recorded": _recorded}
    failed: list[str] = []
    for way in ways[:-1]:
        try:
            _export(prepare[way](flat), flat, path, opset)
            return way, "; ".join(failed)
        except DlconvError:
            raise
        except Exception as error:  # the exporter raises of every kind; the next way may do
            failed.append(f"{way} failed: {_first_line(error)}")
            for left in path.parent.iterdir():
                left.unlink()
    _export(prepare[ways[-1]](flat), flat, path, opset)
    return ways[-1], "; ".join(failed)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _frozen(flat: Flat) -> Any:
    import torch

    return torch.jit.freeze(flat.module)


def _recorded(flat: Flat) -> Any:
    from dlconv.convert.torchscript_record import record

    return record(flat)


def _export(module: Any, flat: Flat, path: Path, opset: int) -> None:
    import torch

    specs = (*flat.signature.inputs, *flat.signature.outputs)
    dynamic = {spec.name: {axis: size for axis, size in enumerate(spec.shape or ()) if isinstance(size, str)} for spec in specs}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            flat.tensors,
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=[spec.name for spec in flat.signature.inputs],
            output_names=[spec.name for spec in flat.signature.outputs],
            dynamic_axes={name: axes for name, axes in dynamic.items() if axes},
        )
