"""An ONNX source asked what it answers, at the sample's sizes and at others: what a converted file is proved against.

Worker-side; needs onnxruntime.
"""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert.other_sizes import other_sizes
from dlconv.errors import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dlconv.model import Dim
    from dlconv.runtimes.base import Tensors


class Trial:
    """A source, a file or a serialised model, run by ONNX Runtime without optimisation."""

    def __init__(self, source: Path | bytes) -> None:
        self._source = source if isinstance(source, bytes) else str(source)

    def answers(self, fed: Tensors) -> Tensors | None:
        """The outputs by name; None where the source does not take `fed`."""
        state: Any = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        kinds: list[Any] = [kind for kind in vars(state).values() if isinstance(kind, type)]
        refusals: tuple[type[Exception], ...] = (
            *(kind for kind in kinds if issubclass(kind, Exception)),
            *(RuntimeError, ValueError),
        )
        try:
            answers = self._session.run(None, fed)
        except refusals as error:
            if is_out_of_memory(error):
                raise
            return None
        return dict(zip((value.name for value in self._session.get_outputs()), answers, strict=True))

    def others(self, shapes: dict[str, tuple[Dim, ...]], fed: Tensors) -> Iterator[tuple[Tensors, Tensors]]:
        """Inputs at other sizes of the free dimensions of `shapes`, and what the source answers to them."""
        for other in other_sizes(shapes, fed):
            answers = self.answers(other)
            if answers is not None:
                yield other, answers

    @cached_property
    def _session(self) -> Any:
        onnxruntime: Any = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self._source, options, providers=["CPUExecutionProvider"])
