"""One model to one target with the usual commands and no dlconv: the base line of `zoo.py`.

    python benchmarks/by_hand.py NAME.json OUT ONNX2TF_PYTHON

Prints a line of JSON for each target: PASS where the largest error relative to an output's scale is at most 1e-4.
The model is exported from its Python source, which dlconv is not given. The reference is float32 here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

BOUND = 1e-4


def main() -> None:
    """Convert, run, compare: a line of JSON for each target."""
    described, out, onnx2tf = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    import torch

    module, inputs = _module(torch, described.stem)
    with torch.no_grad():
        right = [tensor.double().numpy() for tensor in _flat(module(*inputs.values()))]
    torch.onnx.export(
        module, tuple(inputs.values()), str(out / "a.onnx"), dynamo=False, opset_version=17, input_names=list(inputs)
    )
    import onnx
    import onnxsim

    simple, is_right = onnxsim.simplify(str(out / "a.onnx"))
    if not is_right:
        raise SystemExit("onnxsim: the simplified model differs")
    onnx.save(simple, str(out / "model.onnx"))
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    for targets, run in ((("onnx", "onnxruntime"), _onnxruntime), (("openvino",), _openvino), (("tflite",), _tflite)):
        try:
            error = _error(right, run(out, arrays, onnx2tf))
            cell = {
                "word": "PASS" if error <= BOUND else "FAIL",
                "reason": f"error {error:.1e}",
                "error": None,
                "bar": 0,
            }
        except Exception as failure:  # a base line: what fails is counted, whatever it is
            cell = {"word": "ERROR", "reason": f"{type(failure).__name__}: {failure}"[:300]}
        for target in targets:
            print(json.dumps({"target": target, **cell}), flush=True)


def _module(torch: Any, name: str) -> tuple[Any, dict[str, Any]]:
    """The model, returning a tuple, and its example inputs: by hand one has the Python source, and such a wrapper."""
    import zoo_models

    built = zoo_models.built(next(entry for entry in zoo_models.entries() if entry.name == name))
    made = built.module

    class Tuple(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.made = made

        def forward(self, *inputs: Any) -> tuple[Any, ...]:
            return tuple(_flat(self.made(*inputs)))

    return Tuple().eval(), dict(built.inputs)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _flat(item)]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _flat(item)]
    return [value]


def _onnxruntime(out: Path, inputs: dict[str, np.ndarray], _: str) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    known = {value.name for value in session.get_inputs()}
    return list(session.run(None, {name: array for name, array in inputs.items() if name in known}))


def _openvino(out: Path, inputs: dict[str, np.ndarray], _: str) -> list[np.ndarray]:
    import openvino

    openvino.save_model(openvino.convert_model(str(out / "model.onnx")), str(out / "m.xml"), compress_to_fp16=False)
    compiled = openvino.Core().compile_model(str(out / "m.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    known = {name for port in compiled.inputs for name in port.names}
    found = compiled({name: array for name, array in inputs.items() if name in known})
    return [found[port] for port in compiled.outputs]


def _tflite(out: Path, inputs: dict[str, np.ndarray], onnx2tf: str) -> list[np.ndarray]:
    command = [onnx2tf, "-m", "onnx2tf", "-i", str(out / "model.onnx"), "-o", str(out / "tf"), "-kat", *inputs]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(out / "tf" / "model_float32.tflite"))
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        array = inputs[max((name for name in inputs if name in detail["name"]), key=len)]
        interpreter.set_tensor(detail["index"], array.astype(detail["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def _error(right: list[np.ndarray], got: list[np.ndarray]) -> float:
    if len(right) != len(got):
        return float("inf")
    errors = [float("inf") if a.shape != b.shape else _distance(a, b) for a, b in zip(right, got, strict=True)]
    return max(errors, default=float("inf"))


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    found = float(
        np.max(np.abs(a - b.astype(np.float64)), initial=0.0) / max(float(np.max(np.abs(a), initial=0.0)), 1e-30)
    )
    return found if found == found else float("inf")


if __name__ == "__main__":
    main()
