"""A Keras file to ONNX by Keras' own export on its PyTorch or its JAX backend, without TensorFlow's graph between."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step
from dlconv.convert.names_apart import apart
from dlconv.convert.tensorflow_opened import refuse_strings
from dlconv.errors import StepError, Unsupported, cause_of, is_out_of_memory
from dlconv.model import Signature
from dlconv.runtimes.keras_program import Boundary, boundary, load
from dlconv.runtimes.tensorflow_import import keras

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.model import TensorSpec
    from dlconv.runtimes.base import Tensors

ENTRY = "model.onnx"
_OPSETS = {"torch": 18, "jax": 21}
_POOLED = 3


def convert(step: Step) -> Made:
    """The ONNX model, as "model.onnx": inputs and outputs by the signature's names, axes as they are.

    settings: "backend": "torch" or "jax", which is the process's for good; "opset" (18, and 21 on JAX).
    Free sizes stay free where the backend can; PyTorch's record of the layers knows the batch alone as free. What had
    to be fixed, to the sample's size, is told in a note.
    Raises Unsupported for strings, for code without trust, for files that only Keras 2 loads, and for image pooling on
    JAX.
    """
    refuse_strings(step.signature)
    backend = str(step.settings["backend"])
    opset = int(step.settings.get("opset", _OPSETS[backend]))
    model, _ = load(step.source, trust=step.trust, backend=backend)
    known = boundary(model, keras(backend).tree)
    attempts = _attempts(step.signature, step.sample, backend)
    path, notes = step.out_dir / ENTRY, list[str]()
    for number, signature in enumerate(attempts):
        fixed = ", ".join(sorted(_free(step.signature) - _free(signature)))
        try:
            _export(model, known, signature, path, backend, opset)
            made = _finish(path, known, signature)
        except Exception as error:  # trouble with a free size has many names; with all of them fixed there is none
            if number == len(attempts) - 1 or is_out_of_memory(error):
                raise
            notes.append(f"{', '.join(sorted(_free(signature)))} cannot stay free: {cause_of(str(error))}")
        else:
            if fixed and not notes:
                notes.append(f"{fixed} cannot stay free: PyTorch's record of the layers knows the sample's size alone")
            return Made(ENTRY, made, tuple(notes))
    raise StepError("no attempt was made")


def _free(signature: Signature) -> set[str]:
    return {size for spec in signature.inputs for size in spec.shape or () if isinstance(size, str)}


def _attempts(signature: Signature, sample: Tensors, backend: str) -> list[Signature]:
    """Freest first: all free sizes (on JAX), the first axes' alone, none."""
    first = {str(spec.shape[0]) for spec in signature.inputs if spec.shape} & _free(signature)
    kept = [_free(signature), set[str]()] if backend == "jax" else [first, set[str]()]
    made = [_sized(signature, sample, names) for names in kept]
    return [each for place, each in enumerate(made) if each not in made[:place]]


def _sized(signature: Signature, sample: Tensors, kept: set[str]) -> Signature:
    """The signature with the sample's sizes in place of the free ones, but those in `kept`."""
    sizes = {
        name: size
        for spec in signature.inputs
        for name, size in zip(spec.shape or (), sample[spec.name].shape, strict=True)
        if isinstance(name, str) and name not in kept
    }

    def sized(spec: TensorSpec) -> TensorSpec:
        return replace(spec, shape=None if spec.shape is None else tuple(sizes.get(str(d), d) for d in spec.shape))

    return replace(signature, inputs=tuple(map(sized, signature.inputs)), outputs=tuple(map(sized, signature.outputs)))


