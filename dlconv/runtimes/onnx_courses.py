"""Courses of an ONNX model: in ONNX Runtime window by window, or node by node in float64 or rounded to a precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.graphs.onnx_graph import read_model
from dlconv.runtimes.onnx_double import Double
from dlconv.runtimes.onnx_plan import program_of
from dlconv.runtimes.onnx_reference import refuse
from dlconv.runtimes.onnx_rounded import Rounded
from dlconv.runtimes.onnx_rounded_int8 import RoundedToInt8, ranges_on
from dlconv.runtimes.onnx_walk import Walk
from dlconv.runtimes.onnx_windows import OnnxWindows

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors
    from dlconv.runtimes.course import Course


def open(path: str, arithmetic: str) -> Course:
    """The model at `path` in "onnxruntime" (as the file has it), "float64", "float16", "bfloat16" or "int8" (emulated;
    int8 with the ranges of the samples that it runs on).

    Raises Unsupported for models whose answers are random and, but for the first, for what cannot be walked so.
    """
    source = Path(path)
    refuse(read_model(source), "" if arithmetic == "onnxruntime" else f"a run node by node in {arithmetic}")
    return OnnxWindows(source) if arithmetic == "onnxruntime" else WalkedCourse(source, arithmetic)


class WalkedCourse:
    """See `dlconv.runtimes.course.Course`."""

    def __init__(self, path: Path, arithmetic: str) -> None:
        self._program = program_of(path)
        self._arithmetic = arithmetic
        self._weights = len(self._program.plan.weights)
        self._held = 0

    def begin(self, samples: list[Tensors], stops: list[list[str]]) -> None:
        rounded = self._rounded(samples)
        walk = Walk(self._program.plan, rounded or Double(self._program.opsets))
        self._stops = iter(stops)
        self._later = {name for stop in stops for name in stop}
        self._runs: list[Iterator[dict[str, Any]]] = [
            walk.steps(
                {name: rounded.given(name, value) for name, value in sample.items()} if rounded else dict(sample)
            )
            for sample in samples
        ]
        self._seen: list[Tensors] = [{} for _ in samples]

    def next(self) -> list[Tensors]:
        stop = next(self._stops)
        for run, seen in zip(self._runs, self._seen, strict=True):
            while any(name not in seen for name in stop):
                scope = next(run)
                for name in self._later & scope.keys() - seen.keys():
                    seen[name] = np.asarray(scope[name])
                self._held = max(self._held, len(scope.keys() | seen.keys()) - self._weights)
        shown = [{name: seen.pop(name) for name in stop} for seen in self._seen]
        self._later -= set(stop)
        return shown

    def held(self) -> int:
        return self._held

    def _rounded(self, samples: list[Tensors]) -> Rounded | RoundedToInt8 | None:
        if self._arithmetic == "float64":
            return None
        if self._arithmetic == "int8":
            ranges = ranges_on(self._program, samples)
            return RoundedToInt8(self._program, frozenset(), ranges, is_stored_alone=False)
        return Rounded(self._program, self._arithmetic)
