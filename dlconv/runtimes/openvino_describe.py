"""What an OpenVINO IR is: its signature, operators and weights. Nothing is compiled or run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from dlconv.errors import FormatError
from dlconv.model import Signature
from dlconv.runtimes.openvino_ports import import_openvino, specs_of

_STRUCTURE = {"Parameter", "Result", "Constant"}


def describe(path: str) -> dict[str, Any]:
    """opset (operators for each version of OpenVINO's), operators with counts, parameters, inputs, outputs, notes.

    path: the .xml, or the directory that holds one. Raises FormatError where OpenVINO cannot read it.
    """
    model = _model_of(Path(path))
    operators: Counter[str] = Counter()
    opsets: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    size_bytes = 0
    for node in _all_nodes(model):
        kind = node.get_type_name()
        if kind == "Constant":
            dtype = str(node.get_element_type().to_dtype().name)
            elements[dtype] += int(node.get_byte_size()) * 8 // node.get_element_type().bitwidth
            size_bytes += int(node.get_byte_size())
        if kind not in _STRUCTURE:
            operators[kind] += 1
            opsets[str(node.get_type_info().version_id)] += 1
    signature = Signature(specs_of(model.inputs), specs_of(model.outputs))
    return {
        "opset": dict(sorted(opsets.items())),
        "operators": dict(sorted(operators.items(), key=lambda pair: (-pair[1], pair[0]))),
        "parameters": {"count": sum(elements.values()), "size_bytes": size_bytes, "by_dtype": dict(elements)},
        "inputs": [spec.to_dict() for spec in signature.inputs],
        "outputs": [spec.to_dict() for spec in signature.outputs],
        "notes": [],
    }


def read(path: str) -> dict[str, Any]:
    """The signature of a model that is a reference, as data. Raises FormatError as `describe`."""
    model = _model_of(Path(path))
    return {"signature": Signature(specs_of(model.inputs), specs_of(model.outputs)).to_dict(), "notes": []}


def _model_of(source: Path) -> Any:
    if source.is_dir():
        source = next(iter(sorted(source.glob("*.xml"))), source)
    try:
        return import_openvino().Core().read_model(str(source))
    except RuntimeError as error:
        met = f"OpenVINO cannot read {source.name}: {str(error).strip().splitlines()[-1]}"
        raise FormatError(met, wanted="an IR: an .xml file and its .bin beside it") from error


def _all_nodes(model: Any) -> list[Any]:
    """The model's nodes, the bodies of control flow included."""
    found: list[Any] = []
    for node in model.get_ops():
        found.append(node)
        if node.get_type_name() == "If":
            found += [*_all_nodes(node.get_function(0)), *_all_nodes(node.get_function(1))]
        elif node.get_type_name() in ("Loop", "TensorIterator"):
            found += _all_nodes(node.get_function() if node.get_type_name() == "Loop" else node.get_body())
    return found
