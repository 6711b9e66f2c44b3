"""An exported JAX program to ONNX by jax2onnx.

jax2onnx converts JAX's operators, and an exported program is one operator to it, so the StableHLO in the file is
replayed as JAX's operators first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Made, Step, inherited
from dlconv.convert.jax_onnx_pools import flatten_pools
from dlconv.errors import StepError, Unsupported, cause_of, is_out_of_memory
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes.jax_program import Program, open_program, operations
from dlconv.runtimes.stablehlo_replay import replayed

if TYPE_CHECKING:
    from dlconv.model import Dim

ENTRY = "model.onnx"


def convert(step: Step) -> Made:
    """The ONNX model of the program, as "model.onnx"; names are the source's, free sizes stay free.

    settings: "opset" (21 by default). Raises Unsupported for an operator that is not replayed or that jax2onnx lacks.
    """
    import jax

    program = open_program(step.source, trust=step.trust)
    notes: tuple[str, ...] = ()
    try:
        model = _converted(program, step.signature, step.settings)
    except NotImplementedError as error:
        raise Unsupported(f"jax2onnx cannot convert an operator: {error}", mend="another route is tried") from error
    except Exception as error:  # trouble with a free size has many names; with all of them fixed there is none
        free = sorted({size for spec in step.signature.inputs for size in spec.shape or () if isinstance(size, str)})
        if not free or is_out_of_memory(error):
            raise
        step = replace(step, signature=_fixed(step))
        model = _converted(program, step.signature, step.settings)
        notes = (f"{', '.join(free)} cannot stay free: {cause_of(str(error))}",)
    finally:
        # jax2onnx replaces functions of JAX while it traces: what was traced then is good for nothing else.
        jax.clear_caches()
    return replace(_written(model, program, step), notes=notes)


def _fixed(step: Step) -> Signature:
    """The signature with the sample's sizes in place of free ones."""
    inputs = tuple(replace(spec, shape=step.sample[spec.name].shape) for spec in step.signature.inputs)
    sizes = {
        name: size
        for before, after in zip(step.signature.inputs, inputs, strict=True)
        for name, size in zip(before.shape or (), after.shape or (), strict=True)
    }
    outputs = tuple(
        replace(spec, shape=tuple(sizes.get(size, size) for size in spec.shape or ()))
        for spec in step.signature.outputs
    )
    return replace(step.signature, inputs=inputs, outputs=outputs)


def _converted(program: Program, signature: Signature, settings: dict[str, Any]) -> Any:
    import jax
    import jax2onnx

    exported = program.exported
    known = {spec.source_name: spec for spec in signature.inputs}
    shapes = [
        _shape(known[name].shape or (), aval) for name, aval in zip(program.inputs, exported.in_avals, strict=True)
    ]
    examples = [jax.ShapeDtypeStruct(shape, aval.dtype) for shape, aval in zip(shapes, exported.in_avals, strict=True)]
    kinds = {
        str(result.type.element_type)
        for operation in operations(program.module.body.operations)
        for result in operation.operation.results
    }
    return jax2onnx.to_onnx(
        replayed(program),
        examples,
        opset=int(settings.get("opset", 21)),
        input_names=[known[name].name for name in program.inputs],
        output_names=list(program.outputs),
        # JAX narrows types of 64 bits unless it is told otherwise.
        enable_double_precision=bool(kinds & {"i64", "ui64", "f64"}),
    )


def _shape(shape: tuple[Dim, ...], aval: Any) -> tuple[Any, ...]:
    """The program's own sizes, its symbols where the step leaves them free."""
    return tuple(size if isinstance(size, int) else own for size, own in zip(shape, aval.shape, strict=True))


def _written(model: Any, program: Program, step: Step) -> Made:
    """The model, saved, and its signature. Raises StepError where it has not the program's inputs and outputs."""
    import onnx

    from dlconv.graphs import onnx_graph

    path = step.out_dir / ENTRY
    _refuse_unknown(model)
    flatten_pools(model.graph)
    onnx.save(model, str(path))
    made = onnx_graph.signature_of(model)
    names = [spec.name for spec in made.inputs], [spec.name for spec in made.outputs]
    wanted = {spec.source_name: spec for spec in step.signature.outputs}
    lost = (set(program.inputs) - set(names[0])) | (set(program.outputs) ^ set(names[1]))
    if lost:
        raise StepError(f"jax2onnx's model has the inputs {names[0]} and the outputs {names[1]}", wanted=f"{lost}")
    inputs = tuple(_as_known(spec, step.signature.inputs) for spec in made.inputs)
    outputs = tuple(_as_known(spec, tuple(wanted.values())) for spec in made.outputs)
    return Made(ENTRY, Signature(inherited(inputs, step.signature.inputs), outputs, step.signature.constants))


def _refuse_unknown(model: Any) -> None:
    """jax2onnx writes operators of later opsets (BitCast of 26) into any. Raises Unsupported with their names."""
    import onnx

    from dlconv.graphs import onnx_graph

    opset = onnx_graph.opset_of(model)
    nodes = [node for graph in onnx_graph.graphs_of(model) for node in graph.node if not node.domain]
    unknown = sorted({node.op_type for node in nodes if not onnx.defs.has(node.op_type, opset)})
    if unknown:
        raise Unsupported(
            f"jax2onnx writes {', '.join(unknown)}, which opset {opset} of ONNX lacks",
            wanted="a program without that: random numbers are made from bits so",
            mend="another route is tried; or give the noise as an input",
        )


def _as_known(spec: TensorSpec, known: tuple[TensorSpec, ...]) -> TensorSpec:
    """The tensor with the sizes by the names that the source has for them."""
    same = next((each for each in known if each.name == spec.name), None)
    return spec if same is None or same.shape is None else replace(spec, shape=same.shape)
