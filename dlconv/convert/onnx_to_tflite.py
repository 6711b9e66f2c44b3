"""ONNX to TFLite by onnx2tf, without TensorFlow: names, order and layouts of inputs and outputs stay the source's."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert import onnx2tf_lowering, onnx_for_tflite
from dlconv.convert.edge import Made, Step
from dlconv.errors import StepError, Unsupported
from dlconv.model import Signature, TensorSpec
from dlconv.runtimes import tflite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.convert.onnx_graph import Proto
    from dlconv.model import Dim
    from dlconv.runtimes.base import Tensors

ENTRY = "model.tflite"
_LIMIT_BYTES = 2_000_000_000  # a FlatBuffer's offsets are 31 bits wide

Shapes = dict[str, tuple["Dim", ...]]


def convert(step: Step) -> Made:
    """The TFLite model of an ONNX model, as "model.tflite".

    settings: "passes": "none" (the default: operators as they are, exact rewritings alone) or "layout" (onnx2tf's own).
    Free dimensions stay free where the file then answers as the source does at another size; else they are
    frozen to the sample's, the batch the last of them, and a note says so.
    Raises Unsupported for an operator that cannot be converted, and for a model too large for the format.
    """
    onnx: Any = import_module("onnx")
    _check_size(step.source)
    model = onnx.load(str(step.source))
    fed = _fed(model, step)
    reasons: list[str] = []
    for shapes in _attempts(step.signature, fed):
        kept = sorted({size for shape in shapes.values() for size in shape if isinstance(size, str)})
        try:
            return _attempt(model, step, shapes, fed, kept, tuple(reasons))
        except (StepError, RuntimeError, ValueError) as error:
            if not kept:
                raise
            reasons.append(f"{', '.join(kept)} cannot all stay free: {str(error).strip().splitlines()[0]}")
    raise StepError("the model has no inputs to give a shape")


def _attempt(
    model: Proto, step: Step, shapes: Shapes, fed: Tensors, kept: list[str], reasons: tuple[str, ...]
) -> Made:
    path = step.out_dir / ENTRY
    prepared, notes = onnx_for_tflite.prepare(model, shapes)
    onnx2tf_lowering.write(onnx2tf_lowering.lower(prepared, step.settings.get("passes", "none")), path)
    session = tflite.TfliteSession(path, threads=1)
    answer = session.run(fed)
    outputs = _outputs(prepared, session, answer, step.signature)
    if kept:
        _prove_free(step.source, session, shapes, fed)
    inputs = tuple(
        replace(spec, dtype=np.dtype(session.inputs[spec.name]["dtype"]).name, shape=shapes[spec.name]) for spec in step.signature.inputs
    )
    refused = session.placement().get("delegate_refused", "")
    told = (f"runs without the XNNPACK delegate alone, which refuses the model: {refused}",) if refused else ()
    return Made(ENTRY, Signature(inputs, outputs, step.signature.constants), (*reasons, *notes, *told))


def _fed(model: Proto, step: Step) -> Tensors:
    """The sample by the names of the model's inputs. Raises StepError where the two differ."""
    weights = {tensor.name for tensor in model.graph.initializer}
    names = {value.name for value in model.graph.input} - weights
    fed = {spec.name: step.sample[name] for spec in step.signature.inputs
           for name in (spec.name, spec.source_name) if name in step.sample}  # fmt: skip
    if set(fed) != names:
        raise StepError(f"the step has samples for {sorted(fed)}", wanted=f"the model's inputs: {sorted(names)}")
    return fed


def _check_size(source: Path) -> None:
    # External data lies beside the model.
    size_bytes = sum(file.stat().st_size for file in source.parent.iterdir() if file.name.startswith(source.name))
    if size_bytes > _LIMIT_BYTES:
        raise Unsupported(f"the model has {size_bytes:,} bytes", wanted="less than 2 GB: TFLite's format ends there")


def _attempts(signature: Signature, fed: Tensors) -> Iterator[Shapes]:
    """The shapes of the inputs, freest first: all free dimensions, the first axes' alone (the batch), none."""
    seen: list[Shapes] = []
    first = {spec.shape[0] for spec in signature.inputs if spec.shape}
    for keeps in (lambda size: True, lambda size: size in first, lambda size: False):
        shapes = {spec.name: _settled(spec, fed[spec.name].shape, keeps) for spec in signature.inputs}
        if shapes not in seen:
            seen.append(shapes)
            yield shapes


def _settled(spec: TensorSpec, sizes: tuple[int, ...], keeps: Any) -> tuple[Dim, ...]:
    if spec.shape is None:
        return sizes
    return tuple(
        dim if isinstance(dim, str) and keeps(dim) else size for dim, size in zip(spec.shape, sizes, strict=True)
    )


def _outputs(prepared: Proto, session: tflite.TfliteSession, answer: Tensors, signature: Signature) -> tuple[TensorSpec, ...]:
    """The outputs by the source's names and in its order.

    Raises StepError if the file lacks one, has others, or gives one a shape that is not the source's.
    """
    named = {spec.name: spec for spec in signature.outputs}
    stated = {value.name: _dims(value) for value in prepared.graph.output}
    if set(stated) != set(answer):
        raise StepError(f"the file's outputs are {sorted(answer)}", wanted=f"{sorted(stated)}")
    specs: list[TensorSpec] = []
    for name, dims in stated.items():
        got = answer[name]
        fits = len(dims) == got.ndim and all(isinstance(want, str) or want == size
                                             for want, size in zip(dims, got.shape, strict=True))  # fmt: skip
        if not fits and dims:
            raise StepError(f"the file gives {name} the shape {list(got.shape)}", wanted=f"{list(dims)}, the source's")
        shape = got.shape if not _is_free(session) else dims
        base = named.get(name, TensorSpec(name, "", None))
        specs.append(replace(base, dtype=got.dtype.name, shape=tuple(shape)))
    return tuple(specs)


def _is_free(session: tflite.TfliteSession) -> bool:
    return any(-1 in tflite.free_shape_of(detail) for detail in session.inputs.values())


def _dims(value: Proto) -> tuple[Dim, ...]:
    """The shape that shape inference found: a size, the name of a free one, or "NAME.AXIS" for one without a name."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value or dim.dim_param or f"{value.name}.{axis}" for axis, dim in enumerate(dims))


def _prove_free(source: Path, session: tflite.TfliteSession, shapes: Shapes, fed: Tensors) -> None:
    """Raise StepError unless the file answers as the source does at another size of every free dimension."""
    for other in _other_sizes(shapes, fed):
        wanted = _source_answer(source, other)
        if wanted is None:
            continue
        got = session.run(other)
        for name, reference in wanted.items():
            shape = list(reference.shape)
            if list(got[name].shape) != shape:
                raise StepError(f"at another size {name} has the shape {list(got[name].shape)}", wanted=f"{shape}")
            if not _is_near(got[name], reference):
                raise StepError(f"at another size, {name} of shape {shape}, the file answers something else")
        session.run(fed)
        return
    raise StepError("the source itself takes none of the other sizes that were tried")


def _other_sizes(shapes: Shapes, fed: Tensors) -> Iterator[Tensors]:
    """The sample's values, shuffled, at sizes one more, twice and eight more in every free dimension."""
    rng = np.random.default_rng(0)
    for grow in (lambda size: size + 1, lambda size: size * 2, lambda size: size + 8):
        yield {
            name: rng.permutation(np.resize(fed[name], [
                grow(size) if isinstance(dim, str) else size for dim, size in zip(dims, fed[name].shape, strict=True)
            ]).ravel()).reshape([
                grow(size) if isinstance(dim, str) else size for dim, size in zip(dims, fed[name].shape, strict=True)
            ])
            for name, dims in shapes.items()
        }  # fmt: skip


def _source_answer(source: Path, fed: Tensors) -> Tensors | None:
    """What ONNX Runtime answers without optimisation; None where it refuses the sizes."""
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    state = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        answers = session.run(None, fed)
    except (state.Fail, state.InvalidArgument, state.RuntimeException, RuntimeError, ValueError):
        return None
    return dict(zip((value.name for value in session.get_outputs()), answers, strict=True))


def _is_near(got: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> bool:
    """Whether it is the same model at all: within a hundredth. How near it is, parity judges."""
    wide = reference.astype(np.float64)
    scale = float(np.max(np.abs(wide), initial=0.0)) or 1.0
    return bool(np.max(np.abs(got.astype(np.float64) - wide), initial=0.0) <= 0.01 * scale)
