"""A Keras file as a SavedModel of one signature, "serving_default", under Keras' own names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv.convert import saved_model_written
from dlconv.convert.edge import Made
from dlconv.convert.tensorflow_opened import opened

if TYPE_CHECKING:
    from dlconv.convert.edge import Step


def save(step: Step) -> Made:
    """Writes "saved_model" in the step's folder: what the model does in inference, at the sizes of its signature.

    Keras' own export gives the outputs numbers for names; here they keep the model's.
    """
    program, signature = opened(step)

    def call(given: list[Any]) -> list[Any]:
        answer = program.function(**dict(zip((spec.name for spec in signature.inputs), given, strict=True)))
        return [answer[spec.name] for spec in signature.outputs]

    made = saved_model_written.save(call, signature, step.out_dir / saved_model_written.ENTRY)
    return Made(saved_model_written.ENTRY, made)
