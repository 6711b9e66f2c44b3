"""Loops and scans of an ONNX graph written out step by step, where the number of steps is known.

A scan has as many as what it goes over has rows. A loop goes on while its condition holds: where that hangs on numbers
alone that are known before it starts (a counter, a length), they are counted by computing them. Worker-side.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_fold import fold, rename, set_nodes, used_by
from dlconv.convert.onnx_trial import Trial
from dlconv.errors import Unsupported
from dlconv.graphs.onnx_graph import opset_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from dlconv.graphs.onnx_graph import Proto

MOST_STEPS = 256
"""Steps that are written out, each with all operators of the body."""
_FIRST_OPSET_OF_PLAIN_SCANS = 9
_FIRST_OPSET_OF_AXES_AS_INPUT = 13

Array = np.ndarray[Any, Any]


def unroll(model: Proto, apart: Collection[str] = ()) -> tuple[Proto, int]:
    """The model, folded, without loops and scans of known length; and how many there were.

    Those of unknown length, or a great one, stay as they are. apart: as `onnx_fold.fold` takes it.
    """
    unrolled = 0
    while place := _write_out_first(model):
        unrolled += bool(place)
        model = fold(model, apart)
    return model, unrolled


def refuse_loops(model: Proto) -> None:
    """Raise Unsupported where a loop or a scan is left."""
    left = [node for node in model.graph.node if node.op_type in ("Loop", "Scan")]
    if left:
        raise Unsupported(
            f"the {left[0].op_type} {left[0].name or left[0].output[0]} has a number of steps that is not known "
            f"beforehand, or over {MOST_STEPS}",
            wanted="recurrent layers or loops of a known length, which are written out step by step",
            mend="give the length a size by --input NAME:SHAPE; of a TensorFlow or Keras model convert straight: "
            "--route saved_model_to_tflite, or keras_to_tflite",
        )


def _write_out_first(model: Proto) -> bool:
    graph = model.graph
    for place, node in enumerate(graph.node):
        if node.op_type == "Loop":
            made = _loop(model, node)
        elif node.op_type == "Scan" and opset_of(model) >= _FIRST_OPSET_OF_PLAIN_SCANS:
            made = _scan(model, node)
        else:
            continue
        if made is not None:
            set_nodes(graph, [*graph.node[:place], *made, *graph.node[place + 1 :]])
            return True
    return False


class _Writer:
    """The steps of one node: its body, copied into the graph under names of its own in each."""

    def __init__(self, model: Proto, node: Proto, body: Proto) -> None:
        self._helper: Any = import_module("onnx.helper")
        self._graph = model.graph
        self._opset = opset_of(model)
        self._stem = next(name for name in node.output if name)
        self._body = type(body).FromString(body.SerializeToString())
        self.nodes: list[Proto] = []
        own = {each.name: f"{self._stem}/{each.name}" for each in self._body.initializer}
        rename(self._body, own)
        self._graph.initializer.extend(self._body.initializer)
        del self._body.initializer[:]

    def constant(self, values: Array, stem: str) -> str:
        numpy_helper: Any = import_module("onnx.numpy_helper")
        name = f"{self._stem}/{stem}"
        if all(each.name != name for each in self._graph.initializer):
            self._graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def step(self, number: int, given: list[str]) -> list[str]:
        """The names of the body's outputs, of its inputs under the names `given`."""
        copy = type(self._body).FromString(self._body.SerializeToString())
        names = {name: f"{self._stem}/{number}/{name}" for node in copy.node for name in node.output if name}
        names |= {value.name: name for value, name in zip(copy.input, given, strict=True)}
        rename(copy, names)
        for node in copy.node:  # ONNX Runtime refuses two nodes of one name
            node.name = node.name and f"{self._stem}/{number}/{node.name}"
        self.nodes += copy.node
        return [value.name for value in copy.output]

    def row(self, source: str, number: int, axis: int) -> str:
        """One row of what a scan goes over, without its axis."""
        target = f"{self._stem}/{number}/row of {source}"
        place = self.constant(np.array(number, np.int64), f"row {number}")
        self._add("Gather", [source, place], [target], axis=axis)
        return target

    def stack(self, parts: list[str], axis: int, target: str) -> None:
        """The parts beside one another along a new axis."""
        grown = [f"{target}/{number}" for number in range(len(parts))]
        for part, name in zip(parts, grown, strict=True):
            if self._opset < _FIRST_OPSET_OF_AXES_AS_INPUT:
                self._add("Unsqueeze", [part], [name], axes=[axis])
            else:
                self._add("Unsqueeze", [part, self.constant(np.array([axis], np.int64), f"axis {axis}")], [name])
        self._add("Concat", grown, [target], axis=axis)

    def same(self, source: str, target: str) -> None:
        if target:
            self._add("Identity", [source], [target])

    def _add(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(self._helper.make_node(kind, inputs, outputs, **attributes))


def _scan(model: Proto, node: Proto) -> list[Proto] | None:
    helper: Any = import_module("onnx.helper")
    told = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    body, scanned = told["body"], int(told["num_scan_inputs"])
    states = len(node.input) - scanned
    gathered = len(node.output) - states
    axes = list(told.get("scan_input_axes", [0] * scanned))
    ways = list(told.get("scan_input_directions", [0] * scanned))
    out_axes = list(told.get("scan_output_axes", [0] * gathered))
    out_ways = list(told.get("scan_output_directions", [0] * gathered))
    steps = _rows(model, node.input[states], axes[0])
    if steps is None or min([*axes, *out_axes], default=0) < 0:
        return None
    writer = _Writer(model, node, body)
    carried, parts = list(node.input[:states]), [list[str]() for _ in range(gathered)]
    for number in range(steps):
        rows = [
            writer.row(name, steps - 1 - number if way else number, axis)
            for name, axis, way in zip(node.input[states:], axes, ways, strict=True)
        ]
        results = writer.step(number, [*carried, *rows])
        carried = results[:states]
        for part, name in zip(parts, results[states:], strict=True):
            part.append(name)
    for source, target in zip(carried, node.output, strict=False):
        writer.same(source, target)
    for part, axis, way, target in zip(parts, out_axes, out_ways, node.output[states:], strict=True):
        if target:
            writer.stack(part[::-1] if way else part, axis, target)
    return writer.nodes


def _loop(model: Proto, node: Proto) -> list[Proto] | None:
    body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
    steps = _steps_of(model, node, body)
    if steps is None:
        return None
    states = len(node.input) - 2
    writer = _Writer(model, node, body)
    carried, parts = list(node.input[2:]), [list[str]() for _ in node.output[states:]]
    holds = writer.constant(np.array(True), "it goes on")
    for number in range(steps):
        counter = writer.constant(np.array(number, np.int64), f"step {number}")
        results = writer.step(number, [counter, holds, *carried])[1:]
        carried = results[:states]
        for part, name in zip(parts, results[states:], strict=True):
            part.append(name)
    for source, target in zip(carried, node.output, strict=False):
        writer.same(source, target)
    for part, target in zip(parts, node.output[states:], strict=True):
        if target:
            writer.stack(part, 0, target)
    return writer.nodes


def _rows(model: Proto, name: str, axis: int) -> int | None:
    for value in (*model.graph.value_info, *model.graph.input):
        if value.name == name and value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            size = int(dims[axis].dim_value) if axis < len(dims) else 0
            return size if 0 < size <= MOST_STEPS else None
    found = next((tensor for tensor in model.graph.initializer if tensor.name == name), None)
    return int(found.dims[axis]) if found is not None and 0 < found.dims[axis] <= MOST_STEPS else None


def _steps_of(model: Proto, node: Proto, body: Proto) -> int | None:
    """How often the body runs; None where that is not known, is never, or more than are written out."""
    numpy_helper: Any = import_module("onnx.numpy_helper")
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    trips, condition = ([*node.input, "", ""])[:2]
    if any(name and name not in known for name in (trips, condition)):
        return None
    most = int(numpy_helper.to_array(known[trips]).item()) if trips else MOST_STEPS + 1
    control = _control(body)
    values: dict[str, Array] = {
        body.input[0].name: np.array(0, np.int64),
        body.input[1].name: numpy_helper.to_array(known[condition]) if condition else np.array(True),
    }
    for value, name in zip(body.input[2:], node.input[2:], strict=True):
        if value.name in control:
            if name not in known:
                return None
            values[value.name] = numpy_helper.to_array(known[name])
    step = _control_step(model, body, control, known)
    if step is None:
        return None
    count, holds = 0, bool(values[body.input[1].name].item())
    while holds and count < min(most, MOST_STEPS + 1):
        answers = step.answers({name: value for name, value in values.items() if name in control})
        if answers is None:
            return None
        found = list(answers.values())
        holds = bool(found[0].item())
        carried = [value.name for value in body.input[2:] if value.name in control]
        values |= dict(zip(carried, found[1:], strict=True))
        count += 1
        values[body.input[0].name] = np.array(count, np.int64)
        values[body.input[1].name] = np.array(holds)
    return count if 0 < count <= MOST_STEPS else None


def _control(body: Proto) -> set[str]:
    """All names in the body that its condition hangs on, from step to step."""
    makers = {name: node for node in body.node for name in node.output}
    carried = {value.name: output.name for value, output in zip(body.input[1:], body.output, strict=False)}
    pending, seen = [body.output[0].name], set[str]()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        pending += used_by(makers[name]) if name in makers else ()
        pending += [carried[name]] if name in carried else ()
    return seen - {""}


def _control_step(model: Proto, body: Proto, control: set[str], known: dict[str, Proto]) -> Trial | None:
    """The part of the body that the condition hangs on, as a model of one step: the condition, and its carried values.

    None where it hangs on something that is computed outside."""
    helper: Any = import_module("onnx.helper")
    own = {each.name: each for each in body.initializer}
    nodes = [node for node in body.node if set(node.output) & control]
    made = {name for node in nodes for name in node.output}
    inputs = [value for value in body.input if value.name in control]
    outside = control - made - {value.name for value in inputs} - own.keys()
    if not outside <= known.keys():
        return None
    wanted = [body.output[0].name]
    wanted += [
        output.name for value, output in zip(body.input[2:], body.output[1:], strict=False) if value.name in control
    ]
    # An output of its own each: a model may not give an input, or one value twice.
    results = [f"dlconv/control/{place}" for place in range(len(wanted))]
    nodes += [helper.make_node("Identity", [name], [result]) for name, result in zip(wanted, results, strict=True)]
    outputs = [helper.make_empty_tensor_value_info(name) for name in results]
    weights = [(own | known)[name] for name in sorted(control & (own.keys() | outside))]
    part = helper.make_graph(nodes, "control", inputs, outputs, weights)
    whole = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    return Trial(whole.SerializeToString())
