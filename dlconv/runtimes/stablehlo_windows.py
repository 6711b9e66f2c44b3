"""StableHLO's operators over many elements in `jax.lax`: products, convolutions, reductions, gathers, sorts."""

# pyright: reportAttributeAccessIssue=false
# Where JAX is not installed, pyright takes jax.py beside this file for it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import Unsupported
from dlconv.runtimes import stablehlo_attributes as told
from dlconv.runtimes import stablehlo_pools
from dlconv.runtimes.stablehlo_sizes import known_sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.stablehlo_replay import Replay, Values

_REDUCTIONS = {
    "stablehlo.add": "reduce_sum", "stablehlo.multiply": "reduce_prod", "stablehlo.maximum": "reduce_max",
    "stablehlo.minimum": "reduce_min", "stablehlo.and": "reduce_and", "stablehlo.or": "reduce_or",
}  # fmt: skip
_SCATTERS = {
    "stablehlo.add": "scatter_add", "stablehlo.multiply": "scatter_mul", "stablehlo.maximum": "scatter_max",
    "stablehlo.minimum": "scatter_min",
}  # fmt: skip


def _dot(replay: Replay, operation: Any, left: Any, right: Any) -> Any:
    from jax import lax
    from jaxlib.mlir.dialects import stablehlo

    axes = stablehlo.DotDimensionNumbers(operation.attributes["dot_dimension_numbers"])
    numbers = (
        (tuple(axes.lhs_contracting_dimensions), tuple(axes.rhs_contracting_dimensions)),
        (tuple(axes.lhs_batching_dimensions), tuple(axes.rhs_batching_dimensions)),
    )
    return lax.dot_general(left, right, numbers, preferred_element_type=replay.dtype(operation.results[0].type))


def _convolution(replay: Replay, operation: Any, image: Any, kernel: Any) -> Any:
    from jax import lax
    from jaxlib.mlir.dialects import stablehlo

    axes = stablehlo.ConvDimensionNumbers(operation.attributes["dimension_numbers"])
    spatial = len(axes.input_spatial_dimensions)
    if any(told.flags(operation, "window_reversal")):
        kernel = lax.rev(
            kernel,
            [
                axis
                for axis, turned in zip(
                    axes.kernel_spatial_dimensions, told.flags(operation, "window_reversal"), strict=True
                )
                if turned
            ],
        )
    ones = (1,) * spatial
    return lax.conv_general_dilated(
        image,
        kernel,
        window_strides=told.integers(operation, "window_strides", ones),
        padding=told.pairs(operation, "padding", spatial),
        lhs_dilation=told.integers(operation, "lhs_dilation", ones),
        rhs_dilation=told.integers(operation, "rhs_dilation", ones),
        dimension_numbers=lax.ConvDimensionNumbers(
            (axes.input_batch_dimension, axes.input_feature_dimension, *axes.input_spatial_dimensions),
            (
                axes.kernel_output_feature_dimension,
                axes.kernel_input_feature_dimension,
                *axes.kernel_spatial_dimensions,
            ),
            (axes.output_batch_dimension, axes.output_feature_dimension, *axes.output_spatial_dimensions),
        ),
        feature_group_count=told.integer(operation, "feature_group_count", 1),
        batch_group_count=told.integer(operation, "batch_group_count", 1),
        preferred_element_type=replay.dtype(operation.results[0].type),
    )


def _body(operation: Any) -> list[str]:
    """The names of a region's operators, in order, without its return."""
    return [each.operation.name for each in operation.regions[0].blocks[0].operations][:-1]


def _is_start(value: Any, kind: str) -> bool:
    """Whether a reduction's start changes nothing: 0 for a sum, 1 for a product, the lowest number for a maximum."""
    if not isinstance(value, np.ndarray):
        return False
    number = value.ravel()[0]
    if kind in ("stablehlo.add", "stablehlo.or"):
        return bool(number == 0)
    if kind == "stablehlo.multiply":
        return bool(number == 1)
    if kind == "stablehlo.and":
        return bool(number == (1 if value.dtype == bool else -1))
    is_float = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    if value.dtype == bool:
        return bool(number) == (kind == "stablehlo.minimum")
    if is_float:
        return bool(np.isinf(float(number)) and (number > 0) == (kind == "stablehlo.minimum"))
    limits = np.iinfo(value.dtype)
    return bool(number == (limits.max if kind == "stablehlo.minimum" else limits.min))


