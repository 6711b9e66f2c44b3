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

    Sizes are no less than zero, so that the division that floors is StableHLO's, which truncates. Truths about sizes,
    which JAX asks as it floors, are told where they hold for every size.
    """
    if name == "and":
        return next((value for value in values if _is_false(value)), None)
    if not all(isinstance(value, np.ndarray) for value in values):
        return None
    if name in ("compare", "sign", "select"):
        return _asked(name, operation, values)
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


def _is_false(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == bool and not value.any()


def _asked(name: str, operation: Any, values: Values) -> Any:
    """A comparison, a sign or a choice of sizes or of single numbers; None where it is not the same for every size."""
    is_choice = name == "select"
    numbers = values[1:] if is_choice else values
    if not all(told.is_sizes(value) or (value.ndim == 0 and value.dtype.kind in "ib") for value in numbers):
        return None
    if is_choice:
        if values[0].dtype != bool or values[0].ndim:
            return None
        return values[1] if values[0] else values[2]
    if name == "sign":
        signs = [_sign(size) for size in values[0].ravel().tolist()]
        return None if None in signs else np.array(signs, values[0].dtype).reshape(values[0].shape)
    direction = told.direction(operation)
    pairs = zip(values[0].ravel().tolist(), values[1].ravel().tolist(), strict=True)
    truths = [_holds(direction, one, other) for one, other in pairs]
    return None if None in truths else np.array(truths, bool).reshape(values[0].shape)


def _sign(size: Any) -> int | None:
    ways = {1: "GT", 0: "EQ", -1: "LT"}
    return next((sign for sign, direction in ways.items() if _holds(direction, size, 0)), None)


def _holds(direction: str, one: Any, other: Any) -> bool | None:
    """Whether it holds for every size; None where it does for some alone."""
    if direction in ("EQ", "NE"):
        # JAX answers "not equal" of symbols that might be.
        apart = _holds("LT", one, other) or _holds("GT", one, other)
        is_equal = False if apart else True if one == other else None
        return is_equal if direction == "EQ" or is_equal is None else not is_equal
    compare = {"GE": operator.ge, "GT": operator.gt, "LE": operator.le, "LT": operator.lt}[direction]
    try:
        return bool(compare(one, other))
    except Exception:  # JAX's: it depends
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
