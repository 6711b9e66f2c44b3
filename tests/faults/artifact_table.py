"""Faults planted in the files of real bundles: TFLite's flatbuffer, OpenVINO's graph and weights, an optimised ONNX."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fault_models import Array
from fault_table import as_int8, bit, part

Spoil = Callable[[Path], None]
"""Changes the artifact whose entry file is given, in place."""


@dataclass(frozen=True)
class ArtifactFault:
    """A fault in the files of the bundle of models/digits for `target`."""

    name: str
    target: str
    spoil: Spoil


def flatbuffer(change: Callable[[Any], None]) -> Spoil:
    """The TFLite model taken apart by the format's own schema, changed, and put together again."""

    def spoiled(path: Path) -> None:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(path.read_bytes()), 0))
        change(model)
        builder = flatbuffers.Builder(1 << 17)
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))

    return spoiled


def constant(name: str, change: Callable[[Array], Array]) -> Spoil:
    """One constant of the TFLite model changed; the part of its name is its alone."""

    def changed(model: Any) -> None:
        (tensor,) = [tensor for tensor in model.subgraphs[0].tensors if name in tensor.name.decode()]
        buffer = model.buffers[tensor.buffer]
        array = np.frombuffer(bytes(buffer.data), np.float32).reshape(tensor.shape).copy()
        buffer.data = np.frombuffer(np.asarray(change(array), np.float32).tobytes(), np.uint8)

    return flatbuffer(changed)


def operator(number: int, **options: Any) -> Spoil:
    """Options of the TFLite model's operator of that number written otherwise."""

    def changed(model: Any) -> None:
        known = model.subgraphs[0].operators[number].builtinOptions
        assert all(getattr(known, key) != value for key, value in options.items())
        vars(known).update(options)

    return flatbuffer(changed)


def inputs(number: int, which: int, other: int) -> Spoil:
    """An operator of the TFLite model that reads another tensor."""

    def changed(model: Any) -> None:
        model.subgraphs[0].operators[number].inputs[which] = other

    return flatbuffer(changed)


def graph(old: str, new: str, place: int = 0) -> Spoil:
    """OpenVINO's .xml with one place of it written otherwise: the first one, or the one of that number."""

    def spoiled(path: Path) -> None:
        before, *after = path.read_text().split(old)
        assert len(after) > place, f"{old!r} is not in {path}"
        path.write_text(before + "".join((new if i == place else old) + part for i, part in enumerate(after)))

    return spoiled


def weights(layer: str, change: Callable[[Array], Array]) -> Spoil:
    """One constant in OpenVINO's .bin changed; `layer` is a part of its name in the .xml."""

    def spoiled(path: Path) -> None:
        (said,) = re.findall(
            rf'name="[^"]*{layer}[^"]*" type="Const".*?\n.*shape="([0-9, ]+)" offset="(\d+)"', path.read_text()
        )
        shape, offset = [int(size) for size in said[0].split(",")], int(said[1])
        file = path.with_suffix(".bin")
        whole = bytearray(file.read_bytes())
        size = 4 * int(np.prod(shape))
        array = np.frombuffer(bytes(whole[offset : offset + size]), np.float32).reshape(shape).copy()
        whole[offset : offset + size] = np.asarray(change(array), np.float32).tobytes()
        file.write_bytes(whole)

    return spoiled


def initializer(change: Callable[[Array], Array]) -> Spoil:
    """The largest constant of an ONNX file changed."""

    def spoiled(path: Path) -> None:
        import onnx

        model = onnx.load(path)
        largest = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
        array = np.asarray(change(onnx.numpy_helper.to_array(largest).copy()), np.float32)
        largest.CopyFrom(onnx.numpy_helper.from_array(array, largest.name))
        onnx.save(model, path)

    return spoiled


def cut(suffix: str, share: float) -> Spoil:
    """The file with that suffix ends early."""

    def spoiled(path: Path) -> None:
        file = path.with_suffix(suffix)
        whole = file.read_bytes()
        file.write_bytes(whole[: int(len(whole) * share)])

    return spoiled


def filled(suffix: str, value: int) -> Spoil:
    """Every byte of the file the same: what a failed download leaves."""

    def spoiled(path: Path) -> None:
        file = path.with_suffix(suffix)
        file.write_bytes(bytes([value]) * file.stat().st_size)

    return spoiled


def _all_biases_lost(model: Any) -> None:
    graph = model.subgraphs[0]
    for each in graph.operators:
        if len(each.inputs) == 3:  # of a convolution or a dense layer
            buffer = model.buffers[graph.tensors[each.inputs[2]].buffer]
            buffer.data = np.zeros_like(buffer.data)


def _other_seed(array: Array) -> Array:
    return np.random.default_rng(3).standard_normal(array.shape) * array.std()


