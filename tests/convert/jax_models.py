"""Makes exported JAX programs for the tests; runs in the toolchain's interpreter: jax_models.py FOLDER."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export, lax
from jax import numpy as jnp

RANDOM = np.random.default_rng(7)


def weights(*shape: int) -> Any:
    fan = shape[0] if len(shape) == 2 else int(np.prod(shape[1:])) or 1
    return jnp.asarray((RANDOM.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))


def write(
    folder: Path, name: str, function: Callable[..., Any], *examples: Any, platforms: tuple[str, ...] = ("cpu",)
) -> None:
    made = export.export(jax.jit(function), platforms=platforms)(*examples)
    (folder / f"{name}.jax").write_bytes(made.serialize())


def of(*shape: Any, dtype: Any = np.float32) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def mlp() -> Callable[..., Any]:
    first, bias, second = weights(8, 32), weights(32), weights(32, 4)
    return lambda x: jax.nn.softmax(jax.nn.relu(x @ first + bias) @ second)


def cnn() -> Callable[..., Any]:
    first, second, head = weights(3, 3, 1, 8), weights(3, 3, 8, 16), weights(16, 10)

    def apply(image: Any) -> Any:
        told = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "padding": "SAME"}
        x = jax.nn.relu(lax.conv_general_dilated(image, first, (1, 1), **told))
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = jax.nn.gelu(lax.conv_general_dilated(x, second, (1, 1), **told))
        x = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "SAME") / 4
        return {"logits": x.mean((1, 2)) @ head, "features": x}

    return apply


def depthwise() -> Callable[..., Any]:
    kernel, head = weights(6, 1, 3, 3), weights(6, 5)

    def apply(image: Any) -> Any:
        x = lax.conv_general_dilated(
            image, kernel, (2, 2), "SAME", feature_group_count=6, dimension_numbers=("NCHW", "OIHW", "NCHW")
        )
        return jax.nn.silu(x).sum((2, 3)) @ head

    return apply


def norm(x: Any, scale: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * scale


def transformer(width: int = 16, heads: int = 4, words: int = 50) -> Callable[..., Any]:
    table, places = weights(words, width), weights(32, width)
    q, k, v, o = (weights(width, width) for _ in range(4))
    up, down, scale = weights(width, 4 * width), weights(4 * width, width), 1 + weights(width)

    def apply(tokens: Any) -> Any:
        batch, length = tokens.shape
        x = table[tokens] + places[:length]
        y = norm(x, scale)
        split = [(y @ w).reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3) for w in (q, k, v)]
        score = jnp.einsum("bhqd,bhkd->bhqk", split[0], split[1]) / np.sqrt(width // heads)
        allowed = jnp.tril(jnp.ones((length, length), bool))
        mixed = jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(jnp.where(allowed, score, -1e9)), split[2])
        x = x + mixed.transpose(0, 2, 1, 3).reshape(batch, length, width) @ o
        return x + jax.nn.gelu(norm(x, scale) @ up, approximate=False) @ down

    return apply


def lstm(size: int = 8) -> Callable[..., Any]:
    inner, own, bias, head = weights(4, 4 * size), weights(size, 4 * size), weights(4 * size), weights(size, 3)

    def step(carry: Any, x: Any) -> Any:
        hidden, cell = carry
        i, f, g, o = jnp.split(x @ inner + hidden @ own + bias, 4, axis=-1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    def apply(series: Any) -> Any:
        zero = jnp.zeros((series.shape[0], size))
        (hidden, _), every = lax.scan(step, (zero, zero), series.transpose(1, 0, 2))
        return {"class": hidden @ head, "states": every.transpose(1, 0, 2)}

    return apply


def chosen(x: Any) -> Any:
    best = jnp.argmax(x, -1)
    values, places = lax.top_k(x, 3)
    return {"best": best, "values": values, "places": places, "order": jnp.sort(x, -1), "sum": jnp.cumsum(x, -1)}


def branches(x: Any) -> Any:
    y = lax.cond(x.sum() > 0, lambda v: v * 2, lambda v: v - 1, x)
    return lax.fori_loop(0, 3, lambda _, v: v + jnp.sin(v), y), jnp.clip(y, -1, 1), jnp.round(y), x[:, ::-1]


def params_outside(params: Any, x: Any, unused: Any) -> Any:
    return [x @ params["w"] + params["b"]["c"], jnp.abs(x)]


class Pair(NamedTuple):
    first: Any
    second: Any


def main(folder: Path) -> None:
    batch, _ = export.symbolic_shape("b, t")
    write(folder, "mlp", mlp(), of(batch, 8))
    write(folder, "mlp_fixed", mlp(), of(3, 8), platforms=("cpu", "cuda"))
    write(folder, "cnn", cnn(), of(batch, 12, 12, 1))
    write(folder, "depthwise", depthwise(), of(2, 6, 9, 9))
    write(folder, "transformer", transformer(), of(2, 12, dtype=np.int32))
    write(folder, "transformer_free", transformer(), of(batch, 12, dtype=np.int32))
    write(folder, "lstm", lstm(), of(2, 7, 4))
    write(folder, "lstm_free", lstm(), of(batch, 7, 4))
    write(folder, "chosen", chosen, of(4, 6))
    write(folder, "branches", branches, of(2, 5))
    write(folder, "params", params_outside, {"w": of(4, 3), "b": {"c": of(3)}}, of(batch, 4), of(2))
    write(folder, "dependent", lambda x, y: x.sum(0) + y[: x.shape[0]].sum(0), of(batch, 4), of(2 * batch, 4))
    write(folder, "from_four", lambda x: x[:4].sum(0), of(*export.symbolic_shape("b, 3", constraints=["b >= 4"])))
    write(folder, "key", lambda key, x: x + jax.random.normal(key, x.shape), jax.random.key(0), of(4))
    write(
        folder,
        "noise",
        lambda seed, x: x + jax.random.normal(jax.random.key(seed), x.shape),
        of(dtype=np.uint32),
        of(4),
    )
    write(folder, "tpu", lambda x: x + 1, of(4), platforms=("tpu",))
    write(folder, "half", lambda x: (x @ x.T).astype(jnp.bfloat16), of(4, 4, dtype=jnp.bfloat16))
    write(folder, "complex", lambda x: jnp.fft.fft(x), of(8))
    export.register_namedtuple_serialization(Pair, serialized_name="tests.Pair")
    write(folder, "pair", lambda pair: pair.first + pair.second, Pair(of(3), of(3)))
    raw = export.export(jax.jit(mlp()))(of(3, 8)).mlir_module_serialized
    (folder / "bare.mlirbc").write_bytes(raw)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
