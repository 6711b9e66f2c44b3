"""torch.export, forth and on: a recorded module as an exported program, and that program as ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv.convert.torchscript_flat import state_note
from dlconv.convert.torchscript_record import record
from dlconv.errors import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.convert.torchscript_flat import Flat
    from dlconv.model import Signature, TensorSpec

LARGE_BYTES = 1 << 30
OPSET = 18
"""What the exporters of PyTorch write, unless something else is asked for."""


def export(flat: Flat) -> Any:
    """The flat module as an exported program that takes its inputs by name and returns a dict of its outputs."""
    import torch

    specs = flat.signature.inputs
    free = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(spec.shape or ()) if isinstance(size, str)}
        for spec in specs
    )
    is_free = any(free)
    body = _translated(flat) if is_free else record(flat)
    module = _named(body, [python_name(spec.name) for spec in specs], [spec.name for spec in flat.signature.outputs])
    with torch.no_grad():
        return torch.export.export(module, flat.tensors, dynamic_shapes=free if is_free else None, strict=False)


def _translated(flat: Flat) -> Any:
    """The script translated operator by operator: the interpreter of scripts knows sizes only as numbers."""
    from torch._export.converter import TS2EPConverter

    if state_note(flat):
        raise Unsupported(
            "the model keeps state, and sizes of its inputs are free",
            wanted="sizes that are known, where state is baked in",
            mend="give each size as a number: " + " ".join(f"--input {spec}" for spec in flat.signature.inputs),
        )
    return TS2EPConverter(flat.module, flat.tensors).convert().module(check_guards=False)


def python_name(name: str) -> str:
    """The name as an argument of a Python function."""
    text = "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in name)
    return text if text.isidentifier() else f"_{text}"


def _named(body: Any, inputs: list[str], outputs: list[str]) -> Any:
    """`body` under a forward with these arguments (the exporter reads the names from it), that returns a dict."""
    import torch

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def answer(self, *tensors: Any) -> dict[str, Any]:
            found = self.body(*tensors)
            return dict(zip(outputs, found if isinstance(found, (tuple, list)) else (found,), strict=True))

    names = ", ".join(inputs)
    scope: dict[str, Any] = {}
    exec(f"def forward(self, {names}):\n    return self.answer({names})\n", scope)
    return type("Outer", (Outer,), {"forward": scope["forward"]})()


def write_onnx(program: Any, signature: Signature, path: Path, opset: int | None) -> None:
    """The exported program as ONNX at `path`, with the signature's names; large weights beside it.

    opset: None for `OPSET`, or the oldest newer one that has all of the operators. Raises Unsupported where the opset
    that is asked for lacks one.
    """
    plain = _without_fused(program)
    exported = _exported(plain, signature, opset or OPSET)
    operator, needed = _newest(exported.model.graph)
    if needed > (opset or OPSET):
        if opset is not None:
            raise Unsupported(f"opset {opset} has no {operator}", wanted=f"opset {needed} or newer")
        exported = _exported(plain, signature, needed)
    _name_sizes(exported, signature)
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    exported.save(str(path), external_data=size > LARGE_BYTES)


def _exported(program: Any, signature: Signature, opset: int) -> Any:
    import torch

    with torch.no_grad():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=[spec.name for spec in signature.inputs],
            output_names=[spec.name for spec in signature.outputs],
            verbose=False,
        )
    assert exported is not None, "the exporter returns nothing only where dynamo is off"
    return exported


def _newest(graph: Any) -> tuple[str, int]:
    """The operator of ONNX that came last, and the opset that it came with: the exporter writes some that are newer
    than the opset that it was told (DeformConv)."""
    import onnx

    kinds = {node.op_type for node in graph.all_nodes() if not node.domain}
    came = {kind: min(each.since_version for each in known) for kind in kinds if (known := _versions(onnx, kind))}
    return max(came.items(), key=lambda pair: pair[1], default=("", 0))


def _versions(onnx: Any, kind: str) -> list[Any]:
    return [each for each in onnx.defs.get_all_schemas_with_history() if each.name == kind and not each.domain]


def _without_fused(program: Any) -> Any:
    """The program with the fused layers of torch.nn.TransformerEncoder, which the exporter lacks, in their parts."""
    import torch

    from dlconv.convert.torchscript_plain import plain_operators

    fused = torch.ops.aten._transformer_encoder_layer_fwd.default
    if not any(node.target == fused for node in program.graph.nodes):
        return program
    return program.run_decompositions({fused: plain_operators()[fused]})


def _name_sizes(exported: Any, signature: Signature) -> None:
    """The exporter numbers free sizes; they get the names that the signature has."""
    specs: dict[str, TensorSpec] = {spec.name: spec for spec in (*signature.inputs, *signature.outputs)}
    names: dict[str, str] = {}
    graph = exported.model.graph
    for value in (*graph.inputs, *graph.outputs):
        shape = specs[value.name].shape if value.name in specs else None
        dims: tuple[Any, ...] = tuple(value.shape or ())
        for size, dim in zip(shape or (), dims, strict=False):
            if isinstance(size, str) and not isinstance(dim, int) and dim.value is not None:
                names.setdefault(str(dim.value), size)
    if names:
        exported.rename_axes(names)
