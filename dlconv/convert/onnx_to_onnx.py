"""ONNX to ONNX: checked, cleaned and simplified; inputs and outputs keep their names, order and dtypes."""

from __future__ import annotations

import inspect
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.convert import onnx_layout, onnx_widened
from dlconv.convert.edge import Made, Step, inherited
from dlconv.convert.onnx_signature import apply_inputs, inferred_signature
from dlconv.errors import InternalError, StepError, Unsupported
from dlconv.graphs import onnx_clean, onnx_graph

if TYPE_CHECKING:
    from dlconv.graphs.onnx_graph import Proto
    from dlconv.model import Signature, TensorSpec

ENTRY = "model.onnx"
_DATA = ENTRY + ".data"
_INLINE_LIMIT_BYTES = 1_900_000_000  # a protocol buffer ends at 2 GiB
_FOLD_LIMIT = "256MB"


def convert(step: Step) -> Made:
    """The clean ONNX model of an ONNX model, as "model.onnx" (and "model.onnx.data" over 1.9 GB).

    settings: "simplifier" ("onnxsim", "onnxslim" or "none"), "freeze" (give every named dimension the sample's size),
    "layout" ("nchw" or "nhwc": of the image inputs), "widen" (float32 in place of float16 and bfloat16). Raises
    FormatError for an invalid source, StepError if the simplifier changes what the model takes or gives, Unsupported
    where no input has a layout to turn.
    """
    notes: list[str] = []
    if step.settings.get("widen"):
        source, signature, note = onnx_widened.write(step.source, step.out_dir / "widened", step.signature)
        step = replace(step, source=source, signature=signature)
        notes.append(note)
    source = step.source
    model = onnx_graph.read_model(source)
    notes += onnx_graph.check(source)
    before = len(list(onnx_graph.nodes_of(model.graph)))
    if onnx_graph.STALE_SHAPES in notes:
        onnx_clean.drop_inner_shapes(model)
    wanted = _wanted(onnx_graph.signature_of(model), step)
    reshaped = onnx_graph.set_shapes(model.graph, (*wanted.inputs, *wanted.outputs))
    if reshaped:
        onnx_clean.drop_inner_shapes(model)
    done = onnx_clean.clean(model)
    layout = step.settings.get("layout")
    turned = {} if layout is None else _turn(model, layout)
    if turned:
        onnx_clean.drop_inner_shapes(model)
        wanted = replace(wanted, inputs=tuple(_turned(spec, turned) for spec in wanted.inputs))
    scratch = step.out_dir / "cleaned"
    if notes or reshaped or done or turned:
        source = onnx_clean.save_cleaned(model, step.source, scratch)
    del model
    simplifier = step.settings.get("simplifier", "onnxsim")
    _SIMPLIFIERS[simplifier](source, step.out_dir / ENTRY)
    for aside in (scratch, step.out_dir / "widened"):
        shutil.rmtree(aside, ignore_errors=True)
    model, pools = _finished(step.out_dir / ENTRY)
    made, after = _inspected(model, step.out_dir / ENTRY, wanted)
    made = replace(
        made,
        inputs=tuple(_composed(spec, turned) for spec in inherited(made.inputs, step.signature.inputs)),
        outputs=inherited(made.outputs, step.signature.outputs),
    )
    notes += [f"{name} is turned to {layout}" for name in turned]
    notes += [*done, *pools, f"{before} nodes became {after} ({simplifier})"]
    return Made(ENTRY, made, tuple(notes))


def _turn(model: Proto, layout: onnx_layout.Layout) -> dict[str, onnx_layout.Axes]:
    if not onnx_layout.layouts(model):
        raise Unsupported(
            "no input has a layout: none is read by a convolution or a pool alone",
            mend="leave --keep-layout out",
        )
    return onnx_layout.turn(model, layout)


def _turned(spec: TensorSpec, turned: dict[str, onnx_layout.Axes]) -> TensorSpec:
    if spec.name not in turned or spec.shape is None:
        return spec
    return replace(spec, shape=tuple(spec.shape[axis] for axis in turned[spec.name]))


def _composed(spec: TensorSpec, turned: dict[str, onnx_layout.Axes]) -> TensorSpec:
    if spec.name not in turned:
        return spec
    axes = turned[spec.name]
    return replace(spec, permutation=tuple(spec.permutation[axis] for axis in axes) if spec.permutation else axes)


def _finished(path: Path) -> tuple[Proto, tuple[str, ...]]:
    """What a simplifier, which makes sizes known, left at `path`: tidy, its pools global; and a note of those."""
    model = onnx_graph.read_model(path)
    is_tidy = _tidy(model, path.parent)
    count = onnx_clean.pool_globally(model)
    if count or not is_tidy:
        import_module("onnx").save_model(model, str(path))
    return model, (f"{count} pools of more than the whole image made global",) if count else ()


