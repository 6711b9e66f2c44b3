"""LSTM, GRU and RNN written so that onnx2tf and TFLite answer them right.

TFLite's recurrent kernels start with zeros and give the hidden states of all steps alone. A last hidden state is one
of those; where a start or a last cell state is asked for, the steps are written out one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_rewriting import attributes_of

if TYPE_CHECKING:
    from dlconv.convert.onnx_rewriting import Array, Rewriting
    from dlconv.graphs.onnx_graph import Proto

MOST_STEPS = 256
"""Steps that are written out: some ten operators each."""
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_OF_RNN = ("Tanh", "Relu", "Sigmoid")


def spell_out_recurrent(node: Proto, known: Rewriting) -> list[Proto]:
    """The nodes for a recurrent one; none where the converter is right about it, or where it is of a rare kind."""
    if node.op_type not in _GATES:
        return []
    inputs = [*node.input, *([""] * 8)][:8]
    outputs = [name if name in known.read else "" for name in (*node.output, "", "", "")[:3]]
    attributes = attributes_of(node)
    if inputs[4] or inputs[7] or attributes.get("layout", 0):
        return []
    if outputs[2] or inputs[5] or inputs[6]:
        cell = _cell_of(node, inputs, attributes, known)
        return [] if cell is None else _written_out(cell, inputs, outputs, known)
    return _with_last(node, outputs, attributes, known) if outputs[1] else []


def _with_last(node: Proto, outputs: list[str], attributes: dict[str, Any], known: Rewriting) -> list[Proto]:
    """The last hidden state taken from those of all steps; the one that runs in reverse ends at the first."""
    whole = outputs[0] or known.name("states")
    kept = {name: value for name, value in attributes.items() if name != "layout"}
    work = known.node(node.op_type, list(node.input), [whole], **kept)
    direction = _direction(attributes)
    shape = known.shapes.get(node.input[0])
    ends = {"forward": shape[0] - 1 if shape else -1, "reverse": 0}

    def step(place: int, target: str) -> Proto:
        return known.node("Gather", [whole, known.tensor(np.array(place, np.int64), "step")], [target], axis=0)

    if direction != "bidirectional":
        return [work, step(ends[direction], outputs[1])]
    made, halves = [work], list[str]()
    for place, one in enumerate(("forward", "reverse")):
        both, half = known.name("both"), known.name("half")
        made += [step(ends[one], both), known.node("Gather", [both, known.constant([place])], [half], axis=0)]
        halves.append(half)
    return [*made, known.node("Concat", halves, [outputs[1]], axis=0)]


@dataclass(frozen=True)
class _Cell:
    """One recurrent node whose sizes and weights are known. weights: W, R and the two halves of B, a direction each."""

    kind: str
    activation: str
    resets_before: bool
    directions: tuple[str, ...]
    steps: int
    batch: int
    hidden: int
    weights: tuple[tuple[Array, Array, Array, Array], ...]


def _direction(attributes: dict[str, Any]) -> str:
    return str(attributes.get("direction", b"forward").decode()).lower()


def _cell_of(node: Proto, inputs: list[str], attributes: dict[str, Any], known: Rewriting) -> _Cell | None:
    shape = known.shapes.get(inputs[0])
    w, r = known.array(inputs[1]), known.array(inputs[2])
    if shape is None or len(shape) != 3 or w is None or r is None or shape[0] > MOST_STEPS:
        return None
    directions = ("forward", "reverse") if _direction(attributes) == "bidirectional" else (_direction(attributes),)
    hidden = r.shape[-1]
    zeros = np.zeros((len(directions), 2 * _GATES[node.op_type] * hidden), w.dtype)
    b = known.array(inputs[3]) if inputs[3] else zeros
    told = [word.decode() for word in attributes.get("activations", [])]
    first = told[0] if told else "Tanh"
    usual = _USUAL.get(node.op_type, [first]) * len(directions)
    is_rare = "clip" in attributes or attributes.get("input_forget", 0) or (told or usual) != usual
    if b is None or is_rare or (node.op_type == "RNN" and first not in _OF_RNN):
        return None
    half = _GATES[node.op_type] * hidden
    weights = tuple((w[way], r[way], b[way, :half], b[way, half:]) for way in range(len(directions)))
    resets_before = not attributes.get("linear_before_reset", 0)
    return _Cell(node.op_type, first, resets_before, directions, shape[0], shape[1], hidden, weights)


def _written_out(cell: _Cell, inputs: list[str], outputs: list[str], known: Rewriting) -> list[Proto]:
    made: list[Proto] = []
    runs = [_run(cell, place, inputs, known, made) for place in range(len(cell.directions))]

    def gather(parts: list[str], shape: tuple[int, ...], target: str, axis: int) -> None:
        """The parts, each of shape [batch, hidden], grown to `shape` and put beside one another."""
        grown = [known.reshape(part, shape, "" if len(parts) > 1 else target) for part in parts]
        made.extend(node for node, _ in grown)
        if len(parts) > 1:
            made.append(known.node("Concat", [name for _, name in grown], [target], axis=axis))

    matrix = (cell.batch, cell.hidden)
    if outputs[0]:
        sides = [known.name("states") for _ in runs] if len(runs) > 1 else [outputs[0]]
        for (states, _), side in zip(runs, sides, strict=True):
            gather(states, (1, 1, *matrix), side, 0)
        if len(runs) > 1:
            made.append(known.node("Concat", sides, [outputs[0]], axis=1))
    ends = [states[0 if way == "reverse" else -1] for (states, _), way in zip(runs, cell.directions, strict=True)]
    if outputs[1]:
        gather(ends, (1, *matrix), outputs[1], 0)
    if outputs[2]:
        gather([last for _, last in runs], (1, *matrix), outputs[2], 0)
    return made


def _run(cell: _Cell, place: int, inputs: list[str], known: Rewriting, made: list[Proto]) -> tuple[list[str], str]:
    """One direction: the hidden states in the order of the input's steps, and the last cell state."""
    w, r, b_w, b_r = cell.weights[place]

    def make(kind: str, *given: str, **attributes: Any) -> str:
        target = known.name(kind.lower())
        made.append(known.node(kind, list(given), [target], **attributes))
        return target

    def start(name: str) -> str:
        if not name:
            return known.tensor(np.zeros((cell.batch, cell.hidden), w.dtype), "start")
        return make("Gather", name, known.tensor(np.array(place, np.int64), "direction"), axis=0)

    fed = make("MatMul", inputs[0], known.tensor(w.T, "weights"))
    fed = make("Add", fed, known.tensor(b_w, "bias"))
    own = _Own(cell, known.tensor(r.T, "weights"), known.tensor(b_r, "bias"))
    order = list(range(cell.steps))[:: -1 if cell.directions[place] == "reverse" else 1]
    hidden, memory = start(inputs[5]), start(inputs[6]) if cell.kind == "LSTM" else ""
    states: dict[int, str] = {}
    for step in order:
        now = make("Gather", fed, known.tensor(np.array(step, np.int64), "step"), axis=0)
        hidden, memory = _STEPS[cell.kind](own, now, hidden, memory, known, make, made)
        states[step] = hidden
    return [states[step] for step in range(cell.steps)], memory


@dataclass(frozen=True)
class _Own:
    """What a cell applies to its own state: names of R, transposed, and of its bias."""

    cell: _Cell
    weights: str
    bias: str


def _lstm(own: _Own, now: str, hidden: str, memory: str, known: Rewriting, make: Any, made: Any) -> tuple[str, str]:
    whole = make("Add", now, make("Add", make("MatMul", hidden, own.weights), own.bias))
    node, (enter, leave, forget, new) = known.split(whole, 4, 1)
    made.append(node)
    kept = make("Mul", make("Sigmoid", forget), memory)
    memory = make("Add", kept, make("Mul", make("Sigmoid", enter), make("Tanh", new)))
    return make("Mul", make("Sigmoid", leave), make("Tanh", memory)), memory


def _gru(own: _Own, now: str, hidden: str, memory: str, known: Rewriting, make: Any, made: Any) -> tuple[str, str]:
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


def _rnn(own: _Own, now: str, hidden: str, memory: str, known: Rewriting, make: Any, made: Any) -> tuple[str, str]:
    whole = make("Add", now, make("Add", make("MatMul", hidden, own.weights), own.bias))
    return make(own.cell.activation, whole), memory


_STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