def _reduce(replay: Replay, operation: Any, *values: Any) -> Any:
    from jax import lax

    half = len(values) // 2
    operands, starts = values[:half], values[half:]
    axes = told.integers(operation, "dimensions")
    body = _body(operation)
    if half == 1 and len(body) == 1 and body[0] in _REDUCTIONS and _is_start(starts[0], body[0]):
        return getattr(lax, _REDUCTIONS[body[0]])(operands[0], axes)
    if half == 2 and len(axes) == 1:
        found = _place_of_extreme(replay, operation, body, operands, axes[0])
        if found is not None:
            return found
    region = replay.region(operation)
    if half == 1:
        return lax.reduce(operands[0], starts[0], region, axes)
    return lax.reduce(tuple(operands), tuple(starts), lambda one, other: region(*one, *other), axes)


def _place_of_extreme(replay: Replay, operation: Any, body: list[str], operands: Any, axis: int) -> Any:
    """The largest (smallest) value and its first place, where the reduction is just JAX's own of that meaning."""
    from jax import lax

    wanted = ["compare", "compare", "or", "compare", "compare", "and", "or", "select", "select"]
    if body != [f"stablehlo.{name}" for name in wanted] or not _counts(operation.operands[1], axis):
        return None
    compared = [
        told.direction(each.operation)
        for each in operation.regions[0].blocks[0].operations
        if each.operation.name == "stablehlo.compare"
    ]
    if compared[1:] != ["NE", "EQ", "LT"] or compared[0] not in ("GT", "LT"):
        return None
    largest = compared[0] == "GT"
    place = (lax.argmax if largest else lax.argmin)(operands[0], axis, operands[1].dtype)
    return (lax.reduce_max if largest else lax.reduce_min)(operands[0], (axis,)), place


def _counts(value: Any, axis: int) -> bool:
    """Whether the value is 0, 1, 2, ... along the axis."""
    made = value.owner
    name = getattr(made, "name", "")
    return name in ("stablehlo.iota", "stablehlo.dynamic_iota") and told.integer(made, "iota_dimension") == axis


def _reduce_window(replay: Replay, operation: Any, *values: Any) -> Any:
    from jax import lax

    if len(values) != 2:
        raise Unsupported("a reduction of several tensors over windows is not replayed", mend="another route is tried")
    value, start = values
    window = told.integers(operation, "window_dimensions")
    rank = len(window)
    ones = (1,) * rank
    strides = told.integers(operation, "window_strides", ones)
    padding = told.pairs(operation, "padding", rank)
    dilations = [told.integers(operation, f"{name}_dilations", ones) for name in ("base", "window")]
    body = _body(operation)
    if len(body) == 1 and _is_start(start, body[0]):
        cumulative = stablehlo_pools.cumulative(body[0], value, window, strides, padding, dilations)
        if cumulative is not None:
            return cumulative
        pooled = stablehlo_pools.pooled(body[0], value, window, strides, padding, dilations)
        if pooled is not None:
            return pooled
        kinds = {"stablehlo.add": lax.add, "stablehlo.maximum": lax.max, "stablehlo.minimum": lax.min}
        if body[0] in kinds:
            return lax.reduce_window(value, start, kinds[body[0]], window, strides, padding, *dilations)
    return lax.reduce_window(value, start, replay.region(operation), window, strides, padding, *dilations)


def _gather(replay: Replay, operation: Any, value: Any, places: Any) -> Any:
    return _gathered(operation, value, places, told.integers(operation, "slice_sizes"))


def dynamic_gather(replay: Replay, operation: Any, values: Values) -> Values:
    """A gather whose slices' sizes are an operand; they have to be known at tracing."""
    sizes = known_sizes(operation, values[2])
    value, places, _ = replay.arrays(operation, values)
    return [_gathered(operation, value, places, sizes)]


def _gathered(operation: Any, value: Any, places: Any, slice_sizes: tuple[Any, ...]) -> Any:
    from jax import lax
    from jaxlib.mlir.dialects import stablehlo

    axes = stablehlo.GatherDimensionNumbers(operation.attributes["dimension_numbers"])
    sliced = _sliced(axes, value, places, slice_sizes)
    if sliced is not None:
        return sliced
    places = _with_vectors_last(places, axes.index_vector_dim)
    return lax.gather(
        value,
        places,
        lax.GatherDimensionNumbers(
            offset_dims=tuple(axes.offset_dims),
            collapsed_slice_dims=tuple(axes.collapsed_slice_dims),
            start_index_map=tuple(axes.start_index_map),
            operand_batching_dims=tuple(axes.operand_batching_dims),
            start_indices_batching_dims=tuple(axes.start_indices_batching_dims),
        ),
        slice_sizes,
        # StableHLO moves a slice that reaches out to where it fits.
        mode=lax.GatherScatterMode.CLIP,
    )


