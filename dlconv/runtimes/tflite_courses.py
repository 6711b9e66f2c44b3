"""Courses of a TFLite file: whole runs without a delegate, all tensors of which the interpreter keeps.

The interpreter keeps them for one sample at a time, and no fewer: what it would hold is counted before.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import tflite_boundary, tflite_flatbuffer
from dlconv.runtimes.tflite import TfliteSession

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.tflite_flatbuffer import FlatGraph

_MOST_BYTES = 2 << 30
_INTEGERS = ("int8", "uint8", "int16", "int32")


def open(path: str, arithmetic: str) -> TfliteCourse:
    """The file at `path`; the arithmetic is the file's own. Quantised tensors are shown as the numbers that they stand
    for. Raises Unsupported where all its tensors together are too large to keep."""
    return TfliteCourse(Path(path))


def outline(path: str) -> dict[str, Any]:
    """As `onnx_outputs.outline` tells a graph. Tensors of which two bear one name are left out."""
    model = tflite_flatbuffer.load(Path(path))
    if tflite_boundary.entry_of(model).graph:  # the interpreter shows the main graph's alone
        return {"operators": [], "inputs": [], "outputs": [], "precision": "float32"}
    graph = model.graphs[0]
    names = [tensor.name for tensor in graph.tensors]
    made = {number for operator in graph.operators for number in operator.outputs}

    def known(numbers: tuple[int, ...]) -> list[str]:
        return [names[number] for number in numbers if number >= 0 and names.count(names[number]) == 1]

    quantised = any(graph.tensors[number].dtype in ("int8", "uint8", "int16") for number in made)
    halves = any(tensor.dtype == "float16" for tensor in graph.tensors)
    return {
        "operators": [
            {
                "name": names[operator.outputs[0]] if operator.outputs else "",
                "kind": operator.name,
                "inputs": [name for name in known(operator.inputs) if not graph.tensors[names.index(name)].is_stored],
                "outputs": known(operator.outputs),
            }
            for operator in graph.operators
        ],
        "inputs": known(graph.inputs),
        "outputs": known(graph.outputs),
        "precision": "int8" if quantised else "float16" if halves else "float32",
    }


class TfliteCourse:
    """See `dlconv.runtimes.course.Course`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        graph = _graph_of(path)
        self._numbers = {tensor.name: number for number, tensor in enumerate(graph.tensors)}
        held = sum(prod(max(size, 1) for size in tensor.shape) * 4 for tensor in graph.tensors if not tensor.is_stored)
        if held > _MOST_BYTES:
            raise Unsupported(f"all tensors of {path.name} take {held / 1e9:.1f} GB", wanted="at most 2 GiB")

    def begin(self, samples: list[Tensors], stops: list[list[str]]) -> None:
        signature = Signature(tuple(TensorSpec(name, value.dtype.name, None) for name, value in samples[0].items()))
        self._session = TfliteSession(self._path, xnnpack=False, signature=signature, keeps_all=True)
        self._samples = samples
        self._stops = iter(stops)

    def next(self) -> list[Tensors]:
        stop = next(self._stops)
        shown: list[Tensors] = []
        for sample in self._samples:
            self._session.run(sample)
            shown.append({name: self._tensor(name) for name in stop})
        return shown

    def held(self) -> int:
        return len(self._numbers)

    def _tensor(self, name: str) -> np.ndarray[Any, Any]:
        value, detail = self._session.tensor(self._numbers[name])
        scales, zeros = (detail["quantization_parameters"][key] for key in ("scales", "zero_points"))
        if not len(scales) or value.dtype.name not in _INTEGERS:
            return value
        shape = [1] * value.ndim
        if len(scales) > 1:
            shape[detail["quantization_parameters"]["quantized_dimension"]] = len(scales)
        steps = (np.asarray(each, np.float64).reshape(shape) for each in (scales, zeros))
        scale, zero = steps
        return ((value - zero) * scale).astype(np.float32)


def _graph_of(path: Path) -> FlatGraph:
    model = tflite_flatbuffer.load(path)
    number = tflite_boundary.entry_of(model).graph
    if number:
        raise Unsupported(f"the entry point of {path.name} is not its main graph, whose tensors alone can be seen")
    return model.graphs[number]
