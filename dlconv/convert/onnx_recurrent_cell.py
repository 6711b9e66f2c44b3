"""One step of LSTM, GRU and RNN in plain ONNX nodes, and the weights of a recurrent node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_rewriting import attributes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.convert.onnx_rewriting import Array, Rewriting
    from dlconv.graphs.onnx_graph import Proto

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_OF_RNN = ("Tanh", "Relu", "Sigmoid")


@dataclass(frozen=True)
class Cell:
    """One recurrent node whose sizes and weights are known. weights: W, R and the two halves of B, a direction each."""

    kind: str
    activation: str
    resets_before: bool
    directions: tuple[str, ...]
    steps: int
    batch: int
    hidden: int
    weights: tuple[tuple[Array, Array, Array, Array], ...]


def direction_of(attributes: dict[str, Any]) -> str:
    """forward, reverse or bidirectional."""
    return str(attributes.get("direction", b"forward").decode()).lower()


def cell_of(node: Proto, inputs: list[str], known: Rewriting) -> Cell | None:
    """The node as a cell; None for one of a rare kind, or whose sizes or weights are not known."""
    attributes = attributes_of(node)
    shape = known.shapes.get(inputs[0])
    w, r = known.array(inputs[1]), known.array(inputs[2])
    if shape is None or len(shape) != 3 or w is None or r is None:
        return None
    directions = ("forward", "reverse") if direction_of(attributes) == "bidirectional" else (direction_of(attributes),)
    hidden = r.shape[-1]
    zeros = np.zeros((len(directions), 2 * GATES[node.op_type] * hidden), w.dtype)
    b = known.array(inputs[3]) if inputs[3] else zeros
    told = [word.decode() for word in attributes.get("activations", [])]
    first = told[0] if told else "Tanh"
    usual = _USUAL.get(node.op_type, [first]) * len(directions)
    is_rare = "clip" in attributes or attributes.get("input_forget", 0) or (told or usual) != usual
    if b is None or is_rare or (node.op_type == "RNN" and first not in _OF_RNN):
        return None
    half = GATES[node.op_type] * hidden
    weights = tuple((w[way], r[way], b[way, :half], b[way, half:]) for way in range(len(directions)))
    resets_before = not attributes.get("linear_before_reset", 0)
    return Cell(node.op_type, first, resets_before, directions, shape[0], shape[1], hidden, weights)


@dataclass(frozen=True)
class Own:
    """What a cell applies to its own state: names of R, transposed, and of its bias."""

    cell: Cell
    weights: str
    bias: str


def making(known: Rewriting, made: list[Proto]) -> Callable[..., str]:
    """A function that adds a node of a kind, with inputs and attributes, to `made`, and gives its output's name."""

    def make(kind: str, *given: str, **attributes: Any) -> str:
        target = known.name(kind.lower())
        made.append(known.node(kind, list(given), [target], **attributes))
        return target

    return make


def start(cell: Cell, place: int, name: str, known: Rewriting, make: Callable[..., str]) -> str:
    """The state that a direction begins with: zeros where the layer is given none."""
    if not name:
        return known.tensor(np.zeros((cell.batch, cell.hidden), cell.weights[place][0].dtype), "start")
    return make("Gather", name, known.tensor(np.array(place, np.int64), "direction"), axis=0)


def _lstm(own: Own, now: str, hidden: str, memory: str, known: Rewriting, make: Any, made: Any) -> tuple[str, str]:
    whole = make("Add", now, make("Add", make("MatMul", hidden, own.weights), own.bias))
    node, (enter, leave, forget, new) = known.split(whole, 4, 1)
    made.append(node)
    kept = make("Mul", make("Sigmoid", forget), memory)
    memory = make("Add", kept, make("Mul", make("Sigmoid", enter), make("Tanh", new)))
    return make("Mul", make("Sigmoid", leave), make("Tanh", memory)), memory


def _gru(own: Own, now: str, hidden: str, memory: str, known: Rewriting, make: Any, made: Any) -> tuple[str, str]:
    size = own.cell.hidden
    node, (update_in, reset_in, new_in) = known.split(now, 3, 1)
    made.append(node)
    back = make("Add", make("MatMul", hidden, own.weights), own.bias)
    node, (update_own, reset_own, new_own) = known.split(back, 3, 1)
    made.append(node)
    update = make("Sigmoid", make("Add", update_in, update_own))
    reset = make("Sigmoid", make("Add", reset_in, reset_own))
    if own.cell.resets_before:
        r, bias = known.array(own.weights), known.array(own.bias)
        assert r is not None and bias is not None
        part = make("MatMul", make("Mul", reset, hidden), known.tensor(r[:, 2 * size :], "weights"))
        wake = make("Add", part, known.tensor(bias[2 * size :], "bias"))
    else:
        wake = make("Mul", reset, new_own)
    new = make("Tanh", make("Add", new_in, wake))
    return make("Add", new, make("Mul", update, make("Sub", hidden, new))), memory


def _rnn(own: Own, now: str, hidden: str, memory: str, known: Rewriting, make: Any, made: Any) -> tuple[str, str]:
    whole = make("Add", now, make("Add", make("MatMul", hidden, own.weights), own.bias))
    return make(own.cell.activation, whole), memory


STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
