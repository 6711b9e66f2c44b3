"""StableHLO's operators in `jax.lax`: of single elements, of shapes, of control."""

# pyright: reportAttributeAccessIssue=false
# Where JAX is not installed, pyright takes jax.py beside this file for it.

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes import stablehlo_attributes as told
from dlconv.runtimes import stablehlo_control
from dlconv.runtimes.stablehlo_sizes import folded, known_sizes
from dlconv.runtimes.stablehlo_windows import WINDOWS, dynamic_gather

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.stablehlo_replay import Replay, Values

_PLAIN = {
    "abs": "abs", "add": "add", "and": "bitwise_and", "atan2": "atan2", "cbrt": "cbrt", "ceil": "ceil",
    "count_leading_zeros": "clz", "cosine": "cos", "divide": "div", "exponential": "exp",
    "exponential_minus_one": "expm1", "floor": "floor", "is_finite": "is_finite", "log": "log",
    "log_plus_one": "log1p", "logistic": "logistic", "maximum": "max", "minimum": "min", "multiply": "mul",
    "negate": "neg", "not": "bitwise_not", "or": "bitwise_or", "popcnt": "population_count", "power": "pow",
    "remainder": "rem", "rsqrt": "rsqrt", "shift_left": "shift_left",
    "shift_right_arithmetic": "shift_right_arithmetic",
    "shift_right_logical": "shift_right_logical", "sign": "sign", "sine": "sin", "sqrt": "sqrt", "subtract": "sub",
    "tan": "tan", "tanh": "tanh", "xor": "bitwise_xor",
}  # fmt: skip
"""Operators that are a lax function of the same operands: StableHLO's name and lax's."""


def _plain(name: str, replay: Replay, operation: Any, values: Values) -> Values:
    sizes = folded(name, operation, values)
    if sizes is not None:
        return [sizes]
    from jax import lax

    return [getattr(lax, _PLAIN[name])(*replay.arrays(operation, values))]


def _of(lax_function: Callable[..., Any]) -> Callable[[Replay, Any, Values], Values]:
    """An operator of arrays with attributes: the function gets the replay, the operation, and the arrays."""

    def apply(replay: Replay, operation: Any, values: Values) -> Values:
        result = lax_function(replay, operation, *replay.arrays(operation, values))
        return list(result) if isinstance(result, (list, tuple)) else [result]

    return apply


def _sized(lax_function: Callable[..., Any]) -> Callable[[Replay, Any, Values], Values]:
    """The same, of an operator that sizes may pass: those are computed at tracing."""
    plain = _of(lax_function)

    def apply(replay: Replay, operation: Any, values: Values) -> Values:
        sizes = folded(operation.name.removeprefix("stablehlo."), operation, values)
        return plain(replay, operation, values) if sizes is None else [sizes]

    return apply


def _constant(replay: Replay, operation: Any, values: Values) -> Values:
    array = told.constant(operation)
    return [array.astype(replay.wide(array.dtype))]


def _iota(replay: Replay, operation: Any, shape: tuple[Any, ...]) -> Any:
    from jax import lax

    return lax.broadcasted_iota(
        replay.dtype(operation.results[0].type), shape, told.integer(operation, "iota_dimension")
    )


def _static_iota(replay: Replay, operation: Any) -> Any:
    return _iota(replay, operation, tuple(operation.results[0].type.shape))


def _dynamic_iota(replay: Replay, operation: Any, values: Values) -> Values:
    return [_iota(replay, operation, known_sizes(operation, values[0]))]


def _convert(replay: Replay, operation: Any, value: Any) -> Any:
    from jax import lax

    return lax.convert_element_type(value, replay.dtype(operation.results[0].type))


