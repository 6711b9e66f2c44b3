"""Inputs and outputs of an ONNX graph in another dtype than float32: float16 by casts, 8 bits by the Q/DQ there is."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.errors import Unsupported
from dlconv.graphs.onnx_graph import DTYPES, nodes_of

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Signature, TensorSpec

_FLOAT, _FLOAT16 = 1, 10


def narrow(model: Proto, signature: Signature, asked: dict[str, str]) -> Signature:
    """Change the dtype of every float32 input and output; the signature with what they are now.

    asked: "inputs" and "outputs", each "float32" (as it is), "float16" or "uint8". Raises Unsupported where a tensor is
    not quantised, and so has no scale by which its integers could be read.
    """
    graph = model.graph
    inputs = _narrowed(signature.inputs, asked["inputs"], graph, _half_input, _quantised_input)
    outputs = _narrowed(signature.outputs, asked["outputs"], graph, _half_output, _quantised_output)
    return replace(signature, inputs=inputs, outputs=outputs)


def _narrowed(
    specs: tuple[TensorSpec, ...], dtype: str, graph: Proto, halve: Any, quantise: Any
) -> tuple[TensorSpec, ...]:
    if dtype == "float32":
        return specs
    change = halve if dtype == "float16" else quantise
    return tuple(
        replace(spec, dtype=dtype, boundary=spec.dtype, **change(graph, spec.name, dtype))
        if spec.dtype == "float32"
        else spec
        for spec in specs
    )


def _half_input(graph: Proto, name: str, dtype: str) -> dict[str, Any]:
    wide = f"{name}/float32"
    has_readers = False
    for node, place in _readers(graph, name):
        if node.op_type == "Cast" and _cast_to(node) == _FLOAT16:
            node.op_type = "Identity"
            del node.attribute[:]
        else:
            node.input[place], has_readers = wide, True
    if has_readers:
        graph.node.insert(0, _node("Cast", [name], [wide], to=_FLOAT))
    _value(graph.input, name).type.tensor_type.elem_type = _FLOAT16
    return {}


def _half_output(graph: Proto, name: str, dtype: str) -> dict[str, Any]:
    maker = _maker(graph, name)
    is_read = bool(_readers(graph, name))
    if maker.op_type == "Cast" and not is_read:
        next(item for item in maker.attribute if item.name == "to").i = _FLOAT16
    else:
        wide = f"{name}/float32"
        _rename(graph, maker, name, wide)
        graph.node.append(_node("Cast", [wide], [name], to=_FLOAT16))
    _value(graph.output, name).type.tensor_type.elem_type = _FLOAT16
    return {}


def _quantised_input(graph: Proto, name: str, dtype: str) -> dict[str, Any]:
    """The input becomes what the QuantizeLinear that reads it gives; other readers get it dequantised."""
    readers = _readers(graph, name)
    quantisers = [node for node, place in readers if node.op_type == "QuantizeLinear" and place == 0]
    if not quantisers:
        raise Unsupported(
            f"the input {name} is not quantised: its readers stay in float32", mend="--io-precision out=..."
        )
    first = quantisers[0]
    grid = _grid(graph, first, dtype)
    wide = f"{name}/float32"
    others = [(node, place) for node, place in readers if node not in quantisers]
    for node, place in others:
        node.input[place] = wide
    if others:
        graph.node.insert(0, _node("DequantizeLinear", [name, *first.input[1:]], [wide]))
    for node in quantisers:
        if _grid(graph, node, dtype) != grid:
            raise Unsupported(f"the input {name} is quantised in two ways", mend="leave --io-precision out")
        for reader, place in _readers(graph, node.output[0]):
            reader.input[place] = name
        graph.node.remove(node)
    _value(graph.input, name).type.tensor_type.elem_type = _element(dtype)
    return grid


def _quantised_output(graph: Proto, name: str, dtype: str) -> dict[str, Any]:
    """The output becomes what the DequantizeLinear that makes it is given."""
    maker = _maker(graph, name)
    if maker.op_type != "DequantizeLinear":
        raise Unsupported(
            f"the output {name} is made in float32, by {maker.op_type}: it has no scale",
            mend="--io-precision in=uint8, or leave it out",
        )
    grid = _grid(graph, maker, dtype)
    if _readers(graph, name):
        _rename(graph, maker, name, f"{name}/float32")
    else:
        graph.node.remove(maker)
    stored = maker.input[0]
    source = _maker(graph, stored)
    for reader, place in _readers(graph, stored):
        reader.input[place] = name
    source.output[list(source.output).index(stored)] = name
    _value(graph.output, name).type.tensor_type.elem_type = _element(dtype)
    return grid


def _grid(graph: Proto, node: Proto, dtype: str) -> dict[str, Any]:
    """The scale and zero point of a Q or DQ, whose integers must be `dtype`."""
    arrays: Any = import_module("onnx.numpy_helper")
    stored = {tensor.name: tensor for tensor in graph.initializer}
    scale, zero = (arrays.to_array(stored[name]) for name in list(node.input)[1:3])
    if scale.size != 1 or zero.dtype.name != dtype:
        raise Unsupported(
            f"{node.output[0]} is quantised to {zero.dtype.name}", wanted=f"{dtype}, of one scale",
            mend=f"--io-precision {zero.dtype.name}",
        )  # fmt: skip
    return {"scale": float(scale.ravel()[0]), "zero_point": int(zero.ravel()[0])}


def _readers(graph: Proto, name: str) -> list[tuple[Proto, int]]:
    return [(node, place) for node in nodes_of(graph) for place, read in enumerate(node.input) if read == name]


def _maker(graph: Proto, name: str) -> Proto:
    maker = next((node for node in graph.node if name in node.output), None)
    if maker is None:
        raise Unsupported(f"no node makes the output {name}", mend="leave --io-precision out")
    return maker


def _rename(graph: Proto, maker: Proto, name: str, other: str) -> None:
    for node, place in _readers(graph, name):
        node.input[place] = other
    maker.output[list(maker.output).index(name)] = other


def _value(values: Any, name: str) -> Proto:
    return next(value for value in values if value.name == name)


def _cast_to(node: Proto) -> int:
    return int(next(item.i for item in node.attribute if item.name == "to"))


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Proto:
    return import_module("onnx.helper").make_node(kind, inputs, outputs, name=f"{outputs[0]}/{kind}", **attributes)


def _element(dtype: str) -> int:
    return next(number for number, known in DTYPES.items() if known == dtype)
