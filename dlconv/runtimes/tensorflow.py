"""TensorFlow and Keras, as the references of their own models: the framework's own call, or the graph in float64."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.model import Signature
from dlconv.runtimes.tensorflow_double import has_halves, widened
from dlconv.runtimes.tensorflow_graph import GraphSession, to_numpy
from dlconv.runtimes.tensorflow_import import tensorflow
from dlconv.runtimes.tensorflow_program import Program, open_program

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.base import Tensors

_EXPLAINED = 1e-3
"""How far, in units of an output's largest value, float32 may lie from float64: beyond that the graph in float64 is no
witness of the same model (or the model is so ill-conditioned that its float32 answers are none)."""
_EXPLAINED_OF_HALVES = 0.1
"""The same of a graph that holds float16 or bfloat16, whose steps are 2 ** -11 and 2 ** -8 of a value."""


def probe() -> dict[str, Any]:
    """The version and devices of TensorFlow, proved by running a traced product."""
    tf = tensorflow()
    product = tf.function(lambda x: tf.linalg.matmul(x, tf.ones((3, 2))), autograph=False)
    if tuple(product(tf.ones((2, 3))).shape) != (2, 2):
        raise RuntimeError("a traced product gave a wrong shape")
    return {"version": tf.__version__, "devices": ["CPU"]}


def open(
    path: Path | str, signature: Signature | dict[str, Any], settings: dict[str, Any] | None = None
) -> TensorFlowSession:
    """A session of a SavedModel, a Keras file or a frozen graph.

    settings: "double" (True runs the frozen graph in float64), "trust" (a Keras file's own code may run), "threads"
    (0: as many as TensorFlow chooses; they are the process's).
    """
    told = settings or {}
    tf = tensorflow()
    if told.get("threads"):
        tf.config.threading.set_intra_op_parallelism_threads(int(told["threads"]))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    known = Signature.from_dict(signature) if isinstance(signature, dict) else signature
    program = open_program(
        Path(path),
        known.entry,
        trust=bool(told.get("trust")),
        inputs=known.inputs,
        outputs=[spec.name for spec in known.outputs],
    )
    return TensorFlowSession(program, known, double=bool(told.get("double")))


class TensorFlowSession:
    """A loaded program. It keeps nothing from call to call that the model itself does not."""

    def __init__(self, program: Program, signature: Signature, *, double: bool) -> None:
        self._program = program
        self._names = [spec.name for spec in signature.outputs] or [spec.name for spec in program.signature.outputs]
        self._wide: GraphSession | None = None
        self._explained, self._is_half = _EXPLAINED, False
        if double:
            frozen = program.frozen(False)
            self._wide = GraphSession(widened(frozen))
            self._is_half = has_halves(frozen)
            self._explained = _EXPLAINED_OF_HALVES if self._is_half else _EXPLAINED

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name. In float64 the floating ones are float64, or Unsupported is raised."""
        single = self._program.call(inputs)
        if self._wide is None:
            return {name: single[name] for name in self._names}
        wide = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in inputs.items()}
        double = self._wide.run(wide)
        for name in self._names:
            _check(name, single[name], double[name], self._explained)
        return {name: double[name] for name in self._names}

    def bound(self, inputs: Tensors) -> tuple[Callable[[], Any], Callable[[Any], Tensors]]:
        """See `dlconv.runtimes.base.Timeable`."""
        if self._wide is not None:
            raise Unsupported("a session in float64 is not timed", wanted="the model's own precision")
        tf = tensorflow()
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        function = self._program.function

        def read(answer: Any) -> Tensors:
            return {name: to_numpy(answer[name]) for name in self._names}

        return lambda: function(**tensors), read

    def placement(self) -> dict[str, Any]:
        """The device, the precision, and what opened the file; of a session in float64 also "halves", whether something
        in the model is in float16 or bfloat16."""
        told = {"device": "CPU", "precision": "float32", "framework": self._program.framework}
        return told if self._wide is None else {**told, "precision": "float64", "halves": self._is_half}


def _check(name: str, single: np.ndarray[Any, Any], double: np.ndarray[Any, Any], explained: float) -> None:
    """Raises Unsupported where the answer in float64 is none, or is not of the same model: more than the `explained`
    share of its scale away."""
    if single.dtype.kind not in "fc":
        return
    if double.dtype not in (np.float64, np.complex128):
        raise Unsupported(f"the model cannot run in float64: {name} comes out as {double.dtype.name}")
    if single.shape != double.shape:
        raise Unsupported(f"in float64 {name} has the shape {double.shape}, in float32 {single.shape}")
    if not single.size:
        return
    known = np.isfinite(single) & np.isfinite(double)
    if not np.array_equal(np.isfinite(single), np.isfinite(double)):
        raise Unsupported(f"in float64 {name} is finite where in float32 it is not, or the other way about")
    distance = np.abs(single.astype(double.dtype) - double)[known].max(initial=0.0)
    scale = np.abs(double)[known].max(initial=0.0)
    if not distance <= explained * scale:
        raise Unsupported(
            f"{name} in float64 lies {distance:.3g} from float32, of at most {scale:.3g}: that is more than rounding",
            mend="the model's own precision serves as the reference",
        )
