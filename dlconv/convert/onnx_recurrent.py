"""LSTM, GRU and RNN written so that onnx2tf and TFLite answer them right.

TFLite's recurrent kernels start with zeros and give the hidden states of all steps alone. A last hidden state is one
of those; where a start or a last cell state is asked for, the steps are written out one by one, and so they are for a
free batch, which those kernels do not take. Where the number of steps is free, they are a loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_recurrent_cell import GATES, STEPS, Cell, Own, cell_of, direction_of, making, start
from dlconv.convert.onnx_recurrent_loop import looped
from dlconv.convert.onnx_rewriting import attributes_of

if TYPE_CHECKING:
    from dlconv.convert.onnx_rewriting import Rewriting
    from dlconv.graphs.onnx_graph import Proto

MOST_STEPS = 256
"""Steps that are written out: some ten operators each."""


def spell_out_recurrent(node: Proto, known: Rewriting) -> list[Proto]:
    """The nodes for a recurrent one; none where the converter is right about it, or where it is of a rare kind."""
    if node.op_type not in GATES:
        return []
    inputs = [*node.input, *([""] * 8)][:8]
    outputs = [name if name in known.read else "" for name in (*node.output, "", "", "")[:3]]
    attributes = attributes_of(node)
    if inputs[4] or inputs[7] or attributes.get("layout", 0):
        return []
    free_axes = known.free_axes.get(inputs[0], set())
    if free_axes or outputs[2] or inputs[5] or inputs[6]:
        cell = cell_of(node, inputs, known)
        if cell is not None and 0 in free_axes:
            return looped(cell, inputs, outputs, known)
        return [] if cell is None or cell.steps > MOST_STEPS else _written_out(cell, inputs, outputs, known)
    return _with_last(node, outputs, attributes, known) if outputs[1] else []


def _with_last(node: Proto, outputs: list[str], attributes: dict[str, Any], known: Rewriting) -> list[Proto]:
    """The last hidden state taken from those of all steps; the one that runs in reverse ends at the first."""
    whole = outputs[0] or known.name("states")
    kept = {name: value for name, value in attributes.items() if name != "layout"}
    work = known.node(node.op_type, list(node.input), [whole], **kept)
    direction = direction_of(attributes)
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


def _written_out(cell: Cell, inputs: list[str], outputs: list[str], known: Rewriting) -> list[Proto]:
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


def _run(cell: Cell, place: int, inputs: list[str], known: Rewriting, made: list[Proto]) -> tuple[list[str], str]:
    """One direction: the hidden states in the order of the input's steps, and the last cell state."""
    w, r, b_w, b_r = cell.weights[place]
    make = making(known, made)
    fed = make("MatMul", inputs[0], known.tensor(w.T, "weights"))
    fed = make("Add", fed, known.tensor(b_w, "bias"))
    own = Own(cell, known.tensor(r.T, "weights"), known.tensor(b_r, "bias"))
    order = list(range(cell.steps))[:: -1 if cell.directions[place] == "reverse" else 1]
    hidden = start(cell, place, inputs[5], known, make)
    memory = start(cell, place, inputs[6], known, make) if cell.kind == "LSTM" else ""
    states: dict[int, str] = {}
    for step in order:
        now = make("Gather", fed, known.tensor(np.array(step, np.int64), "step"), axis=0)
        hidden, memory = STEPS[cell.kind](own, now, hidden, memory, known, make, made)
        states[step] = hidden
    return [states[step] for step in range(cell.steps)], memory
