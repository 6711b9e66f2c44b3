"""TorchScript -> an exported program (.pt2): the operators that run are recorded, and exported."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.torchscript_flat import open_flat
from dlconv.convert.torchscript_record import record
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes.torch_state import written_attributes

if TYPE_CHECKING:
    from dlconv.convert.torchscript_flat import Flat


def convert(step: Step) -> Made:
    """Writes model.pt2. Its inputs are named as Python allows (dots become underscores); its outputs keep their names."""
    import torch

    flat = open_flat(step.source, step.signature, step.sample)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = export(flat)
        torch.export.save(program, str(step.out_dir / "model.pt2"))
    written = written_attributes(flat.source)
    notes = (f"state ({', '.join(written)}) is baked in: the artifact answers as on the first call after a reset",)
    inputs = tuple(
        TensorSpec(python_name(spec.name), spec.dtype, spec.shape, spec.source_name, spec.permutation)
        for spec in flat.signature.inputs
    )
    signature = Signature(inputs, flat.signature.outputs, ())
    return Made("model.pt2", signature, notes if written else ())


def export(flat: Flat) -> Any:
    """The flat module as an exported program that takes its inputs by name and returns a dict of its outputs."""
    import torch

    graph = record(flat)
    specs = flat.signature.inputs
    module = _renamed(graph, [python_name(spec.name) for spec in specs], [spec.name for spec in flat.signature.outputs])
    dims = {size: torch.export.Dim.DYNAMIC for spec in specs for size in spec.shape or () if isinstance(size, str)}
    shapes = tuple(
        {axis: dims[size] for axis, size in enumerate(spec.shape or ()) if isinstance(size, str)} for spec in specs
    )
    return torch.export.export(module, flat.tensors, dynamic_shapes=shapes if dims else None, strict=False)


def python_name(name: str) -> str:
    """The name as an argument of a Python function."""
    text = "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in name)
    return text if text.isidentifier() else f"_{text}"


def _renamed(graph: Any, inputs: list[str], outputs: list[str]) -> Any:
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    for node, name in zip(placeholders, inputs, strict=True):
        node.name = node.target = name
    output = next(node for node in graph.graph.nodes if node.op == "output")
    output.args = (dict(zip(outputs, output.args[0], strict=True)),)
    graph.graph._codegen = type(graph.graph._codegen)() if not outputs else _plain_codegen()
    graph.recompile()
    return graph


def _plain_codegen() -> Any:
    # make_fx flattens by its own code generator; a graph that takes tensors and returns a dict needs the plain one.
    from torch.fx.graph import CodeGen

    return CodeGen()
