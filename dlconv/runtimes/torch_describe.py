"""What a PyTorch file is, for `dlconv inspect`: how it is called, its operators, its weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.runtimes.torch_program import is_exported_program, load_exported
from dlconv.runtimes.torch_state import all_nodes, written_attributes
from dlconv.runtimes.torchscript import constants_of, dtype_name, load, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def describe(path: str) -> dict[str, Any]:
    """{"kind", "schema" (forward's, as text), "methods", "operators" (name -> count, most frequent first), "parameters"
    (with what freezing made constants) and "buffers" (dtype -> {"count", "size_bytes"}), "state", "training",
    "signature" (of a .pt2 alone, as a dict)}."""
    return _exported(path) if is_exported_program(Path(path)) else _scripted(path)


def _scripted(path: str) -> dict[str, Any]:
    module = load(path)
    schema = schema_of(module)
    kinds = (node.kind() for node in all_nodes(module.inlined_graph))
    return {
        "kind": "torchscript",
        "schema": str(schema),
        "methods": list(module._c._method_names()),
        "operators": _counted(kind for kind in kinds if not kind.startswith("prim::")),
        "parameters": _weights([*module.parameters(), *constants_of(module)]),
        "buffers": _weights(module.buffers()),
        "state": written_attributes(module),
        "training": bool(getattr(module, "training", False)),
        "signature": None,
    }


def _exported(path: str) -> dict[str, Any]:
    from dlconv.runtimes.torch_export_signature import read_program

    program = load_exported(path)
    read = read_program(program)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    inputs = ", ".join(
        f"{spec['name']}: {spec['dtype']}[{', '.join(map(str, spec['shape']))}]" for spec in read["signature"]["inputs"]
    )
    return {
        "kind": "torch-export",
        "schema": f"forward({inputs})",
        "methods": ["forward"],
        "operators": _counted(names),
        "parameters": _weights(program.parameters()),
        "buffers": _weights(program.buffers()),
        "state": read["state"],
        "training": False,
        "signature": read["signature"],
    }


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(names)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _weights(tensors: Iterable[Any]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for tensor in tensors:
        entry = found.setdefault(dtype_name(tensor.dtype), {"count": 0, "size_bytes": 0})
        entry["count"] += tensor.numel()
        entry["size_bytes"] += tensor.numel() * tensor.element_size()
    return found
