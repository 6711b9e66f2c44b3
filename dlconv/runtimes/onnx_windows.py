"""An ONNX model run in ONNX Runtime in windows of nodes, each a session of its own, its tensors all shown.

A window begins with the tensors that the ones before it left for it. What nobody reads any more is dropped, so that
memory holds one window and what crosses its border, never the whole run.
"""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.graphs.onnx_clean import reads_of
from dlconv.runtimes.onnx_outputs import needed, opened, part_of, save
from dlconv.runtimes.onnxruntime import PROVIDER, session_options

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.runtimes.base import Tensors

_AS_BYTES = 1 << 30


class OnnxWindows:
    """See `dlconv.runtimes.course.Course`. optimisation: of each window, "none" or "all"."""

    def __init__(self, path: Path, optimisation: str = "none") -> None:
        self._model = opened(path)
        self._folder = path.parent
        self._optimisation = optimisation
        self._held = 0
        self._stops: list[list[str]] = []
        self._scopes: list[Tensors] = []
        self._nodes: list[Proto] = []

    def begin(self, samples: list[Tensors], stops: list[list[str]]) -> None:
        self._stops = stops
        self._turn = self._cursor = 0
        self._scopes = [dict(sample) for sample in samples]
        asked = {name for stop in stops for name in stop}
        self._nodes = needed(self._model.graph.node, asked, set(self._scopes[0]))
        self._maker = {name: place for place, node in enumerate(self._nodes) for name in node.output if name}
        self._last_read = {name: place for place, node in enumerate(self._nodes) for name in reads_of(node)}
        self._last_stop = {name: turn for turn, stop in enumerate(stops) for name in stop}

    def next(self) -> list[Tensors]:
        stop = self._stops[self._turn]
        end = max((self._maker[name] + 1 for name in stop if name in self._maker), default=0)
        if end > self._cursor:
            self._run_to(end)
        shown = [{name: scope[name] for name in stop} for scope in self._scopes]
        self._turn += 1
        for scope in self._scopes:
            for name in [name for name in scope if not self._is_needed(name)]:
                del scope[name]
        return shown

    def held(self) -> int:
        return self._held

    def _is_needed(self, name: str) -> bool:
        """By a node or a stop that is still to come."""
        return self._last_read.get(name, -1) >= self._cursor or self._last_stop.get(name, -1) >= self._turn

    def _run_to(self, end: int) -> None:
        nodes = self._nodes[self._cursor : end]
        self._cursor = end
        outputs = [name for node in nodes for name in node.output if name and self._is_needed(name)]
        helper: Any = import_module("onnx.helper")
        kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in self._scopes[0].items()}
        session = self._session(part_of(self._model, self._folder, nodes, kinds, outputs))
        inputs = [value.name for value in session.get_inputs()]
        for scope in self._scopes:
            answers = session.run(outputs, {name: scope[name] for name in inputs})
            for name, answer in zip(outputs, answers, strict=True):
                if isinstance(answer, (list, dict)) or answer is None:
                    raise Unsupported(f"{name!r} is a sequence, a map or optional", wanted="tensors between windows")
                scope[name] = np.asarray(answer)
            self._held = max(self._held, len(scope))

    def _session(self, part: Proto) -> Any:
        ort: Any = import_module("onnxruntime")
        options = session_options(self._optimisation, 0)
        if part.ByteSize() < _AS_BYTES:
            return ort.InferenceSession(part.SerializeToString(), options, providers=[PROVIDER])
        with tempfile.TemporaryDirectory(prefix="dlconv-") as folder:
            save(part, Path(folder) / "part.onnx")
            return ort.InferenceSession(str(Path(folder) / "part.onnx"), options, providers=[PROVIDER])