def _sliced(axes: Any, value: Any, places: Any, slice_sizes: tuple[Any, ...]) -> Any:
    """A gather of one slice at a known place from the start: how JAX writes the first rows of a free size."""
    from jax import lax

    is_known = isinstance(places, np.ndarray) and places.ndim == 1 and not places.any()
    if not is_known or axes.index_vector_dim != 0 or list(axes.operand_batching_dims):
        return None
    part = lax.slice(value, (0,) * value.ndim, slice_sizes)
    return lax.squeeze(part, tuple(axes.collapsed_slice_dims))


def _with_vectors_last(places: Any, axis: int) -> Any:
    """Indices as lax takes them: each vector of indices along the last axis."""
    from jax import lax

    if axis == places.ndim:
        return lax.expand_dims(places, (axis,))
    if axis != places.ndim - 1:
        raise Unsupported("indices along another axis than the last are not replayed", mend="another route is tried")
    return places


def _scatter(replay: Replay, operation: Any, *values: Any) -> Any:
    from jax import lax
    from jaxlib.mlir.dialects import stablehlo

    if len(values) != 3:
        raise Unsupported("a scatter of several tensors is not replayed", mend="another route is tried")
    value, places, updates = values
    axes = stablehlo.ScatterDimensionNumbers(operation.attributes["scatter_dimension_numbers"])
    body = _body(operation)
    name = "scatter" if not body else _SCATTERS.get(body[0]) if len(body) == 1 else None
    if name is None or (not body and not _gives_the_update(operation)):
        raise Unsupported("a scatter with a computation of its own is not replayed", mend="another route is tried")
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(axes.update_window_dims),
        inserted_window_dims=tuple(axes.inserted_window_dims),
        scatter_dims_to_operand_dims=tuple(axes.scattered_dims_to_operand_dims),
        operand_batching_dims=tuple(axes.input_batching_dims),
        scatter_indices_batching_dims=tuple(axes.scatter_indices_batching_dims),
    )
    return getattr(lax, name)(
        value,
        _with_vectors_last(places, axes.index_vector_dim),
        updates,
        numbers,
        indices_are_sorted=told.flag(operation, "indices_are_sorted"),
        unique_indices=told.flag(operation, "unique_indices"),
        # StableHLO leaves out an update that reaches outside.
        mode=lax.GatherScatterMode.FILL_OR_DROP,
    )


def _gives_the_update(operation: Any) -> bool:
    block = operation.regions[0].blocks[0]
    [last] = block.operations
    return list(last.operation.operands) == [block.arguments[1]]


def _sort(replay: Replay, operation: Any, *values: Any) -> Any:
    """An ascending or descending sort by the first tensor, as JAX writes it; others are refused."""
    from jax import lax

    block = operation.regions[0].blocks[0]
    compares = [each for each in block.operations if each.operation.name == "stablehlo.compare"]
    last = compares[-1].operation if compares else None
    direction = told.direction(last) if last else ""
    ends = list(block.operations)[-1].operation.operands
    is_plain = last is not None and len(ends) == 1 and ends[0] == last.results[0]
    if not is_plain or direction not in ("LT", "GT") or not _compares_the_first(last, block):
        raise Unsupported("a sort with a comparison of its own is not replayed", mend="another route is tried")
    axis = told.integer(operation, "dimension", -1)
    if direction == "GT":
        return _descending(values, axis)
    return lax.sort(tuple(values), dimension=axis, is_stable=told.flag(operation, "is_stable"), num_keys=1)


def _compares_the_first(compare: Any, block: Any) -> bool:
    """Whether it compares the first tensor's two elements, or what JAX makes of them to order NaN and -0."""
    roots: set[int] = set()
    arguments = {argument: place for place, argument in enumerate(block.arguments)}
    sides: list[int] = []
    for operand in compare.operands:
        pending, seen = [operand], set[int]()
        while pending:
            value = pending.pop()
            if value in arguments:
                seen.add(arguments[value])
            else:
                pending.extend(value.owner.operands)
        sides.append(min(seen, default=-1))
        roots |= seen
    return roots <= {0, 1} and sides == [0, 1]


def _descending(values: Any, axis: int) -> Any:
    """Sorted from the largest: from the smallest of the turned tensor, turned again. Equal ones keep their order."""
    from jax import lax

    turned = tuple(lax.rev(value, (axis,)) for value in values)
    return tuple(lax.rev(value, (axis,)) for value in lax.sort(turned, dimension=axis, is_stable=True, num_keys=1))


WINDOWS: dict[str, Callable[..., Any]] = {
    "stablehlo.convolution": _convolution,
    "stablehlo.dot_general": _dot,
    "stablehlo.gather": _gather,
    "stablehlo.reduce": _reduce,
    "stablehlo.reduce_window": _reduce_window,
    "stablehlo.scatter": _scatter,
    "stablehlo.sort": _sort,
}
