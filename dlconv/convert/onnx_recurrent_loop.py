"""A recurrent layer as an ONNX Loop over its steps, for a number of steps that is free.

The loop carries all that it reads and writes, as TFLite's WHILE wants it: the states, the input, and all hidden states,
in which each step fills its row.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_recurrent_cell import GATES, STEPS, Cell, Own, making, start
from dlconv.convert.onnx_rewriting import Rewriting

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_INT64, _BOOL = 7, 9
_LAST = np.iinfo(np.int64).min


def looped(cell: Cell, inputs: list[str], outputs: list[str], known: Rewriting) -> list[Proto]:
    """The nodes for a recurrent one. outputs: names of all hidden states, the last ones and the last cell states; ""
    for those that nobody reads."""
    made: list[Proto] = []
    runs = [_run(cell, place, inputs, known, made) for place in range(len(cell.directions))]
    whole = (cell.steps, 1, cell.batch, cell.hidden)
    last = (1, cell.batch, cell.hidden)
    for target, place, shape, axis in zip(outputs, range(3), (whole, last, last), (1, 0, 0), strict=True):
        if target:
            grown = [known.reshape(run[place], shape, "" if len(runs) > 1 else target) for run in runs]
            made += [node for node, _ in grown]
            if len(runs) > 1:
                made.append(known.node("Concat", [name for _, name in grown], [target], axis=axis))
    return made


def _run(cell: Cell, place: int, inputs: list[str], known: Rewriting, made: list[Proto]) -> tuple[str, str, str]:
    """One direction: all hidden states in the order of the input's steps, the last one, and the last cell state."""
    w, _, b_w, _ = cell.weights[place]
    make = making(known, made)

    def turned(name: str) -> str:
        if cell.directions[place] != "reverse":
            return name
        return make("Slice", name, *(known.constant([number]) for number in (-1, _LAST, 0, -1)))

    fed = make("MatMul", inputs[0], known.tensor(w.T, "weights"))
    fed = turned(make("Add", fed, known.tensor(b_w, "bias")))
    rows = known.tensor(np.arange(cell.steps), "rows")
    whole = known.tensor(np.zeros((cell.steps, cell.batch, cell.hidden), w.dtype), "states")
    starts = inputs[5:7] if cell.kind == "LSTM" else inputs[5:6]
    carried = [*(start(cell, place, name, known, make) for name in starts), whole, fed, rows]
    results = [known.name("carried") for _ in carried]
    trips, goes_on = known.tensor(np.array(cell.steps, np.int64), "trips"), known.tensor(np.array(True), "goes_on")
    made.append(known.node("Loop", [trips, goes_on, *carried], results, body=_body(cell, place, known)))
    matrix = (cell.batch, cell.hidden)  # said again: what a loop gives has no known shape
    shaped = [known.reshape(name, matrix) for name in results[:-3]]
    states, all_states = known.reshape(results[-3], (cell.steps, *matrix))
    made += [*(node for node, _ in shaped), states]
    return turned(all_states), shaped[0][1], shaped[-1][1]


def _body(cell: Cell, place: int, known: Rewriting) -> Proto:
    """One step, as a graph with its own weights."""
    onnx: Any = import_module("onnx")
    helper: Any = import_module("onnx.helper")
    _, r, _, b_r = cell.weights[place]
    matrix, gates = [cell.batch, cell.hidden], GATES[cell.kind] * cell.hidden
    states = ["hidden", "memory"] if cell.kind == "LSTM" else ["hidden"]
    shapes = {**dict.fromkeys(states, matrix), "states": [cell.steps, *matrix], "fed": [cell.steps, cell.batch, gates]}
    floats = onnx.helper.np_dtype_to_tensor_dtype(r.dtype)
    given = [
        helper.make_tensor_value_info("step", _INT64, []),
        helper.make_tensor_value_info("goes_on", _BOOL, []),
        *(helper.make_tensor_value_info(name, floats, shape) for name, shape in shapes.items()),
        helper.make_tensor_value_info("rows", _INT64, [cell.steps]),
    ]
    graph = helper.make_graph([], known.name("step"), given, [])
    own = Rewriting(graph, known.opset)
    made: list[Proto] = []
    make = making(own, made)
    row = make("Gather", "fed", make("Reshape", "step", own.constant([1])), axis=0)
    now = make("Reshape", row, own.constant([cell.batch, gates]))
    part = Own(cell, own.tensor(r.T, "weights"), own.tensor(b_r, "bias"))
    hidden, memory = STEPS[cell.kind](part, now, "hidden", "memory", own, make, made)
    grown = make("Reshape", hidden, own.constant([1, *matrix]))
    # A row is written by gathering: XNNPACK, resized from one step to several, multiplies a mask of rows wrongly.
    others = make("Cast", make("Not", make("Equal", "rows", "step")), to=_INT64)
    places = make("Mul", make("Add", "rows", own.constant([1])), others)
    filled = make("Gather", make("Concat", grown, "states", axis=0), places, axis=0)
    # What is handed on unchanged needs a node of its own.
    results = [make("Identity", name) for name in ("goes_on", *[hidden, memory][: len(states)], filled, "fed", "rows")]
    graph.node.extend(made)
    graph.output.extend(
        helper.make_tensor_value_info(name, value.type.tensor_type.elem_type,
                                      [dim.dim_value for dim in value.type.tensor_type.shape.dim])
        for name, value in zip(results, given[1:], strict=True)
    )  # fmt: skip
    opsets = [helper.make_opsetid("", known.opset)]
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=8)).graph
