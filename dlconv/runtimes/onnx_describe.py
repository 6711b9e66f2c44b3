"""What an ONNX file is: its signature, operators, weights, and where they lie. Nothing is run."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import DlconvError
from dlconv.graphs import onnx_graph

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto

_BITS = {"bool": 8, "string": 0, "bfloat16": 16, "complex64": 64, "complex128": 128}


def describe(path: str) -> dict[str, Any]:
    """opset (a number for each domain), ir_version, producer, operators with counts (subgraphs and functions
    included), parameters, inputs, outputs, external_data (files by name, with bytes used) and notes.

    An invalid model is described as far as it can be read, and a note says what is wrong with it.
    Raises FormatError for what is no ONNX model at all.
    """
    source = Path(path)
    model = onnx_graph.read_model(source)
    signature = onnx_graph.signature_of(model)
    return {
        "opset": {entry.domain: entry.version for entry in model.opset_import},
        "ir_version": int(model.ir_version),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "operators": operators_of(model),
        "parameters": parameters_of(model),
        "inputs": [spec.to_dict() for spec in signature.inputs],
        "outputs": [spec.to_dict() for spec in signature.outputs],
        "external_data": _external_bytes(model),
        "notes": _notes_on(source, model),
    }


def operators_of(model: Proto) -> dict[str, int]:
    """How often each operator stands in the model, the most frequent first; foreign ones as "domain.Operator"."""
    counts: Counter[str] = Counter()
    for holder in (model.graph, *model.functions):
        for node in onnx_graph.nodes_of(holder):
            counts[node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"] += 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def parameters_of(model: Proto) -> dict[str, Any]:
    """{"count": elements, "size_bytes": bytes, "by_dtype": {dtype: elements}} of all stored tensors.

    Weights that stand as Constant nodes count; the small constants that hold shapes and indices do too.
    """
    elements: Counter[str] = Counter()
    size_bits = 0
    for tensor in onnx_graph.tensors_of(model):
        dtype = onnx_graph.DTYPES.get(tensor.data_type, "")
        if dtype:
            count = prod(tensor.dims)
            elements[dtype] += count
            size_bits += count * _bits_of(dtype)
    return {"count": sum(elements.values()), "size_bytes": (size_bits + 7) // 8, "by_dtype": dict(elements)}


def _bits_of(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    digits = "".join(letter if letter.isdigit() else " " for letter in dtype).split()
    return int(digits[0])


def _external_bytes(model: Proto) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for tensor in onnx_graph.external_tensors(model):
        entry = {pair.key: pair.value for pair in tensor.external_data}
        sizes[entry["location"]] += int(entry.get("length") or 0)
    return dict(sizes)


def _notes_on(source: Path, model: Proto) -> list[str]:
    notes: list[str] = []
    try:
        notes.extend(onnx_graph.check(source))
    except DlconvError as error:
        notes.append(error.met)
    stored = len(model.graph.input) - len(onnx_graph.inputs_of(model.graph))
    if stored:
        notes.append(f"{stored} initializers are also listed as inputs: they are weights and stay fixed")
    if model.functions:
        notes.append(f"{len(model.functions)} functions of the model's own")
    return notes
