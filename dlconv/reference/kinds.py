"""What can be a reference, and how: each kind of model with its toolchain, its study and its adapter."""

from __future__ import annotations

from dataclasses import dataclass

from dlconv.formats import Format


@dataclass(frozen=True)
class Kind:
    """How a model is read and answered as a reference: the toolchain, the adapter, and the function that studies it.

    asks: what the study is told of the user's words besides the path. has_double: whether the adapter can answer in
    float64.
    """

    toolchain: str
    runtime: str
    study: str
    asks: tuple[str, ...] = ()
    has_double: bool = True


_GRAPH = ("entry", "inputs", "outputs", "trust")
_TENSORFLOW = Kind("tensorflow", "dlconv.runtimes.tensorflow", "dlconv.convert.tensorflow_signature:read", _GRAPH)
_SCRIPT = ("inputs", "samples", "constants")

KINDS = {
    Format.TORCHSCRIPT: Kind("torch", "dlconv.runtimes.torch", "dlconv.convert.torchscript_signature:infer", _SCRIPT),
    Format.TORCH_EXPORT: Kind("torch", "dlconv.runtimes.torch", "dlconv.runtimes.torch_export_signature:read"),
    Format.ONNX: Kind("onnx", "dlconv.runtimes.onnx_reference", "dlconv.convert.onnx_signature:read"),
    Format.SAVED_MODEL: _TENSORFLOW,
    Format.KERAS: _TENSORFLOW,
    Format.KERAS_H5: _TENSORFLOW,
    Format.FROZEN_GRAPH: _TENSORFLOW,
    Format.JAX: Kind("jax", "dlconv.runtimes.jax", "dlconv.convert.jax_signature:read", _GRAPH),
    Format.TFLITE: Kind(
        "tflite", "dlconv.runtimes.tflite_reference", "dlconv.runtimes.tflite_describe:read", _GRAPH, has_double=False
    ),
    Format.OPENVINO: Kind(
        "openvino", "dlconv.runtimes.openvino", "dlconv.runtimes.openvino_describe:read", has_double=False
    ),
    Format.TENSORRT: Kind(
        "tensorrt",
        "dlconv.runtimes.tensorrt",
        "dlconv.runtimes.tensorrt_describe:read",
        asks=("trust",),
        has_double=False,
    ),
}
"""What can be a reference: the sources of conversions, and the formats besides that `verify` compares with."""
