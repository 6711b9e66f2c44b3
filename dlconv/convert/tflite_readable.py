"""A TFLite file as foreign frontends read it: its first graph alone, by its tensors' own names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dlconv.errors import Unsupported
from dlconv.model import Signature
from dlconv.runtimes import tflite_boundary, tflite_flatbuffer, tflite_foreign, tflite_mended

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dlconv.convert.edge import Step
    from dlconv.runtimes.tflite_flatbuffer import FlatModel

_FUSED: Final = frozenset(
    {
        "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
        "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN",
    }
)  # fmt: skip


def whole_signature(step: Step, model: FlatModel) -> Signature:
    """The step's signature; with all outputs of the file where it names none."""
    own = tflite_boundary.signature_of(model, step.signature.entry)
    return Signature(step.signature.inputs, step.signature.outputs or own.outputs, entry=step.signature.entry)


def fused_of(model: FlatModel) -> tuple[str, ...]:
    """Recurrent layers that are one operator each, which keep their state in variables: TFLite alone has these."""
    return tuple(sorted({each.name for each in model.operators} & _FUSED))


def refuse_fused(operators: Iterable[str], reader: str) -> Unsupported:
    """Of a reader that does not take them."""
    return Unsupported(
        f"{reader} does not read the operator {', '.join(operators)}: a whole recurrent layer in one",
        wanted="recurrent layers that were not fused",
        mend="convert the Keras file or SavedModel that the file was made from; as it is, it runs by --to tflite",
    )


def readable(step: Step) -> tuple[Path, FlatModel, dict[str, str]]:
    """The file to read, what stands in it, and its tensors' own names by those of the step's signature.

    Raises Unsupported for operators that no frontend reads.
    """
    model = tflite_flatbuffer.load(step.source)
    tflite_foreign.refuse(model)
    entry = tflite_boundary.entry_of(model, step.signature.entry)
    kept = sorted({each.name for each in model.graphs[entry.graph].operators if each.name == "VAR_HANDLE"})
    if kept:
        raise Unsupported(
            "the file keeps state from call to call in resources, which the frontend cannot carry over",
            wanted="a model whose state is an input and an output",
        )
    content = tflite_mended.mended(step.source, model, entry.graph)
    names = tflite_boundary.raw_names(model, step.signature.entry)
    if content is None:
        return step.source, model, names
    path = step.out_dir / "read.tflite"
    path.write_bytes(content)
    return path, model, names
