"""TorchScript -> ONNX by torch.onnx's exporters.

Where every size is known, the operators that really run are recorded and exported: that leaves no control flow, no
arithmetic on sizes, no state. Where sizes are free, the archive is exported as it is. What fails in one way is tried
in the next, and the notes tell which it was.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.onnx_written import finish
from dlconv.convert.torch_exporting import OPSET, export, write_onnx
from dlconv.convert.torchscript_flat import Flat, open_flat, state_note, with_state
from dlconv.errors import Unsupported, is_out_of_memory

if TYPE_CHECKING:
    from pathlib import Path


def convert(step: Step) -> Made:
    """Writes model.onnx (and model.onnx.data beside it where the weights are large).

    settings: opset (18); ways: which of "recorded" (the operators that run), "plain" (the script as it is), "frozen"
    (its constants folded) and "exported" (the operators that run, by way of torch.export) to try, in this order.
    """
    flat = open_flat(step.source, step.signature, step.sample)
    path = step.out_dir / "model.onnx"
    ways = step.settings.get("ways") or usual_ways(flat)
    way, failed = _export_first(flat, path, ways, step.settings.get("opset"))
    signature, notes = finish(path, flat.signature)
    told = (f"{way}, since {failed}",) if failed else ()
    made = Made("model.onnx", signature, (*notes, *state_note(flat), *told))
    return with_state(flat, made, step.out_dir)


def usual_ways(flat: Flat) -> list[str]:
    """The ways in the order in which they serve best. A script that keeps state is right only when it is recorded."""
    is_free = any(spec.is_dynamic for spec in flat.signature.inputs)
    if state_note(flat):
        return ["exported"] if is_free else ["recorded", "exported"]
    if is_straight(flat.module):  # then the script is what a record of it would be, and takes no seconds to make
        return ["plain", "recorded", "exported", "frozen"] if not is_free else ["plain", "frozen", "exported"]
    return ["plain", "frozen", "exported"] if is_free else ["recorded", "exported", "plain", "frozen"]


_TURNS = {
    "prim::If", "prim::Loop", "prim::SetAttr", "prim::RaiseException", "prim::PythonOp", "prim::CallFunction",
    "prim::CallMethod", "prim::NumToTensor", "prim::ListUnpack", "prim::dtype", "prim::device",
    "aten::len", "aten::size", "aten::Int", "aten::__getitem__",
}  # fmt: skip
"""Control flow, writes, and arithmetic on sizes: what a record of the operators that run leaves out."""


_VIEWS = {
    "aten::slice", "aten::select", "aten::narrow", "aten::view", "aten::reshape", "aten::flatten", "aten::transpose",
    "aten::t", "aten::permute", "aten::unsqueeze", "aten::squeeze", "aten::expand", "aten::diagonal", "aten::chunk",
    "aten::split", "aten::unbind", "aten::detach", "aten::contiguous", "aten::alias", "aten::numpy_T",
}  # fmt: skip
"""What a write may reach another tensor through, which the script exporter loses."""


def is_straight(module: Any) -> bool:
    """Whether the script is a straight line of operators on tensors, none of which writes into a part of another."""
    return all(node.kind() not in _TURNS and not _writes_into_view(node) for node in module.inlined_graph.nodes())


def _writes_into_view(node: Any) -> bool:
    if not node.kind().endswith("_") or node.kind().endswith("__"):
        return False
    target = next(iter(node.inputs())).node().kind()
    return target in _VIEWS or node.kind() in ("aten::copy_", "aten::index_put_")


def _export_first(flat: Flat, path: Path, ways: list[str], opset: int | None) -> tuple[str, str]:
    """The first way that works, and what was wrong with those before; the last one's exception passes."""
    failed: list[str] = []
    for way in ways[:-1]:
        try:
            _export(way, flat, path, opset)
            return way, "; ".join(failed)
        except Exception as error:  # the exporter raises of every kind; the next way may do
            if is_out_of_memory(error):
                raise
            failed.append(f"{way} failed ({_first_line(error)})")
            for left in path.parent.iterdir():
                left.unlink()
    _export(ways[-1], flat, path, opset)
    return ways[-1], "; ".join(failed)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _export(way: str, flat: Flat, path: Path, opset: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way == "exported":
            write_onnx(export(flat), flat.signature, path, opset)
        else:
            _export_script(_prepared(way, flat), flat, path, opset or OPSET)


def _prepared(way: str, flat: Flat) -> Any:
    import torch

    from dlconv.convert.torchscript_record import record, writes_into_views

    if way == "recorded":
        graph = record(flat)
        if writes_into_views(graph):
            raise Unsupported(
                "the program writes into parts of a tensor, which this exporter loses", mend="the way exported"
            )
        return graph
    if flat.lift is not None:
        raise Unsupported("the script as it is keeps its state inside", mend="the way recorded")
    return torch.jit.freeze(flat.module) if way == "frozen" else flat.module


def _export_script(module: Any, flat: Flat, path: Path, opset: int) -> None:
    import torch

    specs = (*flat.signature.inputs, *flat.signature.outputs)
    free = {
        spec.name: {axis: size for axis, size in enumerate(spec.shape or ()) if isinstance(size, str)} for spec in specs
    }
    with torch.no_grad():
        torch.onnx.export(
            module,
            flat.tensors,
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=[spec.name for spec in flat.signature.inputs],
            output_names=[spec.name for spec in flat.signature.outputs],
            dynamic_axes={name: axes for name, axes in free.items() if axes},
        )
