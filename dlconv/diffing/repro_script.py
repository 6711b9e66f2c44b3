"""Shows the error of one operator, or of a few, on its own: `python repro.py`. Needs NumPy and what runs the candidate.

Beside it lie reference.onnx, the part of the reference; candidate.onnx, the same part of the candidate (a precision is
emulated in it by casts), or candidate/, the part as the candidate was converted; tensors.npz, what they are given and
what they should give; about.json, what was found. Leaves with 1 where the two part, 0 where they do not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    """Run both parts on what lies beside, and tell how far each is from what it should give."""
    about = json.loads((FOLDER / "about.json").read_text(encoding="utf-8"))
    with np.load(FOLDER / "tensors.npz") as archive:
        tensors = {name: archive[name] for name in archive.files}
    given, theirs = ({n[len(p) :]: a for n, a in tensors.items() if n.startswith(p)} for p in ("given.", "candidate."))
    wanted = tensors["wanted"]
    got = RUNNERS[about["runtime"]](FOLDER / about["entry"], theirs, about["output"])
    if axes := about.get("axes"):
        got = np.transpose(got, np.argsort(axes))
    try:
        own_error = distance(wanted, in_onnxruntime(FOLDER / "reference.onnx", given, about["tensor"]))
    except ImportError:
        own_error = float(about["floor"])
    error = distance(wanted, got)
    least = about["factor"] * max(own_error if np.isfinite(own_error) else 0.0, about["unit"])
    lines = [
        f"{about['candidate']} against {about['reference']}",
        f"operator   {about['kind']} {about['operator']} ({about['nodes']} in all)",
        f"tensor     {about['tensor']}, {got.dtype} {list(got.shape)}",
        f"error      {error:.3g} of its scale; in the whole model it was {float(about['error']):.3g}",
        f"reference  {own_error:.3g}, its part in ONNX Runtime; the candidate's in {about['runtime']}",
    ]
    if got.shape == wanted.shape and got.size and error > 0:
        place = worst(wanted, got)
        lines.append(f"worst      {list(map(int, place))}: {wanted[place]!s} is right, {got[place]!s} was given")
    lines.append("PARTED" if error > least else f"TOGETHER: an error up to {least:.3g} is nothing to speak of")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(error > least)


def in_onnxruntime(path: Path, inputs: dict[str, Any], output: str) -> Any:
    """The output of an ONNX model, without optimisations: as it is written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run([output], inputs)[0]


def in_openvino(path: Path, inputs: dict[str, Any], output: str) -> Any:
    """The output of an OpenVINO IR, in the precision that it is stored in."""
    import openvino

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(str(path), "CPU", hints).create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, openvino.Tensor(np.require(array, requirements="C")))
    request.infer()
    return request.get_tensor(output).data.copy()


def in_tflite(path: Path, inputs: dict[str, Any], output: str) -> Any:
    """The output of a TFLite file, by its only signature."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter

    return Interpreter(model_path=str(path)).get_signature_runner()(**inputs)[output]


def in_tensorflow(path: Path, inputs: dict[str, Any], output: str) -> Any:
    """The output of a SavedModel, by its usual signature."""
    import tensorflow

    function = tensorflow.saved_model.load(str(path)).signatures["serving_default"]
    return function(**{name: tensorflow.constant(array) for name, array in inputs.items()})[output].numpy()


def within_tflite(path: Path, inputs: dict[str, Any], tensor: str) -> Any:
    """An inner tensor of a TFLite file, which is run whole, without a delegate; of integers what they stand for."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        from tflite_runtime.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=kind, experimental_preserve_all_tensors=True)
    interpreter.get_signature_runner()(**inputs)
    (found,) = (each for each in interpreter.get_tensor_details() if each["name"] == tensor)
    value, steps = interpreter.get_tensor(found["index"]), found["quantization_parameters"]
    if not len(steps["scales"]) or value.dtype.kind not in "iu":
        return value
    shape = [1] * value.ndim
    if len(steps["scales"]) > 1:
        shape[steps["quantized_dimension"]] = -1
    zero, scale = (np.reshape(steps[key], shape).astype(np.float64) for key in ("zero_points", "scales"))
    return ((value - zero) * scale).astype(np.float32)


RUNNERS = {
    "onnxruntime": in_onnxruntime,
    "openvino": in_openvino,
    "tflite": in_tflite,
    "tensorflow": in_tensorflow,
    "within tflite": within_tflite,
}


def gaps(wanted: Any, got: Any) -> Any:
    """How far each element is off; infinity where one alone is finite."""
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.where(np.isfinite(gap), gap, np.inf))


def distance(wanted: Any, got: Any) -> float:
    """The largest error over the largest magnitude, or their sums', if that is more; else the share that differs."""
    if wanted.shape != got.shape:
        return float("inf")
    if wanted.dtype.kind != "f":
        return float(np.mean(wanted != got)) if wanted.size else 0.0
    sizes, tiny = np.abs(wanted.astype(np.float64)), float(np.finfo(np.float64).tiny)
    known, gap = sizes[sizes < 1e30], gaps(wanted, got)
    of_largest = float(gap.max(initial=0.0)) / max(float(known.max(initial=0.0)), tiny)
    return max(of_largest, float(gap.sum()) / max(float(known.sum()), tiny))


def worst(wanted: Any, got: Any) -> Any:
    """The place of the element that is farthest off."""
    return np.unravel_index(int(np.argmax(gaps(wanted, got))), wanted.shape)


if __name__ == "__main__":
    sys.exit(main())
