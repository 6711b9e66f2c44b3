"""State: what a TorchScript module keeps from one call to the next, in buffers or in attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Views and casts through which a write reaches the attribute itself.
_VIEWS = {
    "aten::slice", "aten::select", "aten::view", "aten::reshape", "aten::squeeze", "aten::unsqueeze", "aten::detach",
    "aten::transpose", "aten::permute", "aten::narrow", "aten::expand", "aten::expand_as", "aten::alias", "aten::to",
    "aten::contiguous", "aten::t", "aten::flatten", "prim::unchecked_cast", "aten::view_as",
}  # fmt: skip


def may_change_state(module: Any) -> bool:
    """Whether a call might change the module: it sets an attribute, or writes into one in place."""
    if not hasattr(module, "_c"):
        return bool(list(module.buffers()))
    return bool(written_attributes(module))


def written_attributes(module: Any) -> list[str]:
    """Dotted names of the attributes and buffers that forward may write to, in the order of the program."""
    graph = module.inlined_graph
    paths: dict[int, str] = {next(iter(graph.inputs())).unique(): ""}
    found: dict[str, None] = {}
    for node in all_nodes(graph):
        kind = node.kind()
        inputs = list(node.inputs())
        if not inputs:
            continue
        base = paths.get(inputs[0].unique())
        if kind == "prim::SetAttr" and base is not None:
            found[_join(base, node.s("name"))] = None
        elif kind == "prim::GetAttr" and base is not None:
            paths[node.output().unique()] = _join(base, node.s("name"))
        elif base and kind in _VIEWS:
            paths[node.output().unique()] = base
        elif base and _writes_first(node):
            found[base] = None
    return list(found)


def all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph or block in order, those of inner blocks after the node that holds them."""
    for node in graph.nodes():
        yield node
        for block in node.blocks():
            yield from all_nodes(block)


def _writes_first(node: Any) -> bool:
    import torch

    if node.kind() in {"aten::append", "aten::_set_item", "aten::insert", "aten::pop", "aten::clear"}:
        return True
    if not node.kind().startswith("aten::") or node.schema() == "(no schema)":
        return False
    schema = torch._C.parse_schema(node.schema())  # pyright: ignore[reportPrivateUsage]
    first = schema.arguments[0] if schema.arguments else None
    return bool(first and first.alias_info is not None and first.alias_info.is_write)


def _join(base: str, name: str) -> str:
    return f"{base}.{name}" if base else name
