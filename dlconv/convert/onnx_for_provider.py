"""An ONNX model as it is given to an execution provider of ONNX Runtime, which compiles it when it loads it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dlconv.convert.edge import Made, Step, inherited
from dlconv.graphs import onnx_clean, onnx_graph

if TYPE_CHECKING:
    from dlconv.asked.providers import Provider
    from dlconv.model import Signature

ENTRY: Final = "model.onnx"
CLEANED: Final = "cleaned"


def written_for(step: Step, provider: Provider) -> Made:
    """The model as it was, without what ONNX Runtime alone would mend, as "model.onnx"."""
    model = onnx_graph.read_model(step.source)
    onnx_clean.clean(model)
    saved = onnx_clean.save_cleaned(model, step.source, step.out_dir / CLEANED)
    for path in list(saved.parent.iterdir()):
        path.rename(step.out_dir / (ENTRY if path == saved else path.name))
    saved.parent.rmdir()
    signature = as_before(onnx_graph.signature_of(model), step.signature)
    return Made(ENTRY, signature, (f"{provider.execution} compiles it for {provider.device} when it is loaded",))


def as_before(signature: Signature, before: Signature) -> Signature:
    """A signature whose tensors stand for what those of the same names stood for."""
    return replace(
        signature,
        inputs=inherited(signature.inputs, before.inputs),
        outputs=inherited(signature.outputs, before.outputs),
    )
