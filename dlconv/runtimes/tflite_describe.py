"""What a TFLite file is: its signature, operators, weights. Nothing is run."""

from __future__ import annotations

import struct
from collections import Counter
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dlconv.errors import FormatError
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes.tflite import boundary_of, free_shape_of, load_package


def describe(path: str) -> dict[str, Any]:
    """schema_version, description, operators with counts (of all subgraphs; custom ones as "custom.NAME"), parameters,
    inputs, outputs, subgraphs (their number), tensors (their number), metadata (names of the entries) and notes.

    Raises FormatError for what TFLite's own reader refuses.
    """
    source = Path(path)
    signature = _signature_of(source)
    schema: Any = import_module("ai_edge_litert.schema_py_generated")
    try:
        model = schema.Model.GetRootAs(source.read_bytes(), 0)
        graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
        return {
            "schema_version": int(model.Version()),
            "description": (model.Description() or b"").decode(errors="replace"),
            "operators": _operators_of(schema, model, graphs),
            "parameters": _parameters_of(schema, model, graphs),
            "inputs": [spec.to_dict() for spec in signature.inputs],
            "outputs": [spec.to_dict() for spec in signature.outputs],
            "subgraphs": len(graphs),
            "tensors": sum(graph.TensorsLength() for graph in graphs),
            "metadata": [_text(model.Metadata(index).Name()) for index in range(model.MetadataLength())],
            "notes": [],
        }
    except (struct.error, IndexError, ValueError) as error:
        raise _refused(source, error) from error


def read(path: str) -> dict[str, Any]:
    """The signature of a model that is a reference, as data. Raises FormatError as `describe`."""
    return {"signature": _signature_of(Path(path)).to_dict(), "notes": []}


def _signature_of(source: Path) -> Signature:
    _, _, interpreters = load_package()
    plain = interpreters.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = interpreters.Interpreter(model_path=str(source), experimental_op_resolver_type=plain)
    except (ValueError, RuntimeError) as error:
        raise _refused(source, error) from error
    inputs, outputs = boundary_of(interpreter)
    return Signature(tuple(map(_spec, inputs.items())), tuple(map(_spec, outputs.items())))


def _spec(named: tuple[str, dict[str, Any]]) -> TensorSpec:
    name, detail = named
    kind = detail["dtype"]
    dtype = "string" if kind in (np.bytes_, np.str_, object) else np.dtype(kind).name
    shape: tuple[Dim, ...] = tuple(
        f"{name}.{axis}" if size < 0 else size for axis, size in enumerate(free_shape_of(detail))
    )
    return TensorSpec(name, dtype, shape)


def _operators_of(schema: Any, model: Any, graphs: list[Any]) -> dict[str, int]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    codes: list[str] = []
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        # Files of before 2020 have the code in a byte of its own.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = code.CustomCode()
        codes.append(f"custom.{_text(custom)}" if custom else names.get(number, f"operator {number}"))
    counts = Counter(
        codes[graph.Operators(index).OpcodeIndex()] for graph in graphs for index in range(graph.OperatorsLength())
    )
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _parameters_of(schema: Any, model: Any, graphs: list[Any]) -> dict[str, Any]:
    """{"count": elements, "size_bytes": bytes, "by_dtype": {dtype: elements}} of the stored tensors."""
    names = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    elements: Counter[str] = Counter()
    stored: dict[int, int] = {}
    for graph in graphs:
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            buffer = model.Buffers(tensor.Buffer())
            size_bytes = buffer.DataLength() or buffer.Size()
            if size_bytes and tensor.Buffer() not in stored:
                stored[tensor.Buffer()] = int(size_bytes)
                elements[names[tensor.Type()]] += prod(tensor.Shape(axis) for axis in range(tensor.ShapeLength()))
    return {"count": sum(elements.values()), "size_bytes": sum(stored.values()), "by_dtype": dict(elements)}


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _refused(source: Path, error: Exception) -> FormatError:
    return FormatError(
        f"{source.name} is not a TFLite model that can be read: {error}",
        wanted="a whole .tflite file",
        mend="copy or export the file again",
    )
