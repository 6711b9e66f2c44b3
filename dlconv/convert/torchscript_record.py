"""The operators that a TorchScript module really runs, recorded as a graph without control flow or state.

Every operator passes PyTorch's dispatcher, so a run records what a model of any make does: branches are taken as
the sample takes them, sizes are the sample's, attributes start from their initial values.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dlconv.errors import Unsupported
from dlconv.runtimes.torch_state import written_attributes
from dlconv.runtimes.torchscript import attribute, call, fresh, named_tensors

if TYPE_CHECKING:
    from dlconv.convert.torchscript_flat import Flat

_END = (1 << 63) - 1


def record(flat: Flat) -> Any:
    """An fx.GraphModule with the same inputs, that returns the tuple of outputs; its weights have their old names.

    Where state was lifted, it stands behind the inputs and behind the outputs.
    """
    if flat.graph is not None:
        return flat.graph
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from dlconv.convert.torchscript_fold import LARGEST_CONSTANT, fold_constants
    from dlconv.convert.torchscript_plain import plain_operators

    written = written_attributes(flat.source)
    module = fresh(flat.source) if written else flat.source
    names = [spec.source_name for spec in flat.signature.own.inputs]
    constants = dict(flat.signature.constants)

    def run(*tensors: Any) -> tuple[Any, ...]:
        if flat.lift is None:
            for path in written:
                _reset(module, flat.source, path)
        else:
            flat.lift.put(module, [tensor.clone() for tensor in tensors[len(names) :]])
        given = dict(zip(names, tensors[: len(names)], strict=True))
        answer = call(module, list(flat.arguments), {**constants, **given})
        left = [] if flat.lift is None else flat.lift.take(module)
        # An output that is an input itself, or another output, gets a tensor of its own, and so a name of its own.
        return tuple(tensor.clone() for tensor in (*named_tensors(answer).values(), *left))

    if any(spec.is_dynamic for spec in flat.signature.inputs):
        raise Unsupported(
            "a recorded graph has the sizes of the sample, and sizes of the inputs are free",
            wanted="sizes that are known",
            mend="give each size as a number: " + " ".join(f"--input {spec}" for spec in flat.signature.inputs),
        )
    with torch.no_grad(), fold_constants(LARGEST_CONSTANT) as folding:
        graph = make_fx(run, plain_operators(), tracing_mode="real", pre_dispatch=True)(*flat.tensors)
    if folding.wrote:
        with torch.no_grad(), fold_constants(1, folding.filled()):
            graph = make_fx(run, plain_operators(), tracing_mode="real", pre_dispatch=True)(*flat.tensors)
    _name_weights(graph, flat.source)
    _use_known_operators(graph)
    return graph


def _reset(module: Any, source: Any, path: str) -> None:
    """The attribute at `path` starts as `source` has it. A copy is recorded, so that writes reach no constant.

    An object of a class of the script's own cannot be copied: it stays as it is.
    """
    import torch

    owner, value = module, source
    *above, name = path.split(".")
    for step in above:
        owner, value = getattr(owner, step), getattr(value, step)
    with suppress(Unsupported):
        value = attribute(value, name)
        setattr(owner, name, value.clone() if isinstance(value, torch.Tensor) else value)


def without_dead(graph: Any, inputs: int, outputs: int) -> tuple[Any, list[bool]]:
    """The graph without the state that reaches no output, now or in a later call, and which of the state is left.

    inputs, outputs: how many the model has besides its state, which stands behind them.
    """
    given = [node for node in graph.graph.nodes if node.op == "placeholder"][inputs:]
    [end] = [node for node in graph.graph.nodes if node.op == "output"]
    results = list(end.args[0])
    left = results[outputs:]
    alive: set[int] = set()
    reached = _above(results[:outputs])
    while more := {place for place, node in enumerate(given) if node in reached} - alive:
        alive |= more
        reached = _above([*results[:outputs], *(left[place] for place in alive)])
    live = [place in alive for place in range(len(given))]
    end.args = ((*results[:outputs], *(node for node, kept in zip(left, live, strict=True) if kept)),)
    graph.graph.eliminate_dead_code()
    for node, kept in zip(given, live, strict=True):
        if not kept:
            for user in list(node.users):  # what writes into a copy of it
                _erase(graph.graph, user)
            graph.graph.erase_node(node)
    graph.recompile()
    return graph, live


def _erase(graph: Any, node: Any) -> None:
    for user in list(node.users):
        _erase(graph, user)
    if node in graph.nodes:
        graph.erase_node(node)


def _above(nodes: list[Any]) -> set[Any]:
    """All that these nodes are computed from, what is written into one of them included."""
    found: set[Any] = set()
    pending = [node for node in nodes if hasattr(node, "all_input_nodes")]
    while pending:
        node = pending.pop()
        if node in found:
            continue
        found.add(node)
        pending += node.all_input_nodes
        pending += [user for user in node.users if _writes(user)]
    return found


def _writes(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable) or _is_view(node)


def _name_weights(graph: Any, source: Any) -> None:
    import torch

    weights = [*source.named_parameters(), *source.named_buffers()]
    known = {(tensor.data_ptr(), tuple(tensor.shape), tensor.dtype): name for name, tensor in weights if tensor.numel()}
    taken: set[str] = set()
    for node in graph.graph.nodes:
        if node.op != "get_attr":
            continue
        tensor = getattr(graph, node.target, None)
        if not isinstance(tensor, torch.Tensor):
            continue
        name = known.get((tensor.data_ptr(), tuple(tensor.shape), tensor.dtype))
        if name is None:
            continue
        flat_name = name.replace(".", "__")
        if flat_name not in taken:
            taken.add(flat_name)
            setattr(graph, flat_name, tensor)
        node.target = flat_name
    graph.delete_all_unused_submodules()
    graph.recompile()


def _use_known_operators(graph: Any) -> None:
    """The plain operator in place of a variant that only promises more to autograd."""
    import torch

    aten = torch.ops.aten
    plain = {
        aten.unsafe_chunk.default: aten.chunk.default,
        aten.unsafe_split.Tensor: aten.split.Tensor,
        aten.unsafe_split_with_sizes.default: aten.split_with_sizes.default,
        aten._unsafe_view.default: aten.view.default,
    }
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in plain:
            node.target = plain[node.target]
        if node.op == "call_function" and node.target == aten.slice.Tensor:
            # Converters want the limits of a slice as numbers, not as "from the start" and "to the end".
            given = (*node.args, *(None, None, None, None))[:5]
            whole = (given[0], given[1] or 0, given[2] or 0, _END if given[3] is None else given[3], given[4] or 1)
            node.args = whole
    graph.graph.eliminate_dead_code()
    graph.recompile()


def writes_into_views(graph: Any) -> bool:
    """Whether the whole is read after a write through a view (x[:, :2] += y), which the script exporter loses."""
    nodes = list(graph.graph.nodes)
    place = {node: position for position, node in enumerate(nodes)}
    for node in nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or not schema.is_mutable:
            continue
        base = node.args[0]
        while _is_view(base):
            base = base.args[0]
            if any(place[user] > place[node] for user in base.users):
                return True
    return False


def _is_view(node: Any) -> bool:
    schema = getattr(getattr(node, "target", None), "_schema", None)
    return bool(
        schema is not None and not schema.is_mutable and schema.arguments and schema.arguments[0].alias_info is not None
    )
