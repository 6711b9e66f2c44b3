"""A Keras file to TFLite by TensorFlow's own converter."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from dlconv.convert import keras_saved, tflite_written
from dlconv.convert.tensorflow_opened import refuse_strings
from dlconv.runtimes.tensorflow_program import open_program

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.convert.edge import Made, Step
    from dlconv.convert.tflite_attempts import Shapes


def convert(step: Step) -> Made:
    """The TFLite model of a Keras file, as "model.tflite", in float32, of TFLite's own operators.

    Free dimensions stay free where the file then answers as the source does at another size.
    Raises Unsupported for operators that TFLite lacks, each named, and for strings.
    """
    refuse_strings(step.signature)
    between = keras_saved.save(step)
    folder = step.out_dir / between.entry

    def sized(shapes: Shapes, place: Path) -> Path:
        """Traced again: the loops of recurrent layers have to know their sizes."""
        own = {spec.source_name: shapes[spec.name] for spec in between.signature.inputs}
        inputs = tuple(replace(spec, shape=own[spec.name]) for spec in step.signature.inputs)
        place.mkdir()
        again = replace(step, signature=replace(step.signature, inputs=inputs), out_dir=place)
        return place / keras_saved.save(again).entry

    try:
        saved = tflite_written.Saved(folder, between.signature.entry, open_program(folder), sized)
        sample = {spec.name: step.sample[spec.source_name] for spec in between.signature.inputs}
        made = tflite_written.convert(saved, between.signature, sample, step.out_dir)
    finally:
        shutil.rmtree(folder)
    return replace(made, notes=(*between.notes, *made.notes))
