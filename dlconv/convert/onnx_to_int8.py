"""ONNX in float32 to ONNX with Q/DQ around what is computed in int8, by onnxruntime.quantization."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv import progress
from dlconv.convert import onnx_boundary, onnx_reduced
from dlconv.convert.edge import Made, Step
from dlconv.errors import Unsupported
from dlconv.graphs import onnx_keep, onnx_masks
from dlconv.graphs.onnx_graph import opset_of
from dlconv.runtimes import onnx_clipping
from dlconv.runtimes.onnx_int8_operators import QUANTISED
from dlconv.samples import from_arrays, read_npz

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors

_BY_CHANNEL = 13
"""The opset as of which Q/DQ have an axis."""
_PREPARED = "prepared.onnx"


def convert(step: Step) -> Made:
    """The model with uint8 activations and weights in 8 bits, a scale a channel; inputs and outputs stay float32.

    settings: "method" ("minmax", "percentile", "entropy" or "mse": how a tensor's range is found from what it was on
    the calibration samples; the last is `runtimes.onnx_clipping`), "weights" ("int8", symmetric, the default, or
    "uint8"), "symmetric" (True: all is int8 around zero, weights have Q/DQ of their own, and a bias stays float32, as
    TensorRT wants it), "boundary", the dtypes of inputs and outputs (`onnx_boundary.narrow`), float32 without, "keep",
    names of nodes that stay in float32. Every calibration sample is run.
    Raises Unsupported for a model whose opset is too old, or with nothing to quantise.
    """
    quantization: Any = import_module("onnxruntime.quantization")
    logging.disable(logging.WARNING)
    model = onnx_reduced.load(step.source)
    if opset_of(model) < _BY_CHANNEL:
        raise Unsupported("Q/DQ have no channels before opset 13", mend=f"--opset {_BY_CHANNEL}, or a later one")
    is_signed = step.settings.get("weights", "int8") == "int8"
    is_symmetric = bool(step.settings.get("symmetric", False))
    kinds = quantization.QuantType
    keep = onnx_keep.kept(step.settings, model.graph)
    masked = onnx_masks.before_softmax(model.graph.node)
    keep += [node.name for node in model.graph.node if not masked.isdisjoint(node.output)]
    named = onnx_reduced.write(model, step.out_dir, step.signature).entry
    prepared = step.out_dir / _PREPARED
    (step.out_dir / named).rename(prepared)
    if step.calibration is None:
        raise Unsupported("int8 needs calibration samples", mend="--calibration FILE.npz")
    samples = from_arrays(read_npz(step.calibration))
    method = step.settings["method"]
    ranges = onnx_clipping.least_squares(prepared, samples) if method == "mse" else {}
    reader = _Calibration(samples)
    quantization.quantize_static(
        prepared,
        step.out_dir / onnx_reduced.ENTRY,
        reader,
        op_types_to_quantize=list(QUANTISED),
        per_channel=True,
        activation_type=kinds.QInt8 if is_symmetric else kinds.QUInt8,
        weight_type=kinds.QInt8 if is_signed else kinds.QUInt8,
        nodes_to_exclude=keep,
        calibrate_method=_methods()[method],
        extra_options={
            "ActivationSymmetric": is_symmetric,
            "WeightSymmetric": is_signed,
            "CalibTensorRangeSymmetric": False,
            "AddQDQPairToWeight": is_symmetric,
            "QuantizeBias": not is_symmetric,
            "TensorQuantOverrides": {
                name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()
            },
        },
    )
    made = onnx_reduced.load(step.out_dir / onnx_reduced.ENTRY)
    prepared.unlink()
    _unmarked(made)
    counted = sum(node.op_type == "QuantizeLinear" for node in made.graph.node)
    if not counted:
        raise Unsupported("the model has nothing that is computed in int8", mend="leave it in float32")
    notes = (f"{counted} tensors quantised; ranges by {method} of {reader.count} samples",)
    signature = step.signature
    if "boundary" in step.settings:
        signature = onnx_boundary.narrow(made, signature, step.settings["boundary"])
    return onnx_reduced.write(made, step.out_dir, signature, notes)


def _unmarked(made: Any) -> None:
    """Without the quantiser's note that it was here, which OpenVINO's IR would carry along."""
    kept = [pair for pair in made.metadata_props if pair.key != "onnx.infer"]
    del made.metadata_props[:]
    made.metadata_props.extend(kept)


def _methods() -> dict[str, Any]:
    methods: Any = import_module("onnxruntime.quantization").CalibrationMethod
    return {
        "minmax": methods.MinMax,
        "mse": methods.MinMax,  # whose ranges are then overridden
        "percentile": methods.Percentile,
        "entropy": methods.Entropy,
    }


class _Calibration:
    """What the quantiser reads samples from, one after the other: `CalibrationDataReader` by its methods."""

    def __init__(self, samples: tuple[Tensors, ...]) -> None:
        self.count = len(samples)
        self._left: Iterator[Tensors] = progress.through(samples)

    def get_next(self) -> Tensors | None:
        return next(self._left, None)
