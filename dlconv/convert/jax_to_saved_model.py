"""An exported JAX program to a SavedModel by jax2tf: one XlaCallModule operator that holds the StableHLO."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.saved_model_names import KEY, allowed
from dlconv.runtimes.jax_program import Program, open_program, without_composites

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dlconv.model import Signature

ENTRY = "saved_model"


def convert(step: Step) -> Made:
    """The SavedModel of the program, as "saved_model", with the signature "serving_default" and the source's names.

    Free sizes stay free. TensorFlow compiles the operator by XLA as it runs.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow's StableHLO is older than JAX's, and knows no composites as JAX writes them.
    program = without_composites(open_program(step.source, trust=step.trust))
    signature = saved_signature(program, step.signature)
    save(program, signature, step.out_dir / ENTRY)
    note = "the SavedModel is one XlaCallModule: TensorFlow with XLA and its TFLite converter take it, no others"
    return Made(ENTRY, signature, (note,))


def saved_signature(program: Program, known: Signature) -> Signature:
    """The signature that the SavedModel has: in the program's order, names as TensorFlow allows them."""
    inputs = {spec.source_name: spec for spec in known.inputs}
    outputs = {spec.source_name: spec for spec in known.outputs}
    return replace(
        known,
        inputs=allowed(inputs[name] for name in program.inputs),
        outputs=allowed(outputs[name] for name in program.outputs),
        entry=KEY,
    )


def save(program: Program, signature: Signature, path: Path) -> None:
    """Write the program as a SavedModel at `path`, its inputs and outputs by the signature's names."""
    import tensorflow as tf

    module: Any = tf.Module()
    module.call = traced(program, signature)
    # Gradients are not saved: an exported program has none, unless it was exported with them.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures={KEY: module.call}, options=options)


def traced(program: Program, signature: Signature) -> Any:
    """The program as a concrete function of TensorFlow, its inputs and outputs by the signature's names."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    # The file may be for several platforms; what is made of it is answered on the CPU.
    function = jax2tf.convert(
        lambda *values: tuple(program.call(list(values))),
        polymorphic_shapes=[_text(spec.shape or ()) for spec in signature.inputs],
        with_gradient=False,
        native_serialization_platforms=("cpu",),
    )

    def named(**given: Any) -> dict[str, Any]:
        answers = function(*(given[spec.name] for spec in signature.inputs))
        return dict(zip((spec.name for spec in signature.outputs), answers, strict=True))

    wanted = {
        spec.name: tf.TensorSpec([size if isinstance(size, int) else None for size in spec.shape or ()], spec.dtype)
        for spec in signature.inputs
    }
    return tf.function(named, autograph=False).get_concrete_function(**wanted)


def _text(shape: Sequence[int | str]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