def _wanted(declared: Signature, step: Step) -> Signature:
    """The model's signature with the step's sizes and names of dimensions; with "freeze" the sample's sizes."""
    given = tuple(replace(spec, source="", permutation=()) for spec in step.signature.inputs)
    named = _as_seen(apply_inputs(declared, given), step.signature)
    if not step.settings.get("freeze", False):
        return named
    frozen = tuple(replace(spec, shape=tuple(step.sample[spec.name].shape)) for spec in named.inputs)
    return apply_inputs(named, frozen)


def _as_seen(declared: Signature, seen: Signature) -> Signature:
    """`declared` with the step's shape of each output that has more dimensions, or a free one, where the file says
    otherwise."""
    shapes = {spec.source_name: spec.shape for spec in seen.outputs}

    def of(spec: TensorSpec) -> TensorSpec:
        shape = shapes.get(spec.name)
        if shape is None or spec.shape is None:
            return spec
        is_right = len(shape) == len(spec.shape) and not any(
            isinstance(size, int) and isinstance(dim, str) for size, dim in zip(spec.shape, shape, strict=True)
        )
        return spec if is_right else replace(spec, shape=shape)

    return replace(declared, outputs=tuple(map(of, declared.outputs)))


def _onnxsim(source: Path, target: Path) -> None:
    onnxsim: Any = import_module("onnxsim")
    words: dict[str, Any] = {"tensor_size_threshold": _FOLD_LIMIT}
    writes_itself = "output_path" in inspect.signature(onnxsim.simplify).parameters  # 0.8 and later
    if writes_itself:
        words["output_path"] = str(target)
    simple, checked = onnxsim.simplify(str(source), **words)
    if not writes_itself:
        import_module("onnx").save(simple, str(target))
    if not checked:
        raise StepError("onnxsim's result does not pass its own check", mend="another simplifier is tried")


def _tidy(model: Proto, folder: Path) -> bool:
    """Leave out what onnxsim notes down of its own work, which every later file would carry along; give the data file
    that it leaves beside a model of over 2 GB, and calls at random, its usual name. Whether all was so already."""
    kept = [pair for pair in model.metadata_props if not pair.key.startswith("onnxsim.")]
    strange = [location for location in onnx_graph.locations_of(model) if location != _DATA]
    if len(kept) == len(model.metadata_props) and not strange:
        return True
    for location in strange:
        (folder / location).rename(folder / _DATA)
    for tensor in onnx_graph.external_tensors(model):
        for pair in tensor.external_data:
            if pair.key == "location":
                pair.value = _DATA
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return False


def _onnxslim(source: Path, target: Path) -> None:
    onnxslim: Any = import_module("onnxslim")
    model = onnxslim.slim(str(source))
    if model is None:
        raise StepError("onnxslim gave no model", mend="another simplifier is tried")
    _save(model, target)


def _no_simplifier(source: Path, target: Path) -> None:
    onnx: Any = import_module("onnx")
    _save(onnx.load(str(source)), target)


_SIMPLIFIERS = {"onnxsim": _onnxsim, "onnxslim": _onnxslim, "none": _no_simplifier}


def _save(model: Proto, target: Path) -> None:
    """Write `model`; large weights go to one file beside it, tensor by tensor, so that no whole is serialised."""
    onnx: Any = import_module("onnx")
    size_bytes = sum(len(tensor.raw_data) for tensor in onnx_graph.tensors_of(model))
    if size_bytes < _INLINE_LIMIT_BYTES:
        onnx.save_model(model, str(target))
    else:
        onnx.save_model(model, str(target), save_as_external_data=True, location=_DATA, convert_attribute=True)


def _inspected(model: Proto, path: Path, wanted: Signature) -> tuple[Signature, int]:
    """The signature and number of nodes of what lies at `path`: it must be valid, and take and give what is wanted."""
    if strange := set(onnx_graph.locations_of(model)) - {_DATA}:
        raise InternalError(f"weights were written to {sorted(strange)}", wanted=f"{_DATA} alone")
    onnx_graph.check(path)
    count = len(list(onnx_graph.nodes_of(model.graph)))
    made = inferred_signature(model)
    for kind, has, wants in (("inputs", made.inputs, wanted.inputs), ("outputs", made.outputs, wanted.outputs)):
        if _heads(has) != _heads(wants):
            raise Unsupported(
                f"the simplifier changed the {kind}: {', '.join(map(str, has))}",
                wanted=", ".join(map(str, wants)),
                mend="another simplifier is tried",
            )
    return made, count


def _heads(specs: tuple[TensorSpec, ...]) -> list[tuple[str, str]]:
    return [(spec.name, spec.dtype) for spec in specs]
