"""Folding while recording: an operator whose operands do not depend on the inputs is computed, not recorded.

Traced scripts keep sizes in small tensors and turn them into numbers again. A recorder refuses to turn a recorded
tensor into a number; one that was computed is a number already.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_CONSTANT = 1 << 20
"""Elements of the largest tensor that is folded."""


class WrittenConstant(Exception):  # noqa: N818  (a signal to record again, seen by no user)
    """The program writes into a tensor that was folded, which would then hold what was written."""


@contextmanager
def fold_constants(largest: int) -> Iterator[None]:
    """Within it the recorder computes what depends on no input, up to `largest` elements."""
    import torch
    from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode, get_proxy_slot
    from torch.utils._pytree import tree_leaves

    recorded = ProxyTorchDispatchMode.__torch_dispatch__
    folded: dict[int, Any] = {}

    def dispatch(self: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        depends = [get_proxy_slot(tensor, self.tracer, None) is not None for tensor in tensors]
        if func._schema.is_mutable:
            if tensors and tensors[0].untyped_storage().data_ptr() in folded and any(depends):
                raise WrittenConstant(str(func))
        elif not any(depends) and _is_pure(func):
            answer = func(*args, **(kwargs or {}))
            leaves = [leaf for leaf in tree_leaves(answer) if isinstance(leaf, torch.Tensor)]
            if all(leaf.numel() <= largest for leaf in leaves):
                folded.update({leaf.untyped_storage().data_ptr(): leaf for leaf in leaves})
                return answer
        return recorded(self, func, types, args, kwargs or {})

    ProxyTorchDispatchMode.__torch_dispatch__ = dispatch
    try:
        yield
    finally:
        ProxyTorchDispatchMode.__torch_dispatch__ = recorded


def _is_pure(func: Any) -> bool:
    import torch

    name = func._schema.name
    return torch.Tag.nondeterministic_seeded not in func.tags and name.startswith("aten::") and "empty" not in name