TFLITE = tuple(
    ArtifactFault(name, "tflite", spoil)
    for name, spoil in (
        ("TFLite: one filter zeroed", constant("features.0/Conv_conv_filter", part(3, 0.0))),
        ("TFLite: one filter's sign turned", constant("features.3/Conv_conv_filter", part(7, -1.0))),
        ("TFLite: folding dropped one bias", constant("onnx::Conv_36", np.zeros_like)),
        ("TFLite: bias of one class", constant("classifier.4.bias", part(5, 0.0))),
        ("TFLite: all biases dropped", flatbuffer(_all_biases_lost)),
        ("TFLite: a layer of another seed", constant("classifier.2.weight", _other_seed)),
        ("TFLite: a layer's weights rounded to 8 bits", constant("classifier.2.weight", as_int8)),
        ("TFLite: a layer's weights rounded to float16",
         constant("features.3/Conv_conv_filter", lambda w: w.astype(np.float16))),
        ("TFLite: highest mantissa bit of one weight", constant("features.3/Conv_conv_filter", bit(22))),
        ("TFLite: filters in another layout",
         constant("features.3/Conv_conv_filter", lambda w: w.transpose(0, 2, 1, 3))),
        ("TFLite: dense weights transposed in place",
         constant("classifier.4.weight", lambda w: w.T.reshape(w.shape))),
        ("TFLite: flattened in another order", constant(
            "classifier.2.weight",
            lambda w: w.reshape(32, 32, 4, 4).transpose(0, 2, 3, 1).reshape(32, 512))),
        ("TFLite: a clip to -1 and 1 put into the convolution", operator(1, fusedActivationFunction=2)),
        ("TFLite: tanh put into the dense layer", operator(14, fusedActivationFunction=4)),
        ("TFLite: ReLU put before the softmax", operator(14, fusedActivationFunction=1)),
        ("TFLite: softmax beta", operator(15, beta=1.01)),
        ("TFLite: pooling of one", operator(9, filterWidth=1, filterHeight=1)),
        ("TFLite: pooling of three", operator(9, filterWidth=3)),
        ("TFLite: stride of two in the convolution", operator(5, strideW=2)),
        ("TFLite: padding VALID for SAME", operator(5, padding=1)),
        ("TFLite: dilated", operator(5, dilationWFactor=2)),
        ("TFLite: a ReLU skipped", inputs(4, 0, 1)),
        ("TFLite: the file ends early", cut(".tflite", 0.5)),
        ("TFLite: the file is all zeros", filled(".tflite", 0)),
    )
)  # fmt: skip

OPENVINO = tuple(
    ArtifactFault(name, "openvino", spoil)
    for name, spoil in (
        ("OpenVINO: one filter zeroed", weights("Conv_32", part(3, 0.0))),
        ("OpenVINO: one filter's sign turned", weights("Conv_35", part(7, -1.0))),
        ("OpenVINO: a bias dropped", weights("Reshape_31", np.zeros_like)),
        ("OpenVINO: a bias of one channel", weights("Reshape_15", part((0, 4), 0.0))),
        ("OpenVINO: a layer of another seed", weights("Conv_35", _other_seed)),
        ("OpenVINO: a layer's weights rounded to 8 bits", weights("Conv_35", as_int8)),
        ("OpenVINO: one mantissa bit of one weight", weights("Conv_35", bit(22))),
        ("OpenVINO: two constants exchanged", graph('offset="640"', 'offset="656"')),
        ("OpenVINO: padding", graph('pads_begin="1, 1" pads_end="1, 1"', 'pads_begin="0, 0" pads_end="2, 2"')),
        ("OpenVINO: auto_pad valid", graph('auto_pad="explicit"', 'auto_pad="valid"')),
        ("OpenVINO: stride", graph('data strides="1, 1"', 'data strides="2, 2"', 1)),
        ("OpenVINO: pooling kernel", graph('kernel="2, 2"', 'kernel="1, 1"')),
        ("OpenVINO: a sigmoid for a ReLU", graph(
            'type="ReLU" version="opset1"', 'type="Sigmoid" version="opset1"')),
        ("OpenVINO: a tanh for a ReLU", graph('type="ReLU" version="opset1"', 'type="Tanh" version="opset1"', 1)),
        ("OpenVINO: softmax over the batch", graph('<data axis="1" />', '<data axis="0" />')),
        ("OpenVINO: the weights end early", cut(".bin", 0.9)),
        ("OpenVINO: the weights are all zeros", filled(".bin", 0)),
        ("OpenVINO: the graph ends early", cut(".xml", 0.5)),
    )
)  # fmt: skip

ONNX = tuple(
    ArtifactFault(name, "onnxruntime", spoil)
    for name, spoil in (
        ("optimised ONNX: the largest layer of another seed", initializer(_other_seed)),
        ("optimised ONNX: its weights rounded to 8 bits", initializer(as_int8)),
        ("optimised ONNX: one weight's sign", initializer(bit(31))),
        ("optimised ONNX: the file ends early", cut(".onnx", 0.7)),
    )
)

ARTIFACT_FAULTS = (*TFLITE, *OPENVINO, *ONNX)
