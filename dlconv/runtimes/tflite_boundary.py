"""A TFLite file's inputs and outputs as the user sees them: names, free sizes, quantisation, entry points."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dlconv.errors import SignatureError
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes.tflite_flatbuffer import FlatEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dlconv.runtimes.tflite_flatbuffer import FlatModel, FlatTensor

USUAL_ENTRY = "serving_default"
_STEM = re.compile(r"(?:serving_default_)?(.+?)(?::\d+)?")
_ACTIVATIONS = {"int8", "uint8", "int16"}
_DYNAMIC = {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF", "RNN",
            "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "BATCH_MATMUL",
            "TRANSPOSE_CONV", "EMBEDDING_LOOKUP"}  # fmt: skip
"""Operators that quantise float activations themselves where their weights are integers, anew in each call."""


def entry_of(model: FlatModel, asked: str = "") -> FlatEntry:
    """The entry point `asked` for; without one the only one, else "serving_default". A file without SignatureDefs has
    one, without a key: its main graph, by its tensors' names.

    Raises SignatureError with the keys where there is none such, or a choice.
    """
    keys = [entry.key for entry in model.entries]
    if not keys:
        if asked:
            raise SignatureError(f"the file has no signature {asked!r}: it has none by name", mend="leave it out")
        return _of_tensors(model)
    wanted = asked or (keys[0] if len(keys) == 1 else USUAL_ENTRY)
    found = next((entry for entry in model.entries if entry.key == wanted), None)
    if found is None:
        met = f"the file has no signature {asked!r}" if asked else f"the file has {len(keys)} signatures"
        raise SignatureError(met, wanted=f"one of {', '.join(keys)}", mend=f"--signature {keys[0]}")
    return found


def signature_of(model: FlatModel, asked: str = "") -> Signature:
    """The signature of an entry point. The first free axis is "batch", another NAME_AXIS.

    scale and zero_point of each tensor: as it is quantised, or, of a float one in a file that computes in integers, as
    the operator quantises it that takes or gives it; 0 where each call finds its own.
    """
    entry = entry_of(model, asked)
    tensors = model.graphs[entry.graph].tensors
    steps = _steps(model, entry)
    has_batch = any(_shape(tensors[number])[:1] == (-1,) for number in entry.inputs.values())

    def specs(named: dict[str, int]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                name,
                tensors[number].dtype,
                _dims(name, _shape(tensors[number]), has_batch),
                scale=steps.get(number, (None, 0))[0],
                zero_point=steps.get(number, (None, 0))[1],
            )
            for name, number in named.items()
        )

    return Signature(specs(entry.inputs), specs(entry.outputs), entry=entry.key)


def raw_names(model: FlatModel, asked: str = "") -> dict[str, str]:
    """The tensors' own names in the file, by the names of the signature."""
    entry = entry_of(model, asked)
    tensors = model.graphs[entry.graph].tensors
    return {name: tensors[number].name for name, number in (*entry.inputs.items(), *entry.outputs.items())}


def usual_names(raw: Iterable[str]) -> dict[str, str]:
    """What a user calls each tensor: "serving_default_x:0" is "x", unless another would be called so too."""
    names = list(raw)
    stems = [match[1] if (match := _STEM.fullmatch(name)) else name for name in names]
    return {name: stem if stems.count(stem) == 1 else name for name, stem in zip(names, stems, strict=True)}


def computes_in_integers(model: FlatModel) -> bool:
    """Whether activations are quantised in the file, by stored scales or anew in each call."""
    return any(
        (tensor.scale and tensor.dtype in _ACTIVATIONS and not tensor.is_stored and number in computed)
        for graph in model.graphs
        for computed in [{out for each in graph.operators for out in each.outputs} | set(graph.inputs)]
        for number, tensor in enumerate(graph.tensors)
    ) or quantises_anew(model)


def quantises_anew(model: FlatModel) -> bool:
    """Whether an operator takes float activations and integer weights: "dynamic range"."""
    return any(
        graph.tensors[each.inputs[0]].dtype == "float32"
        and any(graph.tensors[i].dtype in ("int8", "uint8", "int4") and graph.tensors[i].is_stored for i in weights)
        for graph in model.graphs
        for each in graph.operators
        for weights in [[number for number in each.inputs[1:] if number >= 0]]
        if each.name in _DYNAMIC and each.inputs and each.inputs[0] >= 0
    )


def _of_tensors(model: FlatModel) -> FlatEntry:
    graph = model.graphs[0]
    sides: list[dict[str, int]] = []
    for numbers in (graph.inputs, graph.outputs):
        raw = [graph.tensors[number].name for number in numbers]
        if len(set(raw)) != len(raw):
            raise SignatureError("two inputs or two outputs of the file have one name, and it has no signature")
        usual = usual_names(raw)
        sides.append({usual[name]: number for name, number in zip(raw, numbers, strict=True)})
    return FlatEntry("", 0, *sides)


def _shape(tensor: FlatTensor) -> tuple[int, ...]:
    return tensor.shape


def _dims(name: str, shape: tuple[int, ...], has_batch: bool) -> tuple[Dim, ...]:
    return tuple(
        size if size >= 0 else "batch" if axis == 0 and has_batch else f"{name}_{axis}"
        for axis, size in enumerate(shape)
    )


def _steps(model: FlatModel, entry: FlatEntry) -> dict[int, tuple[float, int]]:
    """Scale and zero point by the number of the tensor."""
    graph = model.graphs[entry.graph]
    found: dict[int, tuple[float, int]] = {}
    in_integers = computes_in_integers(model)
    for number in (*entry.inputs.values(), *entry.outputs.values()):
        tensor = graph.tensors[number]
        if len(tensor.scale) == 1 and tensor.dtype in _ACTIVATIONS:
            found[number] = (tensor.scale[0], tensor.zero_point[0] if tensor.zero_point else 0)
        elif tensor.dtype == "float32" and in_integers:
            beside = [
                graph.tensors[each.outputs[0] if each.name == "QUANTIZE" else each.inputs[0]]
                for each in graph.operators
                if (each.name == "QUANTIZE" and each.inputs[0] == number)
                or (each.name == "DEQUANTIZE" and each.outputs[0] == number)
            ]
            found[number] = (beside[0].scale[0], 0) if beside and len(beside[0].scale) == 1 else (0.0, 0)
    return found
