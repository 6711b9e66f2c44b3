"""The usual commands from TensorFlow's formats, with their default options: what `by_hand_tensorflow.py` runs.

    python benchmarks/by_hand_steps.py STEP SOURCE OUT [NAME:SHAPE ...]

Each step is what a user types, and no dlconv; one that fails raises whatever its tool raises. NAME:SHAPE names the
inputs of a frozen graph, where it is not entered by its placeholders.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plain_run import load_keras


def main() -> None:
    """Do a step."""
    step, source, out = sys.argv[1:4]
    inputs = {name: [int(size) for size in shape.split("x") if size] for name, _, shape in
              (word.partition(":") for word in sys.argv[4:])}  # fmt: skip
    STEPS[step](source, out, inputs)


Inputs = dict[str, list[int]]


def saved_model_to_onnx(source: str, out: str, inputs: Inputs) -> None:
    """By tf2onnx."""
    _tf2onnx("--saved-model", source, "--output", out)


def keras_to_onnx(source: str, out: str, inputs: Inputs) -> None:
    """tf2onnx from the file; where that raises, from a SavedModel of it."""
    try:
        _tf2onnx("--keras", source, "--output", out)
    except subprocess.CalledProcessError:
        saved = f"{out}.saved"
        keras_to_saved_model(source, saved, inputs)
        _tf2onnx("--saved-model", saved, "--output", out)


def frozen_graph_to_onnx(source: str, out: str, inputs: Inputs) -> None:
    """By tf2onnx, between the inputs and what no node reads."""
    taken = [f"{name}:0[{','.join(map(str, sizes))}]" if sizes else f"{name}:0" for name, sizes in inputs.items()]
    given = ",".join(f"{name}:0" for name in _last(source))
    _tf2onnx("--graphdef", source, "--inputs", ",".join(taken), "--outputs", given, "--output", out)


def tflite_to_onnx(source: str, out: str, inputs: Inputs) -> None:
    """By tf2onnx."""
    _tf2onnx("--tflite", source, "--output", out)


def to_openvino(source: str, out: str, inputs: Inputs) -> None:
    """Of a SavedModel, a frozen graph or a TFLite file."""
    import openvino

    openvino.save_model(openvino.convert_model(source), out, compress_to_fp16=False)


def saved_model_to_tflite(source: str, out: str, inputs: Inputs) -> None:
    """By TensorFlow's converter."""
    import tensorflow as tf

    Path(out).write_bytes(tf.lite.TFLiteConverter.from_saved_model(source).convert())


def keras_to_tflite(source: str, out: str, inputs: Inputs) -> None:
    """By TensorFlow's converter."""
    import tensorflow as tf

    Path(out).write_bytes(tf.lite.TFLiteConverter.from_keras_model(load_keras(source)).convert())


def frozen_graph_to_tflite(source: str, out: str, inputs: Inputs) -> None:
    """By TensorFlow's converter of version 1."""
    import tensorflow as tf

    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(source, list(inputs), _last(source), inputs)
    Path(out).write_bytes(converter.convert())


def keras_to_saved_model(source: str, out: str, inputs: Inputs) -> None:
    """By the model's own export."""
    load_keras(source).export(out)


def frozen_graph_to_saved_model(source: str, out: str, inputs: Inputs) -> None:
    """By version 1's simple_save."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Graph().as_default() as graph, v1.Session() as session:
        cut = {name: v1.placeholder(tf.float32, sizes, name=name) for name, sizes in inputs.items()}
        tf.import_graph_def(_graph_def(source), {f"{name}:0": tensor for name, tensor in cut.items()}, name="in")
        given = {name: graph.get_tensor_by_name(f"in/{name}:0") for name in _last(source)}
        v1.saved_model.simple_save(session, out, cut, given)


def onnx_to_saved_model(source: str, out: str, inputs: Inputs) -> None:
    """By onnx2tf and its converter to TensorFlow. Inputs keep their layout: else NHWC is taken for NCHW."""
    import onnx

    kept = ["-kat", *(value.name for value in onnx.load(source).graph.input)]
    command = [sys.executable, "-m", "onnx2tf", "-i", source, "-o", out, "-tb", "tf_converter", *kept]
    subprocess.run(command, check=True)


def _tf2onnx(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "tf2onnx.convert", *words], check=True)


def _graph_def(source: str) -> Any:
    import tensorflow as tf

    return tf.compat.v1.GraphDef.FromString(Path(source).read_bytes())


def _last(source: str) -> list[str]:
    """The nodes that no node reads."""
    nodes = _graph_def(source).node
    read = {name.lstrip("^").partition(":")[0] for node in nodes for name in node.input}
    return [node.name for node in nodes if node.name not in read and node.op not in ("Const", "NoOp")]


STEPS: dict[str, Callable[[str, str, Inputs], None]] = {
    step.__name__: step
    for step in (
        saved_model_to_onnx, keras_to_onnx, frozen_graph_to_onnx, tflite_to_onnx, to_openvino, saved_model_to_tflite,
        keras_to_tflite, frozen_graph_to_tflite, keras_to_saved_model, frozen_graph_to_saved_model, onnx_to_saved_model,
    )
}  # fmt: skip

if __name__ == "__main__":
    main()
