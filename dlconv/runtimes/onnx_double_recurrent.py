"""ONNX's recurrent operators (RNN, GRU, LSTM) in float64, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes.onnx_plan import filled

Array = Any
"""A NumPy array: dtype and rank are what an operator is about, so they are no types here."""
Attributes = dict[str, Any]
_Cell = Callable[[Array, list[Array]], list[Array]]


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(0, x),
}


def lstm(attributes: Attributes, inputs: Sequence[Any]) -> Sequence[Array]:
    """LSTM: gates in the order i, o, f, c; peepholes in the order i, o, f."""
    x, w, r, b, lengths, h0, c0, p = filled(inputs, 8)
    size = r.shape[-1]

    def cell(direction: int, acts: list[Callable[[Array], Array]]) -> _Cell:
        gate, inner, outer = acts
        peep = np.zeros((3, size)) if p is None else p[direction].reshape(3, size)
        weights, bias = r[direction].T, _bias(b, direction, 4 * size)

        def step(projected: Array, states: list[Array]) -> list[Array]:
            h, c = states
            i, o, f, g = np.split(projected + h @ weights + bias, 4, axis=-1)
            i, f = gate(i + peep[0] * c), gate(f + peep[2] * c)
            f = 1 - i if attributes.get("input_forget", 0) else f
            c = f * c + i * inner(g)
            return [gate(o + peep[1] * c) * outer(c), c]

        return step

    defaults = ["Sigmoid", "Tanh", "Tanh"]
    return _run(attributes, x, w, lengths, [h0, c0], size, cell, defaults)


def gru(attributes: Attributes, inputs: Sequence[Any]) -> Sequence[Array]:
    """GRU: gates in the order z, r, h; linear_before_reset chooses where the reset gate acts."""
    x, w, r, b, lengths, h0 = filled(inputs, 6)
    size = r.shape[-1]

    def cell(direction: int, acts: list[Callable[[Array], Array]]) -> _Cell:
        gate, inner = acts
        both = np.zeros(6 * size) if b is None else b[direction]
        wb, rb = both[: 3 * size], both[3 * size :]
        weights = r[direction].T

        def step(projected: Array, states: list[Array]) -> list[Array]:
            (h,) = states
            xz, xr, xh = np.split(projected + wb, 3, axis=-1)
            z = gate(xz + h @ weights[:, :size] + rb[:size])
            reset = gate(xr + h @ weights[:, size : 2 * size] + rb[size : 2 * size])
            last, bias = weights[:, 2 * size :], rb[2 * size :]
            if attributes.get("linear_before_reset", 0):
                new = inner(xh + reset * (h @ last + bias))
            else:
                new = inner(xh + (reset * h) @ last + bias)
            return [(1 - z) * new + z * h]

        return step

    return _run(attributes, x, w, lengths, [h0], size, cell, ["Sigmoid", "Tanh"])


def rnn(attributes: Attributes, inputs: Sequence[Any]) -> Sequence[Array]:
    """The simple recurrent cell."""
    x, w, r, b, lengths, h0 = filled(inputs, 6)
    size = r.shape[-1]

    def cell(direction: int, acts: list[Callable[[Array], Array]]) -> _Cell:
        weights, bias = r[direction].T, _bias(b, direction, size)
        return lambda projected, states: [acts[0](projected + states[0] @ weights + bias)]

    return _run(attributes, x, w, lengths, [h0], size, cell, ["Tanh"])


def _bias(b: Any, direction: int, width: int) -> Array:
    return np.zeros(width) if b is None else b[direction][:width] + b[direction][width:]


def _run(
    attributes: Attributes,
    x: Array,
    w: Array,
    lengths: Any,
    given: list[Any],
    size: int,
    cell: Callable[[int, list[Callable[[Array], Array]]], _Cell],
    defaults: list[str],
) -> Sequence[Array]:
    """All steps in all directions: Y [steps, directions, batch, size], then the last states."""
    if "clip" in attributes:
        raise Unsupported("a recurrent operator with clip")
    if any(key in attributes for key in ("activation_alpha", "activation_beta")):
        raise Unsupported("a recurrent operator whose activations have parameters")
    batch_first = bool(attributes.get("layout", 0))
    if batch_first:
        x = np.swapaxes(x, 0, 1)
        given = [None if state is None else np.swapaxes(state, 0, 1) for state in given]
    steps, batch = x.shape[:2]
    directions = w.shape[0]
    acts = _activations(attributes.get("activations") or defaults * directions)
    ends = np.full(batch, steps) if lengths is None else lengths
    every = np.zeros((steps, directions, batch, size))
    last = [np.zeros((directions, batch, size)) for _ in given]
    for direction in range(directions):
        backward = attributes.get("direction", "forward") == "reverse" or direction == 1
        step = cell(direction, acts[direction * len(defaults) : (direction + 1) * len(defaults)])
        states = [np.zeros((batch, size)) if state is None else state[direction] for state in given]
        projected = x @ w[direction].T
        for time in reversed(range(steps)) if backward else range(steps):
            alive = (time < ends)[:, None]
            states = [np.where(alive, new, old) for new, old in zip(step(projected[time], states), states, strict=True)]
            every[time, direction] = np.where(alive, states[0], 0)
        for kept, state in zip(last, states, strict=True):
            kept[direction] = state
    if batch_first:
        return [every.transpose(2, 0, 1, 3), *(np.swapaxes(state, 0, 1) for state in last)]
    return [every, *last]


def _activations(names: Sequence[str]) -> list[Callable[[Array], Array]]:
    unknown = [name for name in names if name.lower() not in _ACTIVATIONS]
    if unknown:
        raise Unsupported(f"a recurrent operator with the activation {unknown[0]}")
    return [_ACTIVATIONS[name.lower()] for name in names]
