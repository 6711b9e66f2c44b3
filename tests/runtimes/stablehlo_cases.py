"""Programs of each StableHLO operator that is replayed; run in JAX's toolchain: stablehlo_cases.py FINDINGS.json.

Of each case it is found out how far the replay lies from JAX's own answer, in the program's own precision and in
float64, and whether that is seen when the operator is made wrong. JAX is imported at first use, so that the names of
the cases can be read where it is not.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


class Late:
    """A module that is imported when it is asked for something."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


jax, jnp, lax, random = Late("jax"), Late("jax.numpy"), Late("jax.lax"), np.random.default_rng(5)


@dataclass(frozen=True)
class Case:
    """A function and its inputs, as "float32 3x4" or as an array; the operator, without its dialect, that it is about.

    free: another first size at which the program is called too: it is exported with a free one.
    low, high: between which floats are drawn. bar: how near float64 has to be, as a part of the largest number; more
    than roundings where JAX writes a function as a polynomial made for float32. is_wide: exported with 64-bit types.
    """

    operator: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...] = ("float32 3x4",)
    free: int = 0
    low: float = -2.0
    high: float = 2.0
    bar: float = 1e-13
    is_wide: bool = False


def _unary(operator: str, name: str = "", low: float = -2.0, high: float = 2.0) -> Case:
    return Case(operator, lambda x: getattr(lax, name or operator)(x), low=low, high=high)


def _binary(operator: str, name: str, kind: str = "float32", low: float = 0.5) -> Case:
    return Case(operator, lambda x, y: getattr(lax, name)(x, y), (f"{kind} 3x4", f"{kind} 3x4"), low=low)


def _pool(kind: str, start: float, window: tuple[int, ...], steps: tuple[int, ...], padding: Any, **more: Any) -> Any:
    return lambda x: lax.reduce_window(x, np.array(start, x.dtype), getattr(lax, kind), window, steps, padding, **more)


def _convolved(layout: tuple[str, str, str], kernel: tuple[int, ...], **more: Any) -> Callable[..., Any]:
    weights = random.standard_normal(kernel).astype(np.float32)
    told = {"window_strides": (1, 1), "padding": "SAME", **more}
    return lambda x: lax.conv_general_dilated(x, jnp.asarray(weights, x.dtype), dimension_numbers=layout, **told)


def _scattered(name: str) -> Callable[..., Any]:
    return lambda x, y: getattr(x.at[np.array([2, 0, 2]), 1:3], name)(y)


def _looped(x: Any) -> Any:
    return lax.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, jnp.sin(c[1]) + c[2], c[2]), (0, x, x * 0.5))[1]


def _scanned(x: Any) -> Any:
    def step(carry: Any, row: Any) -> Any:
        carry = jnp.tanh(carry + row)
        return carry, carry * row

    return lax.scan(step, x[0] * 0, x)


def _switched(place: Any, x: Any) -> Any:
    return lax.switch(place, [jnp.sin, jnp.cos, lambda v: v * x[0]], x)


def _rolled(x: Any) -> Any:
    rows, columns = x.shape
    return x.reshape(rows * columns)[None] + jnp.arange(rows * columns, dtype=x.dtype) / (rows + columns)


def _masked(x: Any) -> Any:
    rows = x.shape[0]
    return jnp.where(jnp.tril(jnp.ones((rows, rows), bool)), x @ x.T, 0)


