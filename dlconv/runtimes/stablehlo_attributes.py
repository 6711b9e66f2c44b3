"""Attributes and types of StableHLO operations, read into Python's and NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlconv.errors import Unsupported

_ELEMENTS = {
    "i1": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "ui8": "uint8", "ui16": "uint16",
    "ui32": "uint32", "ui64": "uint64", "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
}  # fmt: skip


def is_sizes(value: Any) -> bool:
    """Whether the value is known at tracing as sizes: an array of numbers and of JAX's symbols."""
    return isinstance(value, np.ndarray) and value.dtype == object


def text_of(attribute: Any) -> str:
    """The text of a string attribute, or the name that a symbol refers to."""
    return str(attribute.value) if hasattr(attribute, "value") else str(attribute).strip('"@')


def dtype_of(kind: Any) -> Any:
    """The NumPy dtype of a tensor's type. Raises Unsupported for one that NumPy and JAX's extensions lack."""
    import ml_dtypes

    name = _ELEMENTS.get(str(kind.element_type))
    if name is None:
        raise Unsupported(f"tensors of {kind.element_type} are not replayed", mend="another route is tried")
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def has(operation: Any, name: str) -> bool:
    """Whether the operation has the attribute."""
    return name in operation.attributes


def integers(operation: Any, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """A list of integers: an array attribute or a dense one, flat."""
    if not has(operation, name):
        return default
    attribute = operation.attributes[name]
    return tuple(int(each) for each in (attribute if hasattr(attribute, "__iter__") else np.array(attribute).ravel()))


def pairs(operation: Any, name: str, count: int) -> list[tuple[int, int]]:
    """Paddings: two integers an axis, zeros where the attribute is absent."""
    flat = integers(operation, name, (0,) * (2 * count))
    return [(flat[2 * place], flat[2 * place + 1]) for place in range(count)]


def integer(operation: Any, name: str, default: int = 0) -> int:
    """An integer attribute."""
    return int(operation.attributes[name].value) if has(operation, name) else default


def flag(operation: Any, name: str) -> bool:
    """A boolean attribute, false where it is absent."""
    return has(operation, name) and bool(operation.attributes[name].value)


def flags(operation: Any, name: str) -> tuple[bool, ...]:
    """A list of booleans, empty where it is absent."""
    return tuple(bool(each) for each in operation.attributes[name]) if has(operation, name) else ()


def direction(operation: Any) -> str:
    """How a comparison compares: "EQ", "NE", "GE", "GT", "LE", "LT"."""
    from jaxlib.mlir.dialects import stablehlo

    return str(stablehlo.ComparisonDirectionAttr(operation.attributes["comparison_direction"]).value)


def constant(operation: Any) -> np.ndarray[Any, Any]:
    """The array of a constant, in its own dtype."""
    kind = operation.results[0].type
    dtype = dtype_of(kind)
    attribute = operation.attributes["value"]
    if dtype.name == "bfloat16" and attribute.is_splat:
        array: Any = np.array(attribute.get_splat_value().value)
    else:
        array = np.array(attribute)
        if dtype.name == "bfloat16" and array.dtype != dtype:
            array = array.view(dtype) if array.dtype.itemsize == dtype.itemsize else array
    return np.asarray(np.broadcast_to(array.astype(dtype), tuple(kind.shape)), order="C")
