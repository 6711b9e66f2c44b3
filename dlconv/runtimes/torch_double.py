"""Running a PyTorch program in float64, whatever dtypes are written in it.

Casting parameters is not enough: traced programs hold float32 constants and say `.to(torch.float32)`, and one
such place makes the whole answer float32. A dispatch mode sees every operator that really runs, so each one is
asked for float64 there, and one that still answers in float32 is remembered as a bottleneck.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Reading a lower precision out of bits or quantised integers is exact: the values, not the format, are the model's.
_EXACT = ("aten.dequantize", "aten.lift_fresh", "quantized_decomposed.dequantize")
_INTEGER = ("quantized.", "aten.quantize_per")
"""Operators that compute in integers, whatever they are given."""


def widen_module(module: Any) -> None:
    """Every floating parameter and buffer becomes float64, in place."""
    import torch

    for tensor in [*module.parameters(), *module.buffers()]:
        wide = _wide_dtype(tensor.dtype)
        if wide is not None:
            tensor.data = tensor.data.to(wide)
    torch.set_grad_enabled(False)


def _wide_dtype(dtype: Any) -> Any:
    import torch

    narrow = {torch.float32, torch.float16, torch.bfloat16}
    if dtype in narrow:
        return torch.float64
    return torch.complex128 if dtype in {torch.complex64, torch.complex32} else None


@contextmanager
def in_double() -> Iterator[set[str]]:
    """Within it every floating operator works in float64; yields the names of those that did not."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map

    bottlenecks: set[str] = set()

    def wide(value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return _wide_dtype(value) or value
        if isinstance(value, torch.Tensor):
            dtype = _wide_dtype(value.dtype)
            return value if dtype is None else value.to(dtype)
        return value

    class InDouble(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # else PyTorch imports its compiler, three seconds of it, to keep it away from this mode

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = str(func)
            if name == "aten.view.dtype":
                bottlenecks.add(name)  # the bits of a float32 are not those of a float64
            if name.startswith(_INTEGER):
                bottlenecks.add(name)
            if func._schema.is_mutable and any(_narrow_tensor(item) for item in args[:1]):
                bottlenecks.add(name)  # a cast copy would lose what is written into it
                return func(*args, **(kwargs or {}))
            answer = func(*tree_map(wide, args), **tree_map(wide, kwargs or {}))
            leaves = answer if isinstance(answer, (tuple, list)) else (answer,)
            if any(_narrow_tensor(leaf) for leaf in leaves):
                if not name.startswith(_EXACT):
                    bottlenecks.add(name)
                return tree_map(wide, answer)
            return answer

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), InDouble():
            yield bottlenecks
    finally:
        torch.set_default_dtype(before)


def _narrow_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and _wide_dtype(value.dtype) is not None
