"""A frozen graph of TensorFlow to a SavedModel: the graph as a function of one signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.convert import saved_model_written
from dlconv.convert.edge import Made
from dlconv.convert.tensorflow_opened import frozen, opened

if TYPE_CHECKING:
    from dlconv.convert.edge import Step


def convert(step: Step) -> Made:
    """The SavedModel, as "saved_model", with the signature "serving_default"; free dimensions stay free."""
    program, signature = opened(step)
    made = saved_model_written.save_graph(frozen(program), signature, step.out_dir / saved_model_written.ENTRY)
    return Made(saved_model_written.ENTRY, made)
