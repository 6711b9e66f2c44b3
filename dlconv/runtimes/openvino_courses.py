"""Courses of an OpenVINO IR: whole runs, a stop's tensors made outputs in each. What is no output stays fused."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.runtimes.openvino_ports import DTYPES, import_openvino

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors

_NO_OPERATORS = {"Parameter", "Result", "Constant"}


def open(path: str, arithmetic: str) -> OpenVinoCourse:
    """The IR at `path` on the CPU, in the arithmetic "float32" (with what the IR stores), "float16" or "bfloat16"."""
    return OpenVinoCourse(Path(path), arithmetic)


def outline(path: str) -> dict[str, Any]:
    """As `onnx_outputs.outline` tells a graph. "aliases": of a tensor with several names the one that stands here, by
    each of them; of one that is only quantised, that of what its readers take for it."""
    model = import_openvino().Core().read_model(path)
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() not in _NO_OPERATORS]
    ports = [port for node in nodes for port in node.outputs()]
    return {
        "operators": [
            {
                "name": str(node.get_friendly_name()),
                "kind": str(node.get_type_name()),
                "inputs": [
                    _name_of(source) for port in node.inputs() if not _is_stored(source := port.get_source_output())
                ],
                "outputs": [_name_of(port) for port in node.outputs()],
            }
            for node in nodes
        ],
        "inputs": [_name_of(port) for port in model.inputs],
        "outputs": [_name_of(port) for port in model.outputs],
        "precision": _precision_of(model),
        "aliases": {str(name): _name_of(_seen(port)) for port in ports for name in port.get_names()},
    }


def cut(path: str, to: str, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]) -> list[str]:
    """Write the part of the IR at `path` that makes `outputs` of `inputs` (by name the dtype, and the sizes) to `to`;
    the inputs that it takes."""
    ov = import_openvino()
    ops: Any = import_module("openvino.opset13")
    model = ov.Core().read_model(path)
    ports = _ports_of(model)
    wanted = [ports[name] for name in outputs]
    given = []
    for name, (dtype, *sizes) in inputs.items():
        node = ports[name].get_node()
        if node.get_type_name() != "Parameter":
            node = ops.parameter(sizes, np.dtype(dtype))
            ports[name].replace(node.output(0))
        node.output(0).set_names({name})
        given.append(node)
    part = ov.Model(wanted, given, "part")
    ov.save_model(part, to, compress_to_fp16=False)
    return list(inputs)


class OpenVinoCourse:
    """See `dlconv.runtimes.course.Course`."""

    def __init__(self, path: Path, arithmetic: str) -> None:
        ov = import_openvino()
        self._ov, self._core, self._path = ov, ov.Core(), path
        short = {long: short for short, long in DTYPES.items()}[arithmetic]
        self._wishes = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": short}
        self._held = 0

    def begin(self, samples: list[Tensors], stops: list[list[str]]) -> None:
        self._samples = samples
        self._stops = iter(stops)

    def next(self) -> list[Tensors]:
        stop = next(self._stops)
        model = self._core.read_model(str(self._path))
        known = {name for port in model.outputs for name in port.get_names()}
        ports = _ports_of(model)
        for name in stop:
            if name not in known:
                ports[name].add_names({name})
                model.add_outputs([ports[name]])
        compiled = self._core.compile_model(model, "CPU", self._wishes)
        places = {name: place for place, port in enumerate(compiled.outputs) for name in port.get_names()}
        self._held = max(self._held, len(compiled.outputs))
        return [self._answers(compiled, sample, {name: places[name] for name in stop}) for sample in self._samples]

    def held(self) -> int:
        return self._held

    def _answers(self, compiled: Any, sample: Tensors, places: dict[str, int]) -> Tensors:
        request = compiled.create_infer_request()
        given = {name: self._ov.Tensor(np.require(value, requirements="C")) for name, value in sample.items()}
        for name, tensor in given.items():
            request.set_tensor(name, tensor)
        request.infer()
        return {name: np.array(request.get_output_tensor(place).data) for name, place in places.items()}


def _ports_of(model: Any) -> dict[str, Any]:
    """Every tensor by each of its names."""
    ports = [port for node in model.get_ordered_ops() for port in node.outputs()]
    return {str(name): port for port in ports for name in (*port.get_names(), _name_of(port))}


def _seen(port: Any) -> Any:
    """What the readers of a tensor take: where a FakeQuantize alone reads it, what that gives."""
    readers = [each.get_node() for each in port.get_target_inputs()]
    if [each.get_type_name() for each in readers] == ["FakeQuantize"]:
        return readers[0].output(0)
    return port


def _is_stored(port: Any) -> bool:
    return bool(port.get_node().get_type_name() == "Constant")


def _name_of(port: Any) -> str:
    node = port.get_node()
    return str(min(port.get_names(), default=f"{node.get_friendly_name()}:{port.get_index()}"))


def _precision_of(model: Any) -> str:
    """The coarsest that the IR stores weights in."""
    nodes = model.get_ops()
    kinds = {str(node.get_element_type().get_type_name()) for node in nodes if node.get_type_name() == "Constant"}
    if kinds & {"i8", "u8"} or any(node.get_type_name() == "FakeQuantize" for node in nodes):
        return "int8"
    return "bfloat16" if "bf16" in kinds else "float16" if "f16" in kinds else "float32"
