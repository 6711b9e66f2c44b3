"""One model in its interpreter, and nothing of dlconv: what artifacts and sources answer to inputs of a file.

    python benchmarks/plain_run.py KIND MODEL INPUTS.npz OUT.npz

KIND is onnx, openvino, tflite, saved-model, keras or frozen-graph; the interpreter that runs this has its package.
Arrays are kept under "sample/name". Inputs are found by their names; the only input of a model takes what there is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Tensors = dict[str, Array]
Answer = Callable[[Tensors], Tensors]


def load(path: Path) -> list[Tensors]:
    """The samples of a file."""
    samples: dict[str, Tensors] = {}
    with np.load(path) as file:
        for key in file.files:
            number, _, name = key.partition("/")
            samples.setdefault(number, {})[name] = file[key]
    return list(samples.values())


def save(path: Path, samples: list[Tensors]) -> None:
    """Write samples, which `load` reads."""
    found = {f"{number:03}/{name}": array for number, sample in enumerate(samples) for name, array in sample.items()}
    np.savez(path, allow_pickle=False, **found)


def main() -> None:
    """Run."""
    kind, model, inputs, out = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    answer = KINDS[kind](model)
    save(out, [answer(sample) for sample in load(inputs)])


def onnx(model: str) -> Answer:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    taken = [value.name for value in session.get_inputs()]
    given = [value.name for value in session.get_outputs()]
    return lambda sample: dict(zip(given, session.run(None, _named(taken, sample)), strict=True))


def openvino(model: str) -> Answer:
    """OpenVINO on the CPU, in float32."""
    from openvino import Core

    compiled = Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def answer(sample: Tensors) -> Tensors:
        taken = ["|".join(sorted(port.names)) for port in compiled.inputs]
        found = compiled(list(_named(taken, sample).values()))
        return {"|".join(sorted(port.names)): found[port] for port in compiled.outputs}

    return answer


def tflite(model: str) -> Answer:
    """The TFLite interpreter; names are those of the file's signature, where it has one, else of its tensors."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model)
    signatures = interpreter.get_signature_list()
    if signatures:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        return lambda sample: dict(runner(**_named(list(runner.get_input_details()), sample)))
    ports = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}

    def answer(sample: Tensors) -> Tensors:
        named = _named(list(ports), sample)
        for name, array in named.items():
            interpreter.resize_tensor_input(ports[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in named.items():
            interpreter.set_tensor(ports[name], array)
        interpreter.invoke()
        return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()}

    return answer


def saved_model(model: str) -> Answer:
    """TensorFlow's signature "serving_default", or the only one."""
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    signatures = loaded.signatures
    function = signatures["serving_default"] if "serving_default" in signatures else next(iter(signatures.values()))
    taken = list(function.structured_input_signature[1])

    def answer(sample: Tensors) -> Tensors:
        named = {name: tf.constant(array) for name, array in _named(taken, sample).items()}
        return {name: tensor.numpy() for name, tensor in function(**named).items()}

    answer.loaded = loaded  # type: ignore[attr-defined]  # else its variables are let go
    return answer


def keras(model: str) -> Answer:
    """Keras 3, or Keras 2 for what only that one reads."""
    loaded = load_keras(model)
    return lambda sample: {"output": np.asarray(loaded(next(iter(sample.values())), training=False))}


def load_keras(path: str) -> Any:
    """A model of a Keras file, without its training."""
    import keras as keras_3
    import tf_keras

    try:
        return keras_3.models.load_model(path, compile=False)
    except (TypeError, ValueError):
        return tf_keras.models.load_model(path, compile=False)


def frozen_graph(model: str) -> Answer:
    """A TensorFlow 1 session; outputs are the nodes that no node reads."""
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef.FromString(Path(model).read_bytes())
    read = {name.lstrip("^").partition(":")[0] for node in graph_def.node for name in node.input}
    last = [node.name for node in graph_def.node if node.name not in read and node.op not in ("Const", "NoOp")]
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    session = tf.compat.v1.Session(graph=graph)

    def answer(sample: Tensors) -> Tensors:
        fed = {f"{name}:0": array for name, array in sample.items()}
        return dict(zip(last, session.run([f"{name}:0" for name in last], fed), strict=True))

    return answer


def _named(taken: list[str], sample: Tensors) -> Tensors:
    """The sample under the names that the model takes, in their order: "X:0" takes what is kept under "X"."""
    if len(taken) == 1:
        return {taken[0]: next(iter(sample.values()))}
    found = {}
    for name in taken:
        alike = [key for key in sample if key in name]
        found[name] = sample[max(alike, key=len)]
    return found


KINDS: dict[str, Callable[[str], Answer]] = {
    "onnx": onnx,
    "onnxruntime": onnx,
    "openvino": openvino,
    "tflite": tflite,
    "saved-model": saved_model,
    "keras": keras,
    "frozen-graph": frozen_graph,
}

if __name__ == "__main__":
    main()
