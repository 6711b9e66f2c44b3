"""Sizes that a StableHLO program computes from its inputs' shapes, computed at tracing: numbers and JAX's symbols."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes import stablehlo_attributes as told

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.stablehlo_replay import Values


def _larger(one: Any, other: Any) -> Any:
    from jax._src import core

    return core.max_dim(one, other)


def _smaller(one: Any, other: Any) -> Any:
    from jax._src import core

    return core.min_dim(one, other)


_SHAPE = 16  # no shape has more numbers than that: longer constants are weights

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.floordiv,
    "remainder": operator.mod,
    "maximum": _larger,
    "minimum": _smaller,
}


def folded(name: str, operation: Any, values: Values) -> Any:
    """The operator on sizes as sizes; None where it is of other values, or cannot be told for symbols.

    Sizes are no less than zero, so that the division that floors is StableHLO's, which truncates.
    """
    if not all(isinstance(value, np.ndarray) for value in values):
        return None
    if not any(told.is_sizes(value) for value in values):
        is_shape = all(value.dtype.kind == "i" and value.size <= _SHAPE for value in values)
        # A single number stays known too: a reduction's start.
        is_number = name in ("reshape", "broadcast_in_dim") and operation.results[0].type.rank == 0
        return _moved(name, operation, values) if is_shape or is_number else None
    objects = [value if told.is_sizes(value) else value.astype(object) for value in values]
    if name in ("divide", "remainder") and any(_may_be_negative(size) for value in objects for size in value.ravel()):
        return None
    if name in _ARITHMETIC:
        return np.asarray(np.frompyfunc(_ARITHMETIC[name], 2, 1)(*objects), dtype=object)
    return _moved(name, operation, objects)


def _moved(name: str, operation: Any, values: Values) -> Any:
    if name == "convert":
        dtype = told.dtype_of(operation.results[0].type)
        if dtype.kind not in "iu":
            return None
        return values[0] if told.is_sizes(values[0]) else values[0].astype(dtype)
    shape = tuple(operation.results[0].type.shape)
    if name == "reshape":
        return values[0].reshape(shape)
    if name == "broadcast_in_dim" and values[0].size == 1:
        return np.broadcast_to(values[0].reshape((1,) * len(shape)), shape).copy()
    if name == "concatenate":
        return np.concatenate(values, told.integer(operation, "dimension"))
    if name == "slice":
        ends = zip(told.integers(operation, "start_indices"), told.integers(operation, "limit_indices"), strict=True)
        steps = told.integers(operation, "strides", (1,) * values[0].ndim)
        return values[0][tuple(slice(start, limit, step) for (start, limit), step in zip(ends, steps, strict=True))]
    return None


def _may_be_negative(size: Any) -> bool:
    try:
        return not size >= 0
    except Exception:
        return True


def known_sizes(operation: Any, value: Any) -> tuple[Any, ...]:
    """The sizes of a shape that is known at tracing. Raises Unsupported for one that is computed from values."""
    if not isinstance(value, np.ndarray):
        raise Unsupported(
            f"{operation.name} has sizes that are computed from values as it runs", mend="another route is tried"
        )
    return tuple(size if told.is_sizes(value) else int(size) for size in value.ravel())
