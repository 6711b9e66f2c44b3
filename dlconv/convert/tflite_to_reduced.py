"""TFLite in float32 to TFLite in float16, int8, or 16 bits beside weights in int8, by ai-edge-quantizer."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv import progress
from dlconv.convert import tflite_masks, tflite_quantisable, tflite_recipes
from dlconv.convert.edge import Made, Step
from dlconv.errors import StepError, Unsupported
from dlconv.runtimes import tflite_boundary, tflite_flatbuffer
from dlconv.samples import from_arrays, read_npz

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.model import Signature, TensorSpec
    from dlconv.runtimes.base import Tensors

ENTRY = "model.tflite"
_AS_IT_IS = {"inputs": "float32", "outputs": "float32"}


def convert(step: Step) -> Made:
    """The model with its weights in "recipe": "float16", "weights-int8" (a scale a channel, computed in float32),
    "static-int8" (activations too, their ranges from the calibration samples, all of which are run), or
    "static-int16x8" (activations in 16 bits).

    settings: "islands" (True: what is no weighted sum, nor moves data between those, stays in float32); "ranges"
    ("extremes", or "average": of the samples' extremes, as the package has it, which cuts off what is rare);
    "boundary", the dtypes of inputs and outputs, int8 with "static-int8" and float32 without; "keep", names of nodes of
    the ONNX graph that stay in float32, and "outputs", by which tensors the file knows them (`onnx_reducible.outputs`).
    Raises Unsupported where there is nothing to reduce, and for a node to keep that the file does not know.
    """
    quantizers: Any = import_module("ai_edge_quantizer.quantizer")
    boundary = step.settings.get("boundary", _AS_IT_IS)
    content = tflite_quantisable.content_of(step.source)
    kept = tflite_recipes.kept_tensors(
        tflite_flatbuffer.load(step.source), step.settings.get("keep", ()), step.settings.get("outputs", {})
    )
    name = step.settings["recipe"]
    whole = tflite_masks.masks(content) if name.startswith("static-") else set()
    islands = bool(step.settings.get("islands"))
    recipe = tflite_recipes.recipe(name, boundary=boundary, kept=(*kept, *sorted(whole)), islands=islands)
    made = quantizers.Quantizer(content, recipe)
    ranges = None
    notes: tuple[str, ...] = ()
    if made.need_calibration:
        samples = _calibration(step)
        how = step.settings.get("ranges", "extremes")
        ordered = [_in_order(sample, step) for sample in samples]
        ranges = _ranges(made, _key(step), ordered) if how == "extremes" else _averaged(made, _key(step), ordered)
        notes = (f"ranges by the {how} of {len(samples)} samples",)
    done = made.quantize(ranges, enable_progress_report=False)
    if bytes(done.quantized_model) == content:
        raise Unsupported("the model has nothing that could be reduced", mend="leave it in float32")
    (step.out_dir / ENTRY).write_bytes(done.quantized_model)
    return Made(ENTRY, _signature(step, boundary), notes)


def _signature(step: Step, boundary: Mapping[str, str]) -> Signature:
    """With the boundary's dtypes, scales and zero points, as the file has them. StepError where it has others."""
    if dict(boundary) == _AS_IT_IS:
        return step.signature
    model = tflite_flatbuffer.load(step.out_dir / ENTRY)
    entry = tflite_boundary.entry_of(model, _key(step))
    tensors = model.graphs[entry.graph].tensors

    def narrowed(specs: tuple[TensorSpec, ...], numbers: Mapping[str, int], dtype: str) -> tuple[TensorSpec, ...]:
        found = []
        for spec in specs:
            tensor = tensors[numbers[spec.name]]
            wanted = dtype if spec.dtype == "float32" else spec.dtype
            if tensor.dtype != wanted:
                raise StepError(f"the quantiser made {spec.name} {tensor.dtype}", wanted=wanted)
            if wanted != spec.dtype:
                scale, zero = tensor.scale[0], tensor.zero_point[0]
                spec = replace(spec, dtype=wanted, boundary=spec.dtype, scale=scale, zero_point=zero)
            found.append(spec)
        return tuple(found)

    return replace(
        step.signature,
        inputs=narrowed(step.signature.inputs, entry.inputs, boundary["inputs"]),
        outputs=narrowed(step.signature.outputs, entry.outputs, boundary["outputs"]),
    )


def _averaged(quantizer: Any, key: str, samples: list[Tensors]) -> dict[str, Any]:
    """The package's own: a moving average of the samples' extremes."""
    found: dict[str, Any] = quantizer.calibrate({key: samples}, num_threads=1)
    return found


def _ranges(quantizer: Any, key: str, samples: list[Tensors]) -> dict[str, Any]:
    """The extremes of each tensor over all samples. The package's own way over several is a moving average of them,
    which cuts off what is rare and large: so each sample is given alone."""
    ranges: dict[str, Any] = {}
    for sample in progress.through(samples):
        for name, seen in quantizer.calibrate({key: [sample]}, num_threads=1).items():
            if name not in ranges:
                ranges[name] = dict(seen)
            elif "min" in seen and "max" in seen:
                known = ranges[name]
                known["min"], known["max"] = (
                    np.minimum(known["min"], seen["min"]),
                    np.maximum(known["max"], seen["max"]),
                )
    return ranges


def _calibration(step: Step) -> tuple[Tensors, ...]:
    if step.calibration is None:
        raise Unsupported("int8 needs calibration samples", mend="--calibration FILE.npz")
    return from_arrays(read_npz(step.calibration))


def _key(step: Step) -> str:
    """The signature that the samples are given to."""
    model = tflite_flatbuffer.load(step.source)
    return tflite_boundary.entry_of(model, step.signature.entry).key or tflite_boundary.USUAL_ENTRY


def _in_order(sample: Tensors, step: Step) -> Tensors:
    return {spec.name: sample[spec.name] for spec in step.signature.inputs}
