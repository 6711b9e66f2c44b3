"""What a TFLite file is: its signature, operators, weights, quantisation. Nothing is run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import FormatError, SignatureError
from dlconv.runtimes import tflite_boundary, tflite_flatbuffer, tflite_foreign, tflite_mended
from dlconv.runtimes.tflite import load_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.model import Signature
    from dlconv.runtimes.tflite_flatbuffer import FlatGraph, FlatModel

_KEEPS_VALUES = {"CAST", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "PACK", "UNPACK",
                 "SPLIT", "CONCATENATION", "TILE", "BROADCAST_TO"}  # fmt: skip


def describe(path: str) -> dict[str, Any]:
    """schema_version, description, operators with counts (of all subgraphs; custom ones as "custom.NAME"), parameters,
    inputs, outputs, signatures (their keys), subgraphs (their number), tensors (their number), metadata (names of the
    entries) and notes.

    Raises FormatError for what is no TFLite file, or what TFLite's own reader refuses.
    """
    model = tflite_flatbuffer.load(Path(path))
    _prove(Path(path), model)
    keys = [entry.key for entry in model.entries]
    several = len(keys) > 1 and tflite_boundary.USUAL_ENTRY not in keys
    signature = tflite_boundary.signature_of(model, keys[0] if several else "")
    counts = Counter(operator.name for operator in model.operators)
    return {
        "schema_version": model.version,
        "description": model.description,
        "operators": dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))),
        "parameters": _parameters_of(model),
        "inputs": [spec.to_dict() for spec in signature.inputs],
        "outputs": [spec.to_dict() for spec in signature.outputs],
        "signatures": keys,
        "subgraphs": len(model.graphs),
        "tensors": sum(len(graph.tensors) for graph in model.graphs),
        "metadata": list(model.metadata),
        "notes": _notes(model, signature),
    }


def read(
    path: str,
    entry: str = "",
    trust: bool = False,
    inputs: list[dict[str, Any]] | None = None,
    outputs: list[str] | None = None,
) -> dict[str, Any]:
    """What the model at `path` takes and gives, as data: signature, notes, and bounds (for an integer input the range
    of values [low, high] that it may have); "stateful" and "state" where it keeps state that no caller can reset.

    entry: which signature of the file. outputs: the names of those wanted, in that order; all where there are none.
    trust and inputs change nothing: a TFLite file holds no code, and states its own inputs. Raises FormatError as
    `describe`, Unsupported for custom operators and TensorFlow's, SignatureError for a name that is none.
    """
    del trust, inputs
    model = tflite_flatbuffer.load(Path(path))
    tflite_foreign.refuse(model)
    _prove(Path(path), model)
    signature = _chosen(tflite_boundary.signature_of(model, entry), outputs or [])
    graph = model.graphs[tflite_boundary.entry_of(model, entry).graph]
    kept = [graph.tensors[each.outputs[0]].name for each in graph.operators if each.name == "VAR_HANDLE"]
    return {
        "signature": signature.to_dict(),
        "notes": _notes(model, signature),
        "bounds": _bounds(model, signature, entry),
        **({"stateful": True, "state": kept} if kept else {}),
    }


def _prove(path: Path, model: FlatModel) -> None:
    """Let TFLite's own reader open the file, where it has the operators that are in it."""
    if tflite_foreign.flex_of(model) or tflite_foreign.custom_of(model):
        return
    _, _, interpreters = load_package()
    plain = interpreters.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    content = tflite_mended.mended(path, model)
    file = {"model_path": str(path)} if content is None else {"model_content": content}
    try:
        interpreters.Interpreter(**file, experimental_op_resolver_type=plain)
    except (ValueError, RuntimeError) as error:
        raise FormatError(
            f"{path.name} is not a TFLite model that can be read: {str(error)[:200]}",
            wanted="a whole .tflite file",
            mend="copy or export the file again",
        ) from error


def _chosen(signature: Signature, outputs: list[str]) -> Signature:
    known = {spec.name: spec for spec in signature.outputs}
    strange = [name for name in outputs if name not in known]
    if strange:
        raise SignatureError(f"the file has no output {', '.join(strange)}", wanted=f"of {', '.join(known)}")
    return replace(signature, outputs=tuple(known[name] for name in outputs)) if outputs else signature


def _notes(model: FlatModel, signature: Signature) -> list[str]:
    notes = [
        f"{spec.name} is quantised: {spec.dtype} q stands for {spec.scale:.6g} * (q - {spec.zero_point})"
        for spec in (*signature.inputs, *signature.outputs)
        if spec.scale and spec.dtype != "float32"
    ]
    if tflite_boundary.quantises_anew(model):
        notes.append("weights are integers, activations are quantised anew in each call (dynamic range)")
    elif tflite_boundary.computes_in_integers(model):
        notes.append("the file computes in integers")
    notes += tflite_mended.note_on(model)
    if flex := tflite_foreign.flex_of(model):
        notes.append(f"operators of TensorFlow (Select TF): {', '.join(flex)}")
    if custom := tflite_foreign.custom_of(model):
        notes.append(f"custom operators: {', '.join(custom)}")
    variables = [tensor.name for graph in model.graphs for tensor in graph.tensors if tensor.is_variable]
    if variables:
        notes.append(
            "the interpreter keeps variables from call to call until they are reset: each answer here is one after a "
            f"reset ({', '.join(variables)})"
        )
    return notes


def _bounds(model: FlatModel, signature: Signature, asked: str) -> dict[str, list[int]]:
    """The whole range of a quantised input; of another integer the indices that the tables it selects from have."""
    entry = tflite_boundary.entry_of(model, asked)
    graph = model.graphs[entry.graph]
    found: dict[str, list[int]] = {}
    for spec in signature.inputs:
        kind = np.dtype(spec.dtype).kind if spec.dtype not in ("string", "bfloat16") else ""
        if kind in ("i", "u") and spec.scale is not None:
            limits = np.iinfo(spec.dtype)
            found[spec.name] = [int(limits.min), int(limits.max)]
        elif kind in ("i", "u"):
            tops = list(_table_tops(graph, entry.inputs[spec.name]))
            if tops:
                found[spec.name] = [0, min(tops)]
    return found


def _table_tops(graph: FlatGraph, number: int) -> Iterator[int]:
    pending, seen = [number], {number}
    while pending:
        current = pending.pop()
        for each in graph.operators:
            if current not in each.inputs:
                continue
            place = each.inputs.index(current)
            if each.name in _KEEPS_VALUES:
                fresh = [made for made in each.outputs if made not in seen]
                seen.update(fresh)
                pending += fresh
            elif (each.name, place) in (("GATHER", 1), ("EMBEDDING_LOOKUP", 0)):
                table = graph.tensors[each.inputs[1 - place]]
                if table.is_stored and table.shape:
                    yield table.shape[0] - 1  # of GATHER along another axis that is too few or too many


def _parameters_of(model: FlatModel) -> dict[str, Any]:
    """{"count": elements, "size_bytes": bytes, "by_dtype": {dtype: elements}} of the stored tensors."""
    elements: Counter[str] = Counter()
    stored: dict[int, int] = {}
    for tensor in (tensor for graph in model.graphs for tensor in graph.tensors):
        if tensor.size_bytes and tensor.buffer not in stored:
            stored[tensor.buffer] = tensor.size_bytes
            elements[tensor.dtype] += prod(tensor.shape)
    return {"count": sum(elements.values()), "size_bytes": sum(stored.values()), "by_dtype": dict(elements)}
