"""A SavedModel to TFLite by TensorFlow's own converter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.convert import tflite_written
from dlconv.convert.tensorflow_opened import opened, refuse_strings

if TYPE_CHECKING:
    from dlconv.convert.edge import Made, Step


def convert(step: Step) -> Made:
    """The TFLite model of a SavedModel's signature, as "model.tflite", in float32, of TFLite's own operators.

    Free dimensions stay free where the file then answers as the source does at another size.
    Raises Unsupported for operators that TFLite lacks, each named, and for strings.
    """
    refuse_strings(step.signature)
    program, signature = opened(step)
    saved = tflite_written.Saved(step.source, program.signature.entry, program)
    return tflite_written.convert(saved, signature, step.sample, step.out_dir)
