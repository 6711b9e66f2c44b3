"""TFLite to ONNX by tf2onnx's TFLite frontend: names are the user's, axes as they are, quantisation as Q/DQ pairs."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert import tflite_fourier
from dlconv.convert.edge import Made, Step
from dlconv.convert.tflite_readable import fused_of, readable, refuse_fused, whole_signature
from dlconv.errors import StepError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.model import TensorSpec
    from dlconv.runtimes.tflite_flatbuffer import FlatModel

ENTRY = "model.onnx"
OPSET = 18


def convert(step: Step) -> Made:
    """The ONNX model of a TFLite file, "model.onnx". settings: "opset".

    Quantised tensors stay so: each is dequantised where it is read and quantised where it is made, which runtimes fuse
    into integer kernels again. Raises Unsupported for operators that tf2onnx does not read, each named.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    onnx: Any = import_module("onnx")
    tf2onnx: Any = import_module("tf2onnx")
    import_module("tf2onnx.convert")
    path, model, names = readable(step)
    signature = whole_signature(step, model)
    if any(each.scale and each.dtype == "int64" for graph in model.graphs for each in graph.tensors):
        raise Unsupported(
            "the file computes in 16 bits with biases of 64, which ONNX cannot dequantise",
            wanted="activations of 8 bits, or floats",
            mend="another route is tried; or convert the model that the file was made from",
        )
    if any(each.name == "DENSIFY" for each in model.operators):
        raise Unsupported(
            "the file's weights are sparse, which tf2onnx does not unpack (DENSIFY)",
            wanted="dense weights",
            mend="leave onnx and onnxruntime out: OpenVINO and TFLite read it; or convert a dense file of the model",
        )
    with _Complaints() as complaints:
        try:
            made, _ = tf2onnx.convert.from_tflite(str(path), opset=step.settings.get("opset", OPSET))
        except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, IndexError) as error:
            if complaints.operators:
                raise _unread(complaints.operators, model) from error
            raise
        finally:
            if path != step.source:
                path.unlink()
    if tflite_fourier.spell_out(made, model):
        complaints.operators -= tflite_fourier.OPERATORS
    known = {item.domain for item in made.opset_import}
    foreign = {
        node.op_type
        for node in _nodes(made.graph)
        if node.domain not in known or not onnx.defs.has(node.op_type, node.domain)
    }
    if foreign or complaints.operators:
        raise _unread(complaints.operators | {name.removeprefix("TFL_") for name in foreign}, model)
    _rename(made.graph, {raw: name for name, raw in names.items()})
    _declare(made.graph.input, signature.inputs)
    _declare(made.graph.output, signature.outputs)
    onnx.save(made, str(step.out_dir / ENTRY))
    return Made(ENTRY, replace(signature, entry=""))


class _Complaints(logging.Handler):
    """Hears which operators tf2onnx does not read: it says so in its log alone, and goes on."""

    operators: set[str]

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.operators = set()

    def emit(self, record: logging.LogRecord) -> None:
        if "is not supported" in record.msg and record.args and isinstance(record.args, tuple):
            self.operators.add(str(record.args[-1]).removeprefix("TFL_"))

    def __enter__(self) -> _Complaints:
        logging.getLogger("tf2onnx").addHandler(self)
        return self

    def __exit__(self, *exit: object) -> None:
        logging.getLogger("tf2onnx").removeHandler(self)


def _unread(operators: set[str], model: FlatModel) -> Unsupported:
    if operators <= set(fused_of(model)):
        return refuse_fused(sorted(operators), "tf2onnx")
    return Unsupported(
        f"tf2onnx does not read the operator {', '.join(sorted(operators))}",
        wanted="operators that its TFLite frontend reads",
        mend="another route is tried; or convert the model that the file was made from",
    )


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _nodes(inner)


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Give tensors other names everywhere; a tensor inside that bears one of them already gets another."""
    used = {name for node in _nodes(graph) for name in (*node.input, *node.output)}
    used |= {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    taken = {name: f"{name}__inner" for name in names.values() if name in used and name not in names}
    new = {**taken, **names}
    for node in _nodes(graph):
        for side in (node.input, node.output):
            side[:] = [new.get(name, name) for name in side]
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = new.get(value.name, value.name)


def _declare(values: Any, specs: tuple[TensorSpec, ...]) -> None:
    """The signature's tensors alone, in its order, with its sizes and names of free ones. StepError for one that is
    not there."""
    by_name = {value.name: value for value in values}
    if not {spec.name for spec in specs} <= set(by_name):
        raise StepError(f"tf2onnx left {sorted(by_name)}", wanted=f"{sorted(spec.name for spec in specs)}")
    for spec in specs:
        shape = by_name[spec.name].type.tensor_type.shape
        del shape.dim[:]
        for size in spec.shape or ():
            shape.dim.add(**({"dim_value": size} if isinstance(size, int) else {"dim_param": size}))
    ordered = [by_name[spec.name] for spec in specs]
    copies = [type(value).FromString(value.SerializeToString()) for value in ordered]
    del values[:]
    values.extend(copies)
