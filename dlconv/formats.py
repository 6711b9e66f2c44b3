"""Kinds of model files. What kind a file is of is told by `dlconv.opening`."""

from __future__ import annotations

from enum import Enum


class Format(str, Enum):
    """A kind of model file. The value is the name that the command line and the receipts use."""

    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch-export"
    TORCH_STATE_DICT = "torch-state-dict"
    TORCH_PICKLE = "torch-pickle"
    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    ONNX = "onnx"
    ORT = "ort"
    OPENVINO = "openvino"
    TFLITE = "tflite"
    SAVED_MODEL = "saved-model"
    KERAS = "keras"
    KERAS_H5 = "keras-h5"
    KERAS_WEIGHTS = "keras-weights"
    FROZEN_GRAPH = "frozen-graph"
    TENSORFLOW_CHECKPOINT = "tensorflow-checkpoint"
    JAX = "jax"
    TENSORRT = "tensorrt"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value

    @property
    def is_source(self) -> bool:
        """Whether `dlconv export` converts from it."""
        return self in _SOURCES

    @property
    def suffix(self) -> str:
        """The usual suffix of its file, with the dot; "" for a directory and for what is unknown."""
        return _SUFFIXES.get(self, "")

    @property
    def label(self) -> str:
        """What a person calls it, with its article: "an ONNX model"."""
        return _LABELS[self]


_SOURCES = (
    Format.TORCHSCRIPT, Format.TORCH_EXPORT, Format.ONNX, Format.SAVED_MODEL, Format.KERAS, Format.KERAS_H5,
    Format.FROZEN_GRAPH, Format.TFLITE, Format.JAX,
)  # fmt: skip

_SUFFIXES = {
    Format.TORCHSCRIPT: ".pt",
    Format.TORCH_EXPORT: ".pt2",
    Format.TORCH_STATE_DICT: ".pth",
    Format.TORCH_PICKLE: ".pt",
    Format.SAFETENSORS: ".safetensors",
    Format.GGUF: ".gguf",
    Format.ONNX: ".onnx",
    Format.ORT: ".ort",
    Format.OPENVINO: ".xml",
    Format.TFLITE: ".tflite",
    Format.KERAS: ".keras",
    Format.KERAS_H5: ".h5",
    Format.KERAS_WEIGHTS: ".weights.h5",
    Format.FROZEN_GRAPH: ".pb",
    Format.TENSORFLOW_CHECKPOINT: ".index",
    Format.JAX: ".jax",
    Format.TENSORRT: ".plan",
}

_LABELS = {
    Format.TORCHSCRIPT: "a TorchScript archive",
    Format.TORCH_EXPORT: "a torch.export program",
    Format.TORCH_STATE_DICT: "a state dict: weights without a model",
    Format.TORCH_PICKLE: "a pickled Python object",
    Format.SAFETENSORS: "a safetensors file: weights without a model",
    Format.GGUF: "a GGUF file",
    Format.ONNX: "an ONNX model",
    Format.ORT: "an ONNX Runtime (.ort) model",
    Format.OPENVINO: "an OpenVINO model",
    Format.TFLITE: "a TFLite model",
    Format.SAVED_MODEL: "a TensorFlow SavedModel",
    Format.KERAS: "a Keras model",
    Format.KERAS_H5: "a Keras HDF5 model",
    Format.KERAS_WEIGHTS: "a file of Keras weights, without the model",
    Format.FROZEN_GRAPH: "a TensorFlow frozen graph",
    Format.TENSORFLOW_CHECKPOINT: "a TensorFlow checkpoint: weights without a model",
    Format.JAX: "an exported JAX program",
    Format.TENSORRT: "a TensorRT plan",
    Format.UNKNOWN: "of no kind that dlconv knows",
}
