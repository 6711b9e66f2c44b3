"""The smallest models that prove a converter: y = relu(x @ w), x of shape (1, 4), w of shape (4, 3), float32.

Worker-side; the standard library and NumPy alone, frameworks in function bodies.
"""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dlconv.model import Signature, TensorSpec

SIGNATURE = Signature(inputs=(TensorSpec("x", "float32", (1, 4)),))
NAMED = Signature(SIGNATURE.inputs, (TensorSpec("y", "float32", (1, 3)),))
"""Of the formats whose files tell the names of outputs."""
_FLOAT = 1
_WEIGHTS = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(4, 3)

_TFLITE = zlib.decompress(
    base64.b85decode(
        b"c-mD^F$%&!5S*Ap6AWSzB!!g^P(fQwXJw&aD_B_g0KwSV>nnVLb-?61@fA9^Zel!`+q>D>+u4f%Y!=H2&_ReU0(fK$Z{Q8s6Nv-"
        b"3j16K%1hA_~rQvSXz*x9TK1z%1HcV$}F^IRvb^f|vGh)tjOfF~cNzI(v*uY4wqrHO4fsr1T+o^|x>O$$$K~M4l+UhkD9-fW;%3n+T*-"
        b"}USyHJ97bCtZKysN#YI@g05PiMB8b4~9G-<4eHxzv^MRO@Sm|NbykUw=EPz5V|$cFtdo|F!CW0Ova>00"
    )
)
"""The model as a TFLite file, packed, its output called y; written with the format's own schema."""


def sample() -> dict[str, np.ndarray[Any, Any]]:
    """An input for the model."""
    return {"x": np.array([[0.5, -1.0, 2.0, 0.25]], np.float32)}


def write_torchscript(path: str) -> None:
    """Write the model as a TorchScript archive."""
    import torch

    traced: Any = torch.jit.trace(_module(), torch.from_numpy(sample()["x"]))
    traced.save(path)


def write_torch_export(path: str) -> None:
    """Write the model as an exported program, .pt2."""
    import torch

    torch.export.save(torch.export.export(_module(), (torch.from_numpy(sample()["x"]),)), path)


def write_onnx(path: str) -> None:
    """Write the model as ONNX, byte by byte: not every toolchain that reads ONNX has the onnx package."""
    weights = (
        b"".join(_number(1, size) for size in _WEIGHTS.shape)
        + _number(2, _FLOAT)
        + _text(8, "w")
        + _message(9, _WEIGHTS.tobytes())
    )
    graph = (
        _message(1, _text(1, "x") + _text(1, "w") + _text(2, "h") + _text(3, "product") + _text(4, "MatMul"))
        + _message(1, _text(1, "h") + _text(2, "y") + _text(3, "positive") + _text(4, "Relu"))
        + _text(2, "tiny")
        + _message(5, weights)
        + _message(11, _value("x", (1, 4)))
        + _message(12, _value("y", (1, 3)))
    )
    opset = _text(1, "") + _number(2, 17)
    Path(path).write_bytes(_number(1, 8) + _text(2, "dlconv") + _message(7, graph) + _message(8, opset))


def write_openvino(path: str) -> None:
    """Write the model as OpenVINO's IR, its weights beside it."""

    from dlconv.runtimes.openvino_ports import import_openvino

    ov = import_openvino()
    import openvino.opset13 as ops

    given = ops.parameter([1, 4], np.float32, name="x")
    given.output(0).set_names({"x"})
    answer = ops.relu(ops.matmul(given, ops.constant(_WEIGHTS), False, False))
    answer.output(0).set_names({"y"})
    ov.save_model(ov.Model([answer], [given], "tiny"), path, compress_to_fp16=False)


def write_tflite(path: str) -> None:
    """Write the model as TFLite."""
    Path(path).write_bytes(_TFLITE)


def write_saved_model(path: str) -> None:
    """Write the model as a SavedModel."""
    from dlconv.runtimes.tensorflow_import import tensorflow

    tf = tensorflow()
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": tf.nn.relu(x @ _WEIGHTS)}, input_signature=[_x(tf)])
    tf.saved_model.save(module, path, signatures=module.call)


def write_frozen_graph(path: str) -> None:
    """Write the model as a frozen graph, a serialized GraphDef."""
    from dlconv.runtimes.tensorflow_import import tensorflow

    tf = tensorflow()
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (1, 4), "x")
        tf.nn.relu(tf.matmul(x, _WEIGHTS), "y")
    Path(path).write_bytes(graph.as_graph_def().SerializeToString())


def write_keras(path: str) -> None:
    """Write the model as a Keras file."""
    from dlconv.runtimes.tensorflow_import import tensorflow

    tensorflow()  # sets Keras' backend
    import keras

    image = keras.Input((4,), batch_size=1, name="x")
    layer = keras.layers.Dense(3, activation="relu", use_bias=False, name="y")
    model = keras.Model(image, layer(image))
    layer.set_weights([_WEIGHTS])
    model.save(path)


def write_jax(path: str) -> None:
    """Write the model as an exported JAX program."""
    import jax
    from jax import export

    made = export.export(jax.jit(lambda x: {"y": jax.nn.relu(x @ _WEIGHTS)}), platforms=("cpu",))(sample()["x"])
    Path(path).write_bytes(made.serialize())


def _x(tf: Any) -> Any:
    return tf.TensorSpec((1, 4), tf.float32, name="x")


def _module() -> Any:
    import torch

    class Tiny(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.from_numpy(_WEIGHTS.copy()))

        def forward(self, x: Any) -> Any:
            return torch.relu(x @ self.w)

    return Tiny().eval()


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_message(1, _number(1, size)) for size in shape)
    return _text(1, name) + _message(2, _message(1, _number(1, _FLOAT) + _message(2, sizes)))


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
