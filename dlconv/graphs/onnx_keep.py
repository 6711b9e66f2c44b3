"""Nodes of an ONNX graph by name: what keep-lists speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv.errors import RequestError
from dlconv.graphs.onnx_graph import nodes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.graphs.onnx_graph import Proto


def names_of(graph: Proto) -> list[str]:
    """The name of each node of the graph and of those within it, in the order of `nodes_of`: its own, or where it has
    none, or one that a node before has, its operator and first output. No two are the same."""
    taken: set[str] = set()
    names: list[str] = []
    for node in nodes_of(graph):
        name = str(node.name)
        if not name or name in taken:
            name = f"{node.op_type}:{next(iter(node.output), '')}"
        while name in taken:  # the same output in two branches
            name += "'"
        taken.add(name)
        names.append(name)
    return names


def name_nodes(graph: Proto) -> list[str]:
    """Write `names_of` into the nodes; the names."""
    names = names_of(graph)
    for node, name in zip(nodes_of(graph), names, strict=True):
        node.name = name
    return names


def require_known(keep: Sequence[str], names: Sequence[str]) -> None:
    """Raise RequestError for nodes to keep that the graph does not have."""
    if unknown := sorted(set(keep) - set(names)):
        raise RequestError(
            f"the keep-list names {len(unknown)} nodes that the ONNX graph does not have: {', '.join(unknown[:5])}",
            wanted="names of nodes of the ONNX model that dlconv makes of the source",
            mend="dlconv export MODEL --to onnx, and take the names from there",
        )


def kept(settings: dict[str, Any], graph: Proto) -> list[str]:
    """The nodes that an edge is told to keep in float32, every node of the graph named. RequestError as above."""
    keep = [str(name) for name in settings.get("keep", ())]
    require_known(keep, name_nodes(graph))
    return keep
