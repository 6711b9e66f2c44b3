"""The members of an argument that is a list or a dict of tensors: how many, or which keys, the program reads."""

from __future__ import annotations

from typing import Any

from dlconv.errors import SignatureError
from dlconv.runtimes.torch_state import all_nodes
from dlconv.runtimes.torchscript import Argument


def members_of(module: Any, argument: Argument) -> list[int | str]:
    """The indices or keys that forward reads; none of a list that it goes through, of whatever length.

    SignatureError for keys that cannot be told from the program, and for indices from the end.
    """
    graph = module.inlined_graph
    names = [item.name for item in module.forward.schema.arguments]
    unique = list(graph.inputs())[names.index(argument.name)].unique()
    found: set[int | str] = set()
    for node in all_nodes(graph):
        inputs = list(node.inputs())
        if not inputs or inputs[0].unique() != unique:
            continue
        if node.kind() == "prim::ListUnpack":
            found.update(range(node.outputsSize()))
        elif node.kind() == "aten::__getitem__" and inputs[1].node().kind() == "prim::Constant":
            found.add(inputs[1].toIValue())
    if not found and argument.kind == "ListType":
        return []
    if not found or any(isinstance(key, int) and key < 0 for key in found):
        raise SignatureError(
            f"forward's argument {argument.name!r} is a {argument.text}, and its length is not told in the program",
            wanted="a specification of each member",
            mend=f"--input {argument.name}.0:SHAPE:DTYPE --input {argument.name}.1:SHAPE:DTYPE ...",
        )
    if argument.kind == "ListType":
        return list(range(max(int(key) for key in found) + 1))
    return sorted(found, key=str)
