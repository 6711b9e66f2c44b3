"""ONNX for the reference evaluator: the same model, checked, in one file. Runs in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlconv.convert.edge import Made
from dlconv.errors import Unsupported

if TYPE_CHECKING:
    from dlconv.convert.edge import Step


def convert(step: Step) -> Made:
    """Check the model and that the evaluator knows its operators. Raises Unsupported for one that it does not."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(step.source)
    onnx.checker.check_model(model)
    foreign = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx", "ai.onnx.ml"})
    if foreign:
        raise Unsupported(f"the evaluator knows no operators of {', '.join(foreign)}", mend="another target")
    ReferenceEvaluator(model)  # looks up every operator
    onnx.save(model, step.out_dir / "model.onnx")
    return Made("model.onnx", step.signature)
