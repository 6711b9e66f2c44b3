"""OpenVINO, loaded so that it reports to nobody, and its inputs and outputs as TensorSpecs."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, cast

from dlconv.model import Dim, TensorSpec

DTYPES = {
    "f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16", "boolean": "bool", "i8": "int8",
    "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
    "string": "string",
}  # fmt: skip
"""NumPy's names of OpenVINO's element types."""


def import_openvino() -> Any:
    """The openvino module, whose converter would otherwise send a report of each use over the network.

    It does without where its telemetry package cannot be imported, and is a second faster for it.
    """
    sys.modules.setdefault("openvino_telemetry", cast("Any", None))
    return import_module("openvino")


def specs_of(ports: Any) -> tuple[TensorSpec, ...]:
    """One a port, called by the first of its names in alphabetical order, or by its node where it has none."""
    return tuple(spec_of(port, min(port.get_names(), default=port.get_node().get_friendly_name())) for port in ports)


def spec_of(port: Any, name: str, dims: tuple[Dim, ...] | None = None) -> TensorSpec:
    """The port as a tensor called `name`. `dims` lends the names of free dimensions; else they are "NAME_AXIS"."""
    kind = str(port.get_element_type().get_type_name())
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return TensorSpec(name, DTYPES.get(kind, kind), None)
    if dims is None or len(dims) != len(shape):
        dims = tuple(f"{name}_{axis}" for axis in range(len(shape)))
    found = tuple(int(size.get_length()) if size.is_static else str(dim) for size, dim in zip(shape, dims, strict=True))
    return TensorSpec(name, DTYPES.get(kind, kind), found)
