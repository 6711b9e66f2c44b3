"""A Keras file to a SavedModel of one signature, "serving_default", under Keras' own names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.convert import keras_saved

if TYPE_CHECKING:
    from dlconv.convert.edge import Made, Step


def convert(step: Step) -> Made:
    """The SavedModel, as "saved_model": what the model does in inference; free dimensions stay free."""
    return keras_saved.save(step)
