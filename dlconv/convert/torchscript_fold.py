"""Folding while recording: an operator whose operands do not depend on the inputs is computed, not recorded.

Traced scripts keep sizes in small tensors and turn them into numbers again. A recorder refuses to turn a recorded
tensor into a number; one that was computed is a number already.

A script's own torch.tensor([...]) is an empty tensor whose memory is then written past every dispatcher: recorded, it
would stay empty. So what begins empty is folded too, but for what the program fills with what depends on an input.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dlconv.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LARGEST_CONSTANT = 1 << 20
"""Elements of the largest tensor that is folded."""


Form = tuple[tuple[int, ...], Any]
"""Sizes and dtype."""


class Folding:
    """What folding met. wrote: the program writes into a folded tensor what depends on an input: record again.

    empty: the form of each tensor that began empty, by the place of its memory; written: the places of those that the
    program fills so.
    """

    def __init__(self) -> None:
        self.wrote = False
        self.empty: dict[int, Form] = {}
        self.written: set[int] = set()

    def filled(self) -> set[Form]:
        """The forms of what began empty and was filled. From one run to the next the interpreter computes other
        constants beforehand, so that no order tells them apart: Unsupported where another has the same form."""
        forms = {self.empty[place] for place in self.written}
        if forms & {form for place, form in self.empty.items() if place not in self.written}:
            raise Unsupported("of tensors of one form the program fills some, and keeps constants in others")
        return forms


@contextmanager
def fold_constants(largest: int, filled: Collection[Form] = ()) -> Iterator[Folding]:
    """Within it the recorder computes what depends on no input, up to `largest` elements, and what begins empty up to
    LARGEST_CONSTANT, but for what has a form of `filled`.

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
            place = tensors[0].untyped_storage().data_ptr() if tensors else -1
            if place in folded and not depends:
                return func(*args, **(kwargs or {}))
            folding.wrote = folding.wrote or place in folded
            folding.written |= {place} & folding.empty.keys()
        elif func._schema.name == "aten::empty":
            answer = func(*args, **(kwargs or {}))
            form = (tuple(answer.shape), answer.dtype)
            if form not in filled and 0 < answer.numel() <= LARGEST_CONSTANT:
                place = answer.untyped_storage().data_ptr()
                folded[place], folding.empty[place] = answer, form
                return answer
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
