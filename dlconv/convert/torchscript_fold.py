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


class Folding:
    """What folding met. wrote: the program writes into a folded tensor what depends on an input: record again."""

    wrote = False


@contextmanager
def fold_constants(largest: int) -> Iterator[Folding]:
    """Within it the recorder computes what depends on no input, up to `largest` elements.

    A signal and not an exception tells of trouble: on its way through the script's interpreter an exception loses
    its type.
    """
    import torch
    from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode, get_proxy_slot
    from torch.utils._pytree import tree_leaves

    recorded = ProxyTorchDispatchMode.__torch_dispatch__
    folded: dict[int, Any] = {}
    folding = Folding()

    def dispatch(self: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        depends = any(get_proxy_slot(tensor, self.tracer, None) is not None for tensor in tensors)
        if func._schema.is_mutable:
            into_folded = bool(tensors) and tensors[0].untyped_storage().data_ptr() in folded
            if into_folded and not depends:
                return func(*args, **(kwargs or {}))
            folding.wrote = folding.wrote or into_folded
        elif not depends and _is_pure(func):
            answer = func(*args, **(kwargs or {}))
            leaves = [leaf for leaf in tree_leaves(answer) if isinstance(leaf, torch.Tensor)]
            if all(leaf.numel() <= largest for leaf in leaves):
                folded.update({leaf.untyped_storage().data_ptr(): leaf for leaf in leaves})
                return answer
        return recorded(self, func, types, args, kwargs or {})

    ProxyTorchDispatchMode.__torch_dispatch__ = dispatch
    try:
        yield folding
    finally:
        ProxyTorchDispatchMode.__torch_dispatch__ = recorded


def _is_pure(func: Any) -> bool:
    import torch

    name = func._schema.name
    return torch.Tag.nondeterministic_seeded not in func.tags and name.startswith("aten::") and "empty" not in name
