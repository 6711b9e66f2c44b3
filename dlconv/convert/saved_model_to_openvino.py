"""A SavedModel to OpenVINO IR by OpenVINO's own TensorFlow frontend, without ONNX between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.convert import openvino_tensorflow
from dlconv.convert.saved_model_names import KEY
from dlconv.convert.saved_model_tensors import keys_of, tensors_of
from dlconv.errors import StepError, Unsupported

if TYPE_CHECKING:
    from dlconv.convert.edge import Made, Step


def convert(step: Step) -> Made:
    """The IR of the step's signature, "model.xml" and "model.bin": its names, order, dtypes and free sizes.

    Raises Unsupported for another signature than "serving_default" where there is that one, for the frontend then reads
    it alone; for strings; and for operators that the frontend lacks, each named.
    """
    entry = step.signature.entry or KEY
    keys = keys_of(step.source)
    if entry != KEY and KEY in keys:
        raise Unsupported(
            f"OpenVINO reads no signature {entry!r} of a SavedModel that has {KEY!r} as well",
            wanted=f"the signature {KEY}",
            mend="another route is tried: through ONNX any signature is converted",
        )
    inputs, outputs = tensors_of(step.source, entry)
    known = step.signature
    lost = [spec.name for spec in known.inputs if spec.name not in inputs]
    lost += [spec.name for spec in known.outputs if spec.name not in outputs]
    if lost:
        raise StepError(
            f"the signature {entry} has no tensor called {', '.join(lost)}", wanted=f"{[*inputs, *outputs]}"
        )
    return openvino_tensorflow.convert(step, inputs, outputs)
