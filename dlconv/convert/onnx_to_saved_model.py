"""ONNX back to a SavedModel by onnx2tf: its builders lower the graph, its kernels replay it in TensorFlow.

Names, order and layouts of inputs and outputs stay the source's: an image that the ONNX takes as NCHW, the SavedModel
takes as NCHW.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert import onnx2tf_attempts as attempts
from dlconv.convert import onnx2tf_kernels
from dlconv.convert.edge import Made, Step
from dlconv.convert.saved_model_names import KEY, allowed
from dlconv.errors import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import TensorSpec
    from dlconv.runtimes.base import Tensors

ENTRY = "saved_model"
_EXPORTER = "onnx2tf.tflite_builder.saved_model_exporter"


def convert(step: Step) -> Made:
    """The SavedModel of an ONNX model, as "saved_model", with the signature "serving_default".

    Free dimensions stay free where the SavedModel then answers as the source does at another size; else they are
    frozen to the sample's, the batch the last of them, and a note says so.
    Raises Unsupported for an operator that cannot be converted, and for a model too large for the format.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    onnx: Any = import_module("onnx")
    attempts.check_size(step.source)
    model = onnx.load(str(step.source))
    fed = attempts.fed_of(model, step)
    return attempts.first_that_holds(step.signature, fed, lambda attempt: _attempted(model, step, attempt, fed))


def _attempted(model: Proto, step: Step, attempt: attempts.Attempt, fed: Tensors) -> Made:
    path = step.out_dir / ENTRY
    shutil.rmtree(path, ignore_errors=True)  # what an attempt before this one left
    made = attempts.lowered(model, step, attempt, fed)
    known = {spec.name: spec for spec in step.signature.inputs}
    inputs = allowed(replace(known[name], shape=attempt.shapes[name]) for name in made.graph.inputs)
    named = {spec.name: spec for spec in step.signature.outputs}
    outputs = allowed(named[name] for name in made.graph.outputs)
    _save(made.graph, inputs, outputs, path)
    saved = _Saved(path, dict(zip(made.graph.inputs, inputs, strict=True)), made.graph.outputs, outputs)
    answers = attempts.proved_answers(saved, made, fed, made.trial.answers(fed))
    found = {spec.name: spec for spec in attempts.outputs_of(model, step.signature, answers)}
    given = tuple(
        replace(spec, dtype=found[name].dtype, shape=found[name].shape)
        for name, spec in zip(made.graph.outputs, outputs, strict=True)
    )
    taken = tuple(replace(spec, dtype=saved.dtypes[spec.name]) for spec in inputs)
    return Made(ENTRY, replace(step.signature, inputs=taken, outputs=given, entry=KEY), made.notes)


def _save(graph: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], path: Path) -> None:
    """Write onnx2tf's graph as a SavedModel whose signature has the names of `inputs` and `outputs`."""
    import tensorflow as tf

    exporter: Any = import_module(_EXPORTER)
    onnx2tf_kernels.mend(exporter)
    lacking = exporter._collect_unsupported_ops_for_model(graph)
    if lacking:
        raise Unsupported(f"onnx2tf has no TensorFlow kernel for {', '.join(lacking)}", mend="another route is tried")
    replay = exporter._SavedModelModule(model_ir=graph)

    def named(**given: Any) -> dict[str, Any]:
        answers = replay._serve_impl(*(given[spec.name] for spec in inputs))
        return {spec.name: answers[name] for name, spec in zip(graph.outputs, outputs, strict=True)}

    wanted = {
        spec.name: tf.TensorSpec(
            [size if isinstance(size, int) else None for size in spec.shape or ()],
            exporter._tf_dtype_from_tensor_ir(graph.tensors[name]),
        )
        for name, spec in zip(graph.inputs, inputs, strict=True)
    }
    module: Any = tf.Module()
    module.replay = replay
    module.call = tf.function(named, autograph=False).get_concrete_function(**wanted)
    tf.saved_model.save(module, str(path), signatures={KEY: module.call})


class _Saved:
    """The SavedModel, loaded again, that answers by the source's names. dtypes: its inputs', by its own names."""

    def __init__(
        self, path: Path, inputs: dict[str, TensorSpec], answered: list[str], outputs: tuple[TensorSpec, ...]
    ) -> None:
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(path))
        self._call = self._loaded.signatures[KEY]
        self._inputs = inputs
        self._outputs = dict(zip(answered, (spec.name for spec in outputs), strict=True))
        taken = self._call.structured_input_signature[1]
        self.dtypes = {name: spec.dtype.name for name, spec in taken.items()}

    def run(self, inputs: Tensors) -> Tensors:
        import tensorflow as tf

        fed = {
            spec.name: tf.constant(inputs[name], dtype=self.dtypes[spec.name]) for name, spec in self._inputs.items()
        }
        answers = self._call(**fed)
        return {name: answers[mine].numpy() for name, mine in self._outputs.items()}
