"""SavedModels of one signature, "serving_default", written of what TensorFlow has opened."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlconv.convert.saved_model_names import KEY, allowed
from dlconv.runtimes.tensorflow_import import tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dlconv.model import Signature, TensorSpec
    from dlconv.runtimes.tensorflow_graph import Frozen

ENTRY = "saved_model"


def save_graph(frozen: Frozen, signature: Signature, folder: Path) -> Signature:
    """Writes a graph without variables as `save` does."""
    tf = tensorflow()
    pruned = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(frozen.graph_def, name=""), []).prune(
        [frozen.inputs[spec.name] for spec in signature.inputs],
        [frozen.outputs[spec.name] for spec in signature.outputs],
    )
    return save(lambda given: pruned(*given), signature, folder)


def save(call: Callable[[list[Any]], Any], signature: Signature, folder: Path) -> Signature:
    """Writes `call`, which takes the inputs and gives the outputs in the signature's order.

    Gives the signature that the SavedModel has: names as TensorFlow allows them, free dimensions free.
    """
    tf = tensorflow()
    made = replace(
        signature, inputs=allowed(signature.inputs), outputs=allowed(signature.outputs), constants=(), entry=KEY
    )

    def named(**given: Any) -> dict[str, Any]:
        answers = tf.nest.flatten(call([given[spec.name] for spec in made.inputs]))
        return {spec.name: tf.identity(answer) for spec, answer in zip(made.outputs, answers, strict=True)}

    wanted = {spec.name: _spec(spec) for spec in made.inputs}
    concrete = tf.function(named, autograph=False).get_concrete_function(**wanted)
    module = tf.Module()
    module.held = list(concrete.graph.variables)  # only what a module holds is saved
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures={KEY: concrete}, options=options)
    (folder / "fingerprint.pb").unlink(missing_ok=True)  # holds a random number; nobody needs it to load the model
    return made


def _spec(spec: TensorSpec) -> Any:
    shape = None if spec.shape is None else [size if isinstance(size, int) else None for size in spec.shape]
    return tensorflow().TensorSpec(shape, spec.dtype)
