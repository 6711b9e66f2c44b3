"""ONNX's reference evaluator as a runtime of dlconv: NumPy, one operator after another. Runs in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import SamplesError

if TYPE_CHECKING:
    from dlconv.model import Signature
    from dlconv.runtimes.base import Tensors


class EvaluatorSession:
    """A loaded model. Nothing is kept from call to call."""

    def __init__(self, path: Path, signature: Signature) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(onnx.load(path))
        self._inputs = {spec.name: spec for spec in signature.inputs}
        self._version = str(onnx.__version__)
        self._dtypes: dict[str, int] = {}

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name, as the evaluator gave them."""
        if inputs.keys() != self._inputs.keys():
            raise SamplesError(f"the inputs are {sorted(inputs)}", wanted=", ".join(sorted(self._inputs)))
        for name, array in inputs.items():
            shape = self._inputs[name].shape
            if shape is not None and len(shape) != array.ndim:
                raise SamplesError(f"{name} has {array.ndim} axes", wanted=str(len(shape)))
        names = self._evaluator.output_names
        outputs = dict(zip(names, map(np.asarray, self._evaluator.run(None, dict(inputs))), strict=True))
        for array in outputs.values():
            self._dtypes[array.dtype.name] = self._dtypes.get(array.dtype.name, 0) + 1
        return outputs

    def placement(self) -> dict[str, Any]:
        """It is NumPy on the CPU, in the precisions of its outputs."""
        precision = max(self._dtypes, key=lambda name: self._dtypes[name], default="unknown")
        return {"runtime": "onnx-reference", "version": self._version, "device": "CPU", "precision": precision}


def open(path: Path, signature: Signature, settings: dict[str, Any]) -> EvaluatorSession:
    """The model at `path`. settings: "threads" is taken and means nothing here."""
    return EvaluatorSession(Path(path), signature)


def probe() -> dict[str, Any]:
    """That it works is shown by an addition."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "tiny", [x], [y]))
    (found,) = ReferenceEvaluator(model).run(None, {"x": np.ones(2, np.float32)})
    if not np.array_equal(found, [2, 2]):
        raise RuntimeError(f"1 + 1 is {found}")
    return {"version": str(onnx.__version__), "devices": ["CPU"]}