def _export(model: Any, known: Boundary, signature: Signature, path: Path, backend: str, opset: int) -> None:
    """Writes the model with its inputs and outputs flat, in its own order, the inputs under the signature's names."""
    module = keras(backend)
    specs = {spec.name: spec for spec in signature.inputs}
    lost = [name for name in known.taken if name not in specs]
    if lost or len(specs) != len(known.taken):
        raise StepError(f"the model takes {', '.join(known.taken)}", wanted=", ".join(specs))
    shapes = [
        tuple(size if isinstance(size, int) else None for size in specs[name].shape or ()) for name in known.taken
    ]
    flat = [
        module.Input(batch_shape=shape, dtype=specs[name].dtype)
        for name, shape in zip(known.taken, shapes, strict=True)
    ]
    answers = model(module.tree.pack_sequence_as(known.structure, flat), training=False)
    whole = module.Model(flat, list(module.tree.flatten(answers)))
    told = [
        module.InputSpec(shape=shape, dtype=specs[name].dtype, name=name)
        for name, shape in zip(known.taken, shapes, strict=True)
    ]
    given = told if len(told) == 1 else [told]
    whole.export(str(path), format="onnx", verbose=False, input_signature=given, opset_version=opset)


def _finish(path: Path, known: Boundary, signature: Signature) -> Signature:
    """Names the outputs, declares the sizes and saves; the signature that the file has, in the signature's order.

    Raises StepError where inputs or outputs are missing, or of other dtypes.
    """
    from dlconv.graphs import onnx_graph

    onnx: Any = import_module("onnx")
    model = onnx.load(str(path))
    graph = model.graph
    outputs = signature.outputs or tuple(
        replace(spec, name=name, source="")
        for name, spec in zip(known.given, onnx_graph.signature_of(model).outputs, strict=True)
    )
    wanted = apart(replace(signature, outputs=outputs))
    _refuse_wide_pools(graph)
    if len(graph.output) != len(known.given):
        raise StepError(f"Keras wrote {len(graph.output)} outputs", wanted=", ".join(known.given))
    _name_outputs(graph, known.given, wanted.outputs)
    made = onnx_graph.signature_of(model)
    met = {spec.name: spec.dtype for spec in (*made.inputs, *made.outputs)}
    wrong = [f"{spec} ({met.get(spec.name, 'not there')})" for spec in wanted.outputs if met[spec.name] != spec.dtype]
    wrong += [f"{spec} ({met[spec.name]})" for spec in wanted.inputs if met.get(spec.name, spec.dtype) != spec.dtype]
    if wrong:
        raise StepError(f"Keras' export made something else of {', '.join(wrong)}", mend="another route is tried")
    there = {value.name for value in graph.input}
    inputs = tuple(spec for spec in wanted.inputs if spec.name in there)
    onnx_graph.set_shapes(graph, (*inputs, *wanted.outputs))
    onnx.save(model, str(path))
    return replace(wanted, inputs=inputs, constants=(), entry="")


def _refuse_wide_pools(graph: Any) -> None:
    """Raises Unsupported for windows over the batch and the channels as well: ONNX Runtime has three axes at most."""
    for node in graph.node:
        window = next((list(item.ints) for item in node.attribute if item.name == "kernel_shape"), [])
        if node.op_type in ("MaxPool", "AveragePool") and len(window) > _POOLED:
            raise Unsupported(
                f"Keras' JAX export writes a {node.op_type} over {len(window)} axes, {window}",
                wanted=f"{_POOLED} at most: ONNX Runtime has no others",
                mend="another route is tried",
                problems=(node.op_type,),
            )


def _name_outputs(graph: Any, given: list[str], wanted: tuple[TensorSpec, ...]) -> None:
    """The graph gives what is wanted, in its order: each by a node of its own, for a tensor may be two outputs."""
    onnx: Any = import_module("onnx")
    values = dict(zip(given, list(graph.output), strict=True))
    taken = {name for node in graph.node for name in node.output} | {each.name for each in graph.initializer}
    clash = [spec.name for spec in wanted if spec.name in taken]
    if clash:
        raise StepError(f"Keras' export has tensors of its own called {', '.join(clash)}", mend="another route")
    del graph.output[:]
    for spec in wanted:
        value = values[spec.source_name]
        graph.node.append(onnx.helper.make_node("Identity", [value.name], [spec.name]))
        kept = graph.output.add()
        kept.CopyFrom(value)
        kept.name = spec.name
