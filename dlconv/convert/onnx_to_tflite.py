"""ONNX to TFLite by onnx2tf, without TensorFlow: names, order and layouts of inputs and outputs stay the source's."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert import onnx2tf_attempts as attempts
from dlconv.convert import onnx2tf_lowering, onnx_classic
from dlconv.convert.edge import Made, Step
from dlconv.model import Signature
from dlconv.runtimes import tflite

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.runtimes.base import Tensors

ENTRY = "model.tflite"


def convert(step: Step) -> Made:
    """The TFLite model of an ONNX model, as "model.tflite".

    settings: "passes": "none" (the default: operators as they are, exact rewritings alone) or "layout" (onnx2tf's own).
    Free dimensions stay free where the file then answers as the source does at another size; else they are
    frozen to the sample's, the batch the last of them, and a note says so.
    Raises Unsupported for an operator that cannot be converted, and for a model too large for the format; Unreachable
    for operators of ai.onnx.ml that cannot be written in ONNX's own.
    """
    onnx: Any = import_module("onnx")
    attempts.check_size(step.source)
    model = onnx.load(str(step.source))
    spelled = onnx_classic.spell_out(model, "TFLite")
    fed = attempts.fed_of(model, step)
    made = attempts.first_that_holds(step.signature, fed, lambda attempt: _attempted(model, step, attempt, fed))
    return replace(made, notes=(*spelled, *made.notes))


def _attempted(model: Proto, step: Step, attempt: attempts.Attempt, fed: Tensors) -> Made:
    made = attempts.lowered(model, step, attempt, fed)
    path = step.out_dir / ENTRY
    onnx2tf_lowering.write(made.graph, path)
    session = tflite.TfliteSession(path, threads=1)
    is_to_prove = attempt.kept or step.settings.get("passes", "none") != "none"
    answers = attempts.proved_answers(session, made, fed, made.trial.answers(fed) if is_to_prove else None)
    refused = session.placement().get("delegate_refused", "")
    told = (f"runs without the XNNPACK delegate alone, which refuses the model: {refused}",) if refused else ()
    inputs = tuple(
        replace(spec, dtype=np.dtype(session.inputs[spec.name]["dtype"]).name, shape=attempt.shapes[spec.name])
        for spec in step.signature.inputs
    )
    outputs = attempts.outputs_of(model, step.signature, answers)
    return Made(ENTRY, Signature(inputs, outputs, step.signature.constants), (*made.notes, *told))
