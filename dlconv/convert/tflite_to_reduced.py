"""TFLite in float32 to TFLite in float16 or int8, by ai-edge-quantizer; inputs and outputs stay float32."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.edge import Made, Step
from dlconv.errors import Unsupported
from dlconv.runtimes import tflite_boundary, tflite_flatbuffer
from dlconv.samples import from_arrays, read_npz

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors

ENTRY = "model.tflite"
_WHOLE = ("SOFTMAX", "INPUT", "OUTPUT")
"""What stays in float32: the boundary, which callers know, and softmax, whose 8 bits would be the answer's."""


def convert(step: Step) -> Made:
    """The model with its weights in "recipe": "float16", "weights-int8" (a scale a channel, computed in float32) or
    "static-int8" (activations too, their ranges from the calibration samples, all of which are run).

    Raises Unsupported where there is nothing to reduce.
    """
    quantizers: Any = import_module("ai_edge_quantizer.quantizer")
    made = quantizers.Quantizer(_with_signature(step), _recipe(step.settings["recipe"]))
    ranges = None
    notes: tuple[str, ...] = ()
    if made.need_calibration:
        samples = _calibration(step)
        ranges = _ranges(made, _key(step), [_in_order(sample, step) for sample in samples])
        notes = (f"ranges by the extremes of {len(samples)} samples",)
    done = made.quantize(ranges, enable_progress_report=False)
    if bytes(done.quantized_model) == step.source.read_bytes():
        raise Unsupported("the model has nothing that could be reduced", mend="leave it in float32")
    (step.out_dir / ENTRY).write_bytes(done.quantized_model)
    return Made(ENTRY, step.signature, notes)


def _ranges(quantizer: Any, key: str, samples: list[Tensors]) -> dict[str, Any]:
    """The extremes of each tensor over all samples. The package's own way over several is a moving average of them,
    which cuts off what is rare and large: so each sample is given alone."""
    ranges: dict[str, Any] = {}
    for sample in samples:
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


def _recipe(name: str) -> Any:
    recipes: Any = import_module("ai_edge_quantizer.recipe")
    managers: Any = import_module("ai_edge_quantizer.recipe_manager")
    types: Any = import_module("ai_edge_quantizer.qtyping")
    algorithms: Any = import_module("ai_edge_quantizer.algorithm_manager").AlgorithmName
    manager = managers.RecipeManager()
    if name == "float16":
        halved = types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT)
        manager.add_quantization_config(
            regex=".*",
            operation_name=types.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=algorithms.FLOAT_CASTING,
            op_config=types.OpQuantizationConfig(
                weight_tensor_config=halved,
                compute_precision=types.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
        )
        return manager.get_quantization_recipe()
    if name == "weights-int8":
        return recipes.weight_only_wi8_afp32()
    manager.load_quantization_recipe(recipes.static_wi8_ai8())
    for operator in _WHOLE:
        manager.add_quantization_config(
            regex=".*",
            operation_name=types.TFLOperationName[operator],
            algorithm_key=algorithms.NO_QUANTIZE,
        )
    return manager.get_quantization_recipe()


def _calibration(step: Step) -> tuple[Tensors, ...]:
    if step.calibration is None:
        raise Unsupported("int8 needs calibration samples", mend="--calibration FILE.npz")
    return from_arrays(read_npz(step.calibration))


def _key(step: Step) -> str:
    """The signature that the samples are given to."""
    model = tflite_flatbuffer.load(step.source)
    return tflite_boundary.entry_of(model, step.signature.entry).key or tflite_boundary.USUAL_ENTRY


def _with_signature(step: Step) -> bytes:
    """The file; one without a SignatureDef gets one of its tensors' names: the package gives samples to no other."""
    content = step.source.read_bytes()
    model = tflite_flatbuffer.load(step.source)
    if model.entries:
        return content
    entry = tflite_boundary.entry_of(model)
    flat: Any = import_module("ai_edge_litert.tools.flatbuffer_utils")
    schema: Any = import_module("ai_edge_litert.schema_py_generated")
    told = flat.read_model_from_bytearray(bytearray(content))
    made = schema.SignatureDefT()
    made.signatureKey = tflite_boundary.USUAL_ENTRY.encode()
    made.subgraphIndex = entry.graph
    made.inputs, made.outputs = (_maps(schema, tensors) for tensors in (entry.inputs, entry.outputs))
    told.signatureDefs = [made]
    return bytes(flat.convert_object_to_bytearray(told))


def _maps(schema: Any, tensors: dict[str, int]) -> list[Any]:
    maps = []
    for name, index in tensors.items():
        each = schema.TensorMapT()
        each.name, each.tensorIndex = name.encode(), index
        maps.append(each)
    return maps


def _in_order(sample: Tensors, step: Step) -> Tensors:
    return {spec.name: sample[spec.name] for spec in step.signature.inputs}