def _bitcast(replay: Replay, operation: Any, value: Any) -> Any:
    from jax import lax

    kinds = {str(kind.element_type)[:1] for kind in (operation.operands[0].type, operation.results[0].type)}
    if replay.double and kinds & {"f", "b"}:
        raise Unsupported("the bits of floating numbers have no meaning in another precision")
    return lax.bitcast_convert_type(value, replay.dtype(operation.results[0].type))


def _compare(replay: Replay, operation: Any, left: Any, right: Any) -> Any:
    from jax import lax

    return getattr(lax, told.direction(operation).lower())(left, right)


def _select(replay: Replay, operation: Any, which: Any, on_true: Any, on_false: Any) -> Any:
    from jax import lax

    if which.ndim == 0 and np.ndim(on_true):
        which = lax.broadcast_in_dim(which, on_true.shape, ())
    if on_true.dtype == np.bool_:
        # The same, and runtimes of ONNX lack the choice between truths.
        both = lax.bitwise_and(which, on_true), lax.bitwise_and(lax.bitwise_not(which), on_false)
        return lax.bitwise_or(*both)
    return lax.select_n(which, on_false, on_true)


def _clamp(replay: Replay, operation: Any, low: Any, value: Any, high: Any) -> Any:
    from jax import lax

    return lax.clamp(low, value, high)


def _round(replay: Replay, operation: Any, value: Any) -> Any:
    from jax import lax

    is_even = operation.name.endswith("even")
    return lax.round(value, lax.RoundingMethod.TO_NEAREST_EVEN if is_even else lax.RoundingMethod.AWAY_FROM_ZERO)


def _broadcast(replay: Replay, operation: Any, value: Any) -> Any:
    from jax import lax

    shape = tuple(operation.results[0].type.shape)
    return lax.broadcast_in_dim(value, shape, told.integers(operation, "broadcast_dimensions"))


def _dynamic_broadcast(replay: Replay, operation: Any, values: Values) -> Values:
    from jax import lax

    [value, _] = replay.arrays(operation, values)
    shape = known_sizes(operation, values[1])
    return [lax.broadcast_in_dim(value, shape, told.integers(operation, "broadcast_dimensions"))]


def _reshape(replay: Replay, operation: Any, value: Any) -> Any:
    from jax import lax

    return lax.reshape(value, tuple(operation.results[0].type.shape))


def _dynamic_reshape(replay: Replay, operation: Any, values: Values) -> Values:
    from jax import lax

    [value, _] = replay.arrays(operation, values)
    return [lax.reshape(value, known_sizes(operation, values[1]))]


def _transpose(replay: Replay, operation: Any, value: Any) -> Any:
    from jax import lax

    return lax.transpose(value, told.integers(operation, "permutation"))


def _slice(replay: Replay, operation: Any, value: Any) -> Any:
    from jax import lax

    limits = told.integers(operation, "limit_indices")
    return lax.slice(
        value,
        told.integers(operation, "start_indices"),
        limits,
        told.integers(operation, "strides", (1,) * len(limits)),
    )


def _real_dynamic_slice(replay: Replay, operation: Any, values: Values) -> Values:
    """A slice whose ends are values: known ones, or a start and a start plus known sizes, as JAX writes it."""
    from jax import lax

    _, start, limit, strides = values
    value, starts, *_ = replay.arrays(operation, values)
    if all(told.is_sizes(each) or isinstance(each, np.ndarray) for each in (start, limit, strides)):
        return [lax.slice(value, *(known_sizes(operation, each) for each in (start, limit, strides)))]
    steps = known_sizes(operation, strides)
    made = operation.operands[2].owner
    if all(step == 1 for step in steps) and getattr(made, "name", "") == "stablehlo.add":
        first, second = made.operands
        other = second if first == operation.operands[1] else first
        shape = known_sizes(operation, replay.value(other))
        single = [lax.index_in_dim(starts, place, keepdims=False) for place in range(len(shape))]
        return [lax.dynamic_slice(value, single, shape)]
    raise Unsupported("a slice of sizes that are known as it runs is not replayed", mend="another route is tried")