def _blocks(x: Any) -> Any:
    """Sizes that are added, multiplied and divided: the first half, the padded whole, the pairs."""
    rows = x.shape[0]
    return x[: rows // 2 * 2].reshape(rows // 2, 2 * x.shape[1]), jnp.pad(x, ((rows, 1), (0, 0))), jnp.tile(x, (2, 1))


_HALF = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
_IMAGE, _PLANES = "float32 2x7x9x3", "float32 2x6x7x9"
_NHWC, _NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")
_TWO = (1, 2, 2, 1)

CASES: dict[str, Case] = {
    "abs": _unary("abs"),
    "cbrt": _unary("cbrt", low=0.1),
    "ceil": _unary("ceil"),
    "cosine": _unary("cosine", "cos"),
    "exponential": _unary("exponential", "exp"),
    "expm1": _unary("exponential_minus_one", "expm1"),
    "floor": _unary("floor"),
    "log": _unary("log", low=0.1),
    "log1p": _unary("log_plus_one", "log1p", low=-0.5),
    "logistic": _unary("exponential", "logistic"),
    "negate": _unary("negate", "neg"),
    "rsqrt": _unary("rsqrt", low=0.1),
    "sign": _unary("sign"),
    "sine": _unary("sine", "sin"),
    "sqrt": _unary("sqrt", low=0.1),
    "tan": _unary("tan", low=-1, high=1),
    "tanh": _unary("tanh"),
    "is_finite": _unary("is_finite"),
    "erf": Case("composite", lambda x: lax.erf(x)),
    "erfc": Case("multiply", lambda x: lax.erfc(x), bar=1e-6),
    "erf_inv": Case("multiply", lambda x: lax.erf_inv(x), low=-0.9, high=0.9, bar=1e-6),
    "add": _binary("add", "add"),
    "atan2": _binary("atan2", "atan2"),
    "divide": _binary("divide", "div"),
    "maximum": _binary("maximum", "max"),
    "minimum": _binary("minimum", "min"),
    "multiply": _binary("multiply", "mul"),
    "power": _binary("power", "pow"),
    "remainder": _binary("remainder", "rem"),
    "subtract": _binary("subtract", "sub"),
    "remainder_negative": _binary("remainder", "rem", low=-2.0),
    "divide_integers": Case("divide", lambda x: lax.div(x, np.int32(3)), (np.arange(-7, 7, dtype=np.int32),)),
    "remainder_integers": Case("remainder", lambda x: lax.rem(x, np.int32(3)), (np.arange(-7, 7, dtype=np.int32),)),
    "and": _binary("and", "bitwise_and", "int32"),
    "or": _binary("or", "bitwise_or", "int32"),
    "xor": _binary("xor", "bitwise_xor", "uint8"),
    "not": Case("not", lambda x: ~x, ("int32 5",)),
    "shift_left": _binary("shift_left", "shift_left", "int32"),
    "shift_right": _binary("shift_right_logical", "shift_right_logical", "uint32"),
    "shift_right_signed": _binary("shift_right_arithmetic", "shift_right_arithmetic", "int32"),
    "popcnt": Case("popcnt", lambda x: lax.population_count(x), ("int32 5",)),
    "clz": Case("count_leading_zeros", lambda x: lax.clz(x), ("int32 5",)),
    "bits_of_integers": Case("bitcast_convert", lambda x: lax.bitcast_convert_type(x, np.uint32), ("int32 5",)),
    "round_even": Case("round_nearest_even", lambda x: jnp.round(x), (_HALF,)),
    "round_away": Case("round_nearest_afz", lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO), (_HALF,)),
    "compare": Case("compare", lambda x, y: (x < y, x >= y, x == y), ("float32 3x4", "float32 3x4")),
    "select": Case("select", lambda x: jnp.where(x > 0, x, x * 3)),
    "select_truths": Case("select", lambda x: jnp.where(x > 0, x < 1, x < -1)),
    "clamp": Case("clamp", lambda x: lax.clamp(x.dtype.type(-1), x, x.dtype.type(1))),
    "convert": Case("convert", lambda x: x.astype(np.int32)),
    "convert_to_float": Case("convert", lambda x, y: x.astype(y.dtype) / 3 + y, ("int32 3x4", "float32 3x4")),
    "convert_to_bytes": Case("convert", lambda x: x.astype(np.int8).astype(x.dtype) * x),
    "constant": Case("constant", lambda x: x + np.arange(12, dtype=np.float32).reshape(3, 4) / 8),
    "iota": Case("iota", lambda x: x + lax.iota(x.dtype, 4)),
    "broadcast": Case("broadcast_in_dim", lambda x: jnp.broadcast_to(x[:, None], (3, 2, 4)) * 1),
    "reshape": Case("reshape", lambda x: x.reshape(2, 6)),
    "transpose": Case("transpose", lambda x: x.transpose(2, 0, 1), ("float32 2x3x4",)),
    "slice": Case("slice", lambda x: x[1:, ::2]),
    "pad": Case("pad", lambda x: lax.pad(x, x.dtype.type(7), ((1, 2, 1), (-1, 0, 0)))),
    "concatenate": Case("concatenate", lambda x: jnp.concatenate([x, x * 2], 1)),
    "reverse": Case("reverse", lambda x: x[::-1]),
    "dynamic_slice": Case(
        "dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i, i * 0), (2, 2)), ("float32 4x5", np.int32(1))
    ),
    "dynamic_slice_beyond": Case(
        "dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i, i * 0), (2, 2)), ("float32 4x5", np.int32(9))
    ),
    "dynamic_update_slice": Case(
        "dynamic_update_slice",
        lambda x, y, i: lax.dynamic_update_slice(x, y, (i, i * 0)),
        ("float32 4x5", "float32 2x2", np.int32(1)),
    ),
    "dot": Case("dot_general", lambda x, y: x @ y, ("float32 3x4", "float32 4x5")),
    "dot_batched": Case(
        "dot_general", lambda x, y: jnp.einsum("bhqd,bkhd->bhqk", x, y), ("float32 2x3x4x5", "float32 2x6x3x5")
    ),
    "convolution": Case("convolution", _convolved(_NHWC, (3, 3, 3, 4)), (_IMAGE,)),
    "convolution_strided": Case(
        "convolution", _convolved(_NCHW, (4, 6, 3, 2), window_strides=(2, 1), padding=((1, 0), (2, 1))), (_PLANES,)
    ),
    "convolution_grouped": Case("convolution", _convolved(_NCHW, (12, 2, 3, 3), feature_group_count=3), (_PLANES,)),
    "convolution_dilated": Case("convolution", _convolved(_NHWC, (3, 3, 3, 4), rhs_dilation=(2, 2)), (_IMAGE,)),
    "convolution_turned": Case(
        "convolution",
        lambda x: lax.conv_transpose(
            x,
            jnp.asarray(np.arange(54).reshape(3, 3, 3, 2) / 32, x.dtype),
            (2, 2),
            "SAME",
            dimension_numbers=_NHWC,
            transpose_kernel=False,
        ),
        (_IMAGE,),
    ),
    "sum": Case("reduce", lambda x: x.sum(1)),
    "product": Case("reduce", lambda x: jnp.prod(x, 0)),
    "largest": Case("reduce", lambda x: x.max(1)),
    "least": Case("reduce", lambda x: x.min()),
    "all": Case("reduce", lambda x: (x > -1).all(1)),
    "any": Case("reduce", lambda x: (x > 1).any(1)),
    "sum_of_integers": Case("reduce", lambda x: x.sum(0), ("int32 3x4",)),
    "reduce_from_five": Case("reduce", lambda x: lax.reduce(x, np.array(5, x.dtype), lax.add, (1,))),
    "reduce_otherwise": Case("reduce", lambda x: lax.reduce(x, np.array(1, x.dtype), lambda a, b: a * b + a + b, (1,))),
    "argmax": Case("reduce", lambda x: jnp.argmax(x, 1), ("float32 5x6",)),
    "argmin": Case("reduce", lambda x: jnp.argmin(x, 0), ("float32 5x6",)),
    "argmax_first_of_equals": Case(
        "reduce", lambda x: jnp.argmax(x, 1), (np.array([[1, 3, 3, 2], [0, 0, 0, 0]], np.float32),)
    ),
    "max_pool": Case("reduce_window", _pool("max", -np.inf, _TWO, _TWO, "VALID"), (_IMAGE,)),
    "max_pool_same": Case("reduce_window", _pool("max", -np.inf, (1, 3, 2, 1), _TWO, "SAME"), (_IMAGE,)),
    "max_pool_planes": Case("reduce_window", _pool("max", -np.inf, (1, 1, 3, 2), (1, 1, 2, 1), "VALID"), (_PLANES,)),
    "max_pool_free": Case("reduce_window", _pool("max", -np.inf, _TWO, _TWO, "VALID"), (_IMAGE,), free=5),
    "max_pool_dilated": Case(
        "reduce_window", _pool("max", -np.inf, _TWO, (1, 1, 1, 1), "VALID", window_dilation=(1, 2, 2, 1)), (_IMAGE,)
    ),
    "min_pool": Case("reduce_window", _pool("min", np.inf, _TWO, _TWO, "SAME"), (_IMAGE,)),
    "sum_pool": Case("reduce_window", _pool("add", 0.0, _TWO, _TWO, "SAME"), (_IMAGE,)),
    "sum_pool_strided": Case("reduce_window", _pool("add", 0.0, (1, 3, 2, 1), (1, 2, 1, 1), "VALID"), (_IMAGE,)),
    "sum_pool_line": Case("reduce_window", _pool("add", 0.0, (1, 3, 1), (1, 2, 1), "SAME"), ("float32 2x9x4",)),
    "sum_pool_free": Case("reduce_window", _pool("add", 0.0, _TWO, _TWO, "VALID"), (_IMAGE,), free=5),
    "pool_over_the_batch": Case(
        "reduce_window", _pool("max", -np.inf, (2, 2, 2, 1), (1, 2, 2, 1), "VALID"), ("float32 4x6x6x3",)
    ),
    "pool_over_the_channels": Case("reduce_window", _pool("add", 0.0, (1, 2, 2, 3), (1, 2, 2, 1), "VALID"), (_IMAGE,)),
    "pool_from_a_half": Case("reduce_window", _pool("max", 0.5, _TWO, _TWO, "SAME"), (_IMAGE,)),
    "pool_of_integers": Case("reduce_window", _pool("add", 0, _TWO, _TWO, "SAME"), ("int32 2x7x9x3",)),
    "pool_of_apart": Case(
        "reduce_window", _pool("add", 0.0, _TWO, (1, 1, 1, 1), "VALID", base_dilation=(1, 2, 2, 1)), (_IMAGE,)
    ),
    "cumsum": Case("reduce_window", lambda x: jnp.cumsum(x, 1)),
    "cumsum_turned": Case("reduce_window", lambda x: lax.cumsum(x, 0, reverse=True)),
    "cumprod": Case("reduce_window", lambda x: jnp.cumprod(x, 1)),
    "cummax": Case("reduce_window", lambda x: lax.cummax(x, 1)),
    "gather_rows": Case("gather", lambda x, i: x[i], ("float32 5x4", np.array([4, 0, 2, 2], np.int32))),
    "gather_pairs": Case(
        "gather",
        lambda x, i, j: x[i, j],
        ("float32 5x4", np.array([[4, 0], [1, 3]], np.int32), np.array([[1, 3], [0, 0]], np.int32)),
    ),
    "gather_along": Case(
        "gather",
        lambda x, i: jnp.take_along_axis(x, i, 1),
        ("float32 3x4", np.array([[0, 3], [1, 1], [2, 0]], np.int32)),
    ),
    "gather_beyond": Case(
        "gather", lambda x, i: x.at[i].get(mode="clip"), ("float32 5x4", np.array([7, -9, 1], np.int32))
    ),
    "scatter_set": Case("scatter", lambda x, y: x.at[np.array([2, 0])].set(y), ("float32 3x4", "float32 2x4")),
    "scatter_add": Case("scatter", _scattered("add"), ("float32 3x4", "float32 3x2")),
    "scatter_multiply": Case("scatter", _scattered("multiply"), ("float32 3x4", "float32 3x2")),
    "scatter_max": Case("scatter", _scattered("max"), ("float32 3x4", "float32 3x2")),
    "scatter_min": Case("scatter", _scattered("min"), ("float32 3x4", "float32 3x2")),
    "scatter_beyond": Case(
        "scatter",
        lambda x, y, i: x.at[i].add(y, mode="drop"),
        ("float32 3x4", "float32 2x4", np.array([7, 1], np.int32)),
    ),
    "sort": Case("sort", lambda x: jnp.sort(x, 1)),
    "sort_turned": Case("sort", lambda x: jnp.sort(x, 0, descending=True)),
    "argsort": Case("sort", lambda x: jnp.argsort(x, 1), ("float32 3x7",)),
    "argsort_turned": Case(
        "sort", lambda x: jnp.argsort(x, 1, descending=True), (np.array([[1, 3, 1, 3, 0]], np.float32),)
    ),
    "top_k": Case("composite", lambda x: lax.top_k(x, 2), ("float32 3x7",)),
    "while": Case("while", _looped),
    "scan": Case("while", _scanned),
    "fori": Case("while", lambda x: lax.fori_loop(0, 3, lambda i, v: v * i + x, x)),
    "cond": Case("case", lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x)),
    "switch": Case("case", _switched, (np.int32(1), "float32 3x4")),
    "switch_beyond": Case("case", _switched, (np.int32(9), "float32 3x4")),
    "switch_before": Case("case", _switched, (np.int32(-3), "float32 3x4")),
    "barrier": Case("optimization_barrier", lambda x: lax.optimization_barrier(x * 2)),
    "call": Case("sine", lambda x: jax.jit(jnp.sin)(x) + jax.jit(jnp.sin)(2 * x)),
    "free_rows": Case("tanh", lambda x: jnp.tanh(x) / x.shape[0], free=5),
    "free_reshape": Case("dynamic_reshape", _rolled, free=5),
    "free_broadcast": Case("dynamic_broadcast_in_dim", lambda x: jax.nn.softmax(x @ x.T) + 1, free=5),
    "free_iota": Case("dynamic_iota", lambda x: x + jnp.arange(x.shape[0], dtype=x.dtype)[:, None], free=5),
    "free_mask": Case("dot_general", _masked, free=5),
    "free_blocks": Case("concatenate", _blocks, ("float32 6x3",), free=4),
    "free_turned": Case("reverse", lambda x: x[::-1] * 2, free=5),
    "free_half": Case("dynamic_gather", lambda x: x[x.shape[0] // 2 :] * 1, free=7),
    "free_mean": Case("reduce", lambda x: x.mean(0), free=5),
    "free_wide": Case("dynamic_broadcast_in_dim", _rolled, free=5, is_wide=True),
    "free_wide_blocks": Case("concatenate", _blocks, ("float64 6x3",), free=4, is_wide=True),
    "free_wide_scan": Case(
        "while", lambda x: lax.scan(lambda c, r: (c + x.shape[0], c * r), x[0], x)[1], free=5, is_wide=True
    ),
    "free_scan": Case("while", lambda x: lax.scan(lambda c, r: (jnp.tanh(c + r), c), x[0], x)[1], free=5),
}

REFUSED: dict[str, tuple[Case, str]] = {
    "bits_of_floats": (Case("bitcast_convert", lambda x: lax.bitcast_convert_type(x, np.int32)), "bits of floating"),
    "triangular_solve": (
        Case("triangular_solve", lambda x: jax.scipy.linalg.solve_triangular(x + 4 * np.eye(3), x), ("float32 3x3",)),
        "is not replayed",
    ),
    "fourier": (Case("fft", lambda x: jnp.fft.fft(x).real, ("float32 8",)), "complex"),
    "sort_by_two": (Case("sort", lambda x, y: lax.sort((x, y), num_keys=2), ("int32 5", "int32 5")), "sort with a"),
}


def main(findings: Path) -> None:
    """Write what was found of each case: {"name": {...}}, see `_found`."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    told = {name: _found(case) for name, case in CASES.items()}
    told |= {name: {"refusal": _refusal(case)} for name, (case, _) in REFUSED.items()}
    findings.write_text(json.dumps(told, indent=1))


def _found(case: Case) -> dict[str, Any]:
    """operators: that the program has. single, double: how far the replay is from JAX, as a part of the largest number;
    "..." where shapes or types are others. planted: the same where the operator is made wrong.
    shapes: of the replay and of the program, by their symbols."""
    from dlconv.runtimes.stablehlo_replay import replayed

    program = _program(case)
    inputs = [_drawn(case, size) for size in ((0, case.free) if case.free else (0,))]

    def own(double: bool, values: list[Any]) -> Any:
        with jax.enable_x64(double or case.is_wide):
            return jax.tree_util.tree_leaves(jax.jit(case.function)(*(_wide(each, double) for each in values)))

    def apart(double: bool) -> float | str:
        replay = replayed(program, double=double)
        return max((_apart(own(double, values), replay(*values)) for values in inputs), key=_order)

    single, double = apart(False), apart(True)
    with _wrong(case.operator):
        try:
            planted: float | str = apart(False)
        except Exception as error:  # a wrong operator may make the rest of the program impossible
            planted = type(error).__name__
    traced = jax.eval_shape(replayed(program), *program.exported.in_avals)
    shapes = [[str(each.shape) for each in found] for found in (traced, program.exported.out_avals)]
    return {
        "operators": sorted(_operators(program)),
        "single": single,
        "double": double,
        "planted": planted,
        "shapes": shapes,
    }


def _refusal(case: Case) -> str:
    from dlconv.errors import Unsupported
    from dlconv.runtimes.stablehlo_replay import replayed

    try:
        replayed(_program(case), double=True)(*_drawn(case, 0))
    except Unsupported as error:
        return str(error)
    return ""


def _program(case: Case) -> Any:
    from jax import export

    from dlconv.runtimes.jax_program import open_program

    values = _drawn(case, 0)
    shapes: list[Any] = [value.shape for value in values]
    if case.free:
        [symbol] = export.symbolic_shape("n", constraints=["n >= 4"])
        shapes[0] = (symbol, *shapes[0][1:])
    examples = [jax.ShapeDtypeStruct(shape, value.dtype) for shape, value in zip(shapes, values, strict=True)]
    with tempfile.NamedTemporaryFile(suffix=".jax") as file:
        with jax.enable_x64(case.is_wide):
            exported = export.export(jax.jit(case.function), platforms=["cpu"])(*examples)
        Path(file.name).write_bytes(exported.serialize())
        return open_program(Path(file.name))


def _drawn(case: Case, first: int) -> list[Any]:
    rng, made = np.random.default_rng(11), list[Any]()
    for place, told in enumerate(case.inputs):
        if not isinstance(told, str):
            made.append(np.asarray(told))
            continue
        kind, _, sizes = told.partition(" ")
        shape = [int(size) for size in sizes.split("x")]
        shape[0] = first if first and place == 0 else shape[0]
        whole = "int" in kind
        made.append((rng.integers(1, 9, shape) if whole else rng.uniform(case.low, case.high, shape)).astype(kind))
    return made


def _wide(value: Any, double: bool) -> Any:
    return value.astype(np.float64) if double and value.dtype.kind == "f" else value


def _apart(wanted: Any, got: Any) -> float | str:
    return max((_part(np.asarray(one), np.asarray(other)) for one, other in zip(wanted, got, strict=True)), key=_order)


def _part(wanted: Any, got: Any) -> float | str:
    # Integers are of 32 bits or of 64 as JAX is told, which float64 needs.
    kinds = [each.dtype.kind if each.dtype.kind == "i" else each.dtype for each in (wanted, got)]
    if wanted.shape != got.shape or kinds[0] != kinds[1]:
        return f"{got.dtype}{list(got.shape)} for {wanted.dtype}{list(wanted.shape)}"
    if wanted.dtype.kind != "f":
        return float(np.mean(wanted != got))
    whole = np.isfinite(wanted)
    if not np.array_equal(wanted[~whole], got[~whole], equal_nan=True):
        return "other infinities"
    scale = float(np.max(np.abs(wanted[whole]), initial=0.0)) or 1.0
    return float(np.max(np.abs(wanted - got)[whole], initial=0.0)) / scale


def _order(apart: float | str) -> float:
    return apart if isinstance(apart, float) else np.inf


def _operators(program: Any) -> set[str]:
    from dlconv.runtimes.jax_program import operations

    return {each.operation.name.partition(".")[2] for each in operations(program.module.body.operations)}


@contextmanager
def _wrong(operator: str) -> Iterator[None]:
    """The operator gives something else: what is true is false, what is a number is another."""
    from dlconv.runtimes.stablehlo_operators import OPERATORS

    name = f"stablehlo.{operator}"
    right = OPERATORS[name]

    def other(value: Any) -> Any:
        if value.dtype == object:
            return value + 1
        return ~value if value.dtype == np.bool_ else value + value.dtype.type(1)

    def wrong(replay: Any, operation: Any, values: Any) -> Any:
        return [other(value) for value in right(replay, operation, values)]

    OPERATORS[name] = partial(wrong)
    try:
        yield
    finally:
        OPERATORS[name] = right


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(Path(sys.argv[1]))
