"""The reference for an ONNX source: its own answers, in float32 without any optimisation, or in float64."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import SamplesError, Unsupported
from dlconv.graphs import onnx_graph
from dlconv.runtimes.onnx_double import DoubleModel
from dlconv.runtimes.onnxruntime import OnnxRuntimeSession

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Signature
    from dlconv.runtimes.base import Session, Tensors

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
_SEQUENCES = {
    "SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength",
    "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement",
}  # fmt: skip
_STRINGS = {"StringNormalizer", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer"}
_STRING = 8


def open(path: Path | str, signature: Signature, settings: dict[str, Any]) -> Session:
    """The reference of the ONNX model at `path`.

    settings: "double" (False: ONNX Runtime in the model's own precision, optimisation off; True: float64).
    Raises Unsupported for models whose answers are random, and, for float64, for what cannot be run in it:
    the float32 answers are then the reference.
    """
    source = Path(path)
    model = onnx_graph.read_model(source)
    double = bool(settings.get("double", False))
    refuse(model, "the float64 reference" if double else "")
    if double:
        return OnnxDoubleSession(source, signature)
    return OnnxRuntimeSession(source, signature, {"optimisation": "none"})


class OnnxDoubleSession:
    """The model in float64. Floating inputs may be float32; floating outputs are float64."""

    def __init__(self, path: Path, signature: Signature) -> None:
        self._double = DoubleModel(path)
        self._inputs = {spec.name for spec in signature.inputs}
        self._outputs = [spec.name for spec in signature.outputs] or list(self._double.outputs)

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name. Raises Unsupported where an operator has no float64 implementation."""
        if set(inputs) != self._inputs:
            raise SamplesError(f"inputs {sorted(inputs)} were given", wanted=f"{sorted(self._inputs)}")
        return self._double.run(inputs, self._outputs)

    def placement(self) -> dict[str, Any]:
        """float64, and what ran each operator: this package's NumPy, ONNX Runtime, or onnx.reference."""
        onnx: Any = import_module("onnx")
        return {
            "runtime": "onnx-double",
            "version": str(onnx.__version__),
            "device": "CPU",
            "precision": "float64",
            "operators": dict(sorted(self._double.run_by.items())),
        }


def refuse(model: Proto, runner: str) -> None:
    """Raise Unsupported for a model whose answers are random. runner: what is to run it node by node ("" where ONNX
    Runtime runs it whole), and has no strings and no sequences."""
    operators = {node.op_type for node in onnx_graph.nodes_of(model.graph)}
    for function in model.functions:
        operators |= {node.op_type for node in onnx_graph.nodes_of(function)}
    if drawn := sorted(operators & _RANDOM):
        raise Unsupported(
            f"the model draws random numbers ({', '.join(drawn)})",
            wanted="a model that gives the same answers each time",
            mend="export the model without the random part, with the numbers as an input",
        )
    if not runner:
        return
    texts = [value.name for value in (*model.graph.input, *model.graph.output)
             if value.type.tensor_type.elem_type == _STRING]  # fmt: skip
    if reasons := sorted(operators & (_SEQUENCES | _STRINGS)) + sorted(texts):
        raise Unsupported(
            f"{runner} has no strings and no sequences ({', '.join(reasons)})",
            wanted="a model of tensors of numbers",
            mend="the answers in float32 are the reference",
        )