def _dynamic_slice(replay: Replay, operation: Any, value: Any, *starts: Any) -> Any:
    from jax import lax

    return lax.dynamic_slice(value, starts, told.integers(operation, "slice_sizes"))


def _dynamic_update_slice(replay: Replay, operation: Any, value: Any, update: Any, *starts: Any) -> Any:
    from jax import lax

    return lax.dynamic_update_slice(value, update, starts)


def _pad(replay: Replay, operation: Any, value: Any, filling: Any) -> Any:
    from jax import lax

    low, high, inside = (
        told.integers(operation, f"{name}_padding{tail}")
        for name, tail in (("edge", "_low"), ("edge", "_high"), ("interior", ""))
    )
    return lax.pad(value, filling, list(zip(low, high, inside, strict=True)))


def _dynamic_pad(replay: Replay, operation: Any, values: Values) -> Values:
    from jax import lax

    low, high, inside = (known_sizes(operation, each) for each in values[2:])
    paddings = list(zip(low, high, inside, strict=True))
    value, filling, *_ = replay.arrays(operation, values)
    return [lax.pad(value, filling, paddings)]


def _concatenate(replay: Replay, operation: Any, *values: Any) -> Any:
    from jax import lax

    return lax.concatenate(values, told.integer(operation, "dimension"))


def _reverse(replay: Replay, operation: Any, value: Any) -> Any:
    from jax import lax

    return lax.rev(value, told.integers(operation, "dimensions"))


def _size(replay: Replay, operation: Any, values: Values) -> Values:
    return [np.array(values[0].shape[told.integer(operation, "dimension")], dtype=object)]


def _barrier(replay: Replay, operation: Any, *values: Any) -> Any:
    return values


OPERATORS: dict[str, Callable[[Replay, Any, Values], Values]] = {
    "stablehlo.bitcast_convert": _of(_bitcast),
    "stablehlo.broadcast_in_dim": _sized(_broadcast),
    "stablehlo.case": stablehlo_control.branch,
    "stablehlo.clamp": _sized(_clamp),
    "stablehlo.compare": _sized(_compare),
    "stablehlo.composite": stablehlo_control.composite,
    "stablehlo.concatenate": _sized(_concatenate),
    "stablehlo.constant": _constant,
    "stablehlo.convert": _sized(_convert),
    "stablehlo.custom_call": stablehlo_control.custom_call,
    "stablehlo.dynamic_broadcast_in_dim": _dynamic_broadcast,
    "stablehlo.dynamic_gather": dynamic_gather,
    "stablehlo.dynamic_iota": _dynamic_iota,
    "stablehlo.dynamic_pad": _dynamic_pad,
    "stablehlo.dynamic_reshape": _dynamic_reshape,
    "stablehlo.dynamic_slice": _of(_dynamic_slice),
    "stablehlo.dynamic_update_slice": _of(_dynamic_update_slice),
    "stablehlo.get_dimension_size": _size,
    "stablehlo.if": stablehlo_control.branch,
    "stablehlo.iota": _of(_static_iota),
    "stablehlo.optimization_barrier": _of(_barrier),
    "stablehlo.pad": _of(_pad),
    "stablehlo.real_dynamic_slice": _real_dynamic_slice,
    "stablehlo.reshape": _sized(_reshape),
    "stablehlo.reverse": _of(_reverse),
    "stablehlo.round_nearest_afz": _of(_round),
    "stablehlo.round_nearest_even": _of(_round),
    "stablehlo.select": _sized(_select),
    "stablehlo.slice": _sized(_slice),
    "stablehlo.transpose": _of(_transpose),
    "stablehlo.while": _of(stablehlo_control.loop),
    "func.call": stablehlo_control.call,
}
OPERATORS.update({f"stablehlo.{name}": partial(_plain, name) for name in _PLAIN})
OPERATORS.update({name: _of(function) for name, function in WINDOWS.items()})
