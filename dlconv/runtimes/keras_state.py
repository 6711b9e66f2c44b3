"""What a Keras 3 model writes to its own variables in a call: its state, or what no answer hangs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv.runtimes.tensorflow_graph import WRITES, operators
from dlconv.runtimes.tensorflow_import import keras, tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable

_SEED = "seed_generator_state"


def answers_alone(model: Any, answer: Callable[..., Any], specs: list[Any], traced: Any) -> tuple[Any, tuple[str, ...]]:
    """The function that answers each call as the first, and the names of the variables that the model itself keeps from
    one to the next.

    traced: `answer` with the model's own writes; it is given back as it is where there are none, where an answer hangs
    on a seed (then it draws random numbers, which two runs have to show), where a loop or a branch writes (to which
    variable is not looked for), and for what Keras 2 opened.
    A recurrent layer with dropout moves its seed on in inference too, where nothing is dropped: that is no state.
    """
    graph = traced.graph.as_graph_def()
    if not operators(graph) & WRITES or not hasattr(model, "stateless_call"):
        return traced, ()
    if any(node.op in WRITES for function in graph.library.function for node in function.node_def):
        return traced, ()
    read, written = _read(traced), _written(traced)
    ours = {str(each.name).removesuffix(":0") for each in traced.graph.variables if id(each.handle) in read & written}
    kept = tuple(sorted(ours))
    if any(_SEED in name for name in kept):
        return traced, ()

    def alone(*tensors: Any) -> Any:
        with keras().StatelessScope():
            return answer(*tensors)

    return tensorflow().function(alone, autograph=False).get_concrete_function(*specs), kept


def _read(traced: Any) -> set[int]:
    """The resources from which an output is computed, each by its identity."""
    pending, seen = [tensor.op for tensor in traced.outputs], set[str]()
    while pending:
        operation = pending.pop()
        if operation.name not in seen:
            seen.add(operation.name)
            pending += [tensor.op for tensor in operation.inputs]
    return {id(outer) for outer, inner in traced.graph.captures if inner.op.name in seen}


def _written(traced: Any) -> set[int]:
    targets = {each.inputs[0].op.name for each in traced.graph.get_operations() if each.type in WRITES}
    return {id(outer) for outer, inner in traced.graph.captures if inner.op.name in targets}
