"""State lifted out of a TorchScript module: what it keeps inside becomes inputs and outputs.

A module keeps state in buffers, attributes, and lists or dicts of tensors. All tensors in them are lifted, with the
sizes that they have once the module is under way. Whatever else it keeps (a flag, the last batch size) must have come
to rest after the first call, and is baked in. That a call from the lifted initial state does what a first call does
is proved by both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dlconv.errors import Unsupported
from dlconv.model import Signature, StateSpec, TensorSpec
from dlconv.runtimes.torch_state import written_attributes
from dlconv.runtimes.torchscript import Argument, attribute, call, dtype_name, fresh, named_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE = object()
"""Stands where a tensor was taken out."""


@dataclass(frozen=True)
class Kept:
    """An attribute that the module writes to. leaves: its members, tensors replaced by a place; spec puts them back.

    initial: the tensors with which a sequence starts.
    """

    path: str
    leaves: tuple[Any, ...]
    spec: Any
    initial: tuple[Any, ...]


@dataclass(frozen=True)
class Lift:
    """All the state of a module. live: of its tensors, in order, those that reach an output, now or later."""

    kept: tuple[Kept, ...]
    live: tuple[bool, ...] = ()

    @property
    def tensors(self) -> list[Any]:
        """The initial state, tensor by tensor."""
        return [tensor for kept in self.kept for tensor in kept.initial]

    @property
    def attributes(self) -> list[str]:
        """The attribute that holds each tensor; a member's place in it behind a dot."""
        names: list[str] = []
        for kept in self.kept:
            alone = len(kept.leaves) == 1
            names += [kept.path if alone else f"{kept.path}.{place}" for place, leaf in enumerate(kept.leaves)
                      if leaf is _PLACE]  # fmt: skip
        return names

    def put(self, module: Any, tensors: list[Any]) -> None:
        """Set the module's state to these tensors."""
        from torch.utils._pytree import tree_unflatten

        rest = iter(tensors)
        for kept in self.kept:
            leaves = [next(rest) if leaf is _PLACE else leaf for leaf in kept.leaves]
            _set(module, kept.path, tree_unflatten(leaves, kept.spec))

    def take(self, module: Any) -> list[Any]:
        """The tensors of the module's state as it is now. Unsupported if it has taken another form."""
        found: list[Any] = []
        for kept in self.kept:
            leaves, spec = _read(module, kept.path)
            plain = tuple(_PLACE if _is_tensor(leaf) else leaf for leaf in leaves)
            if spec != kept.spec or not _same_plain(plain, kept.leaves):
                raise _restless(kept.path, "is still changing")
            found += [leaf for leaf in leaves if _is_tensor(leaf)]
        return found


def find_lift(source: Any, arguments: list[Argument], values: Mapping[str, Any]) -> Lift | None:
    """The state of `source` (in its initial state), None where it keeps none.

    values: an example of each input, and the constants. Raises Unsupported with the reason where it cannot be lifted.
    """
    import torch

    paths = written_attributes(source)
    if not paths:
        return None
    first = fresh(source)
    with torch.no_grad():
        before = [_snapshot(first, path) for path in paths]
        answer = {name: tensor.clone() for name, tensor in named_tensors(call(first, arguments, values)).items()}
        after = [_snapshot(first, path) for path in paths]
        lift = Lift(tuple(_kept(path, *sides) for path, *sides in zip(paths, before, after, strict=True)))
        left = [tensor.clone() for tensor in lift.take(first)]
        call(first, arguments, values)
        _require_rest(lift, first)
        again = fresh(source)
        lift.put(again, [tensor.clone() for tensor in lift.tensors])
        same = named_tensors(call(again, arguments, values))
        taken = lift.take(again)
    told = {str(place): tensor for place, tensor in enumerate(left)}
    if not alike(answer, same) or not alike(told, {str(place): tensor for place, tensor in enumerate(taken)}):
        raise Unsupported(
            f"the first call of the model differs from the next in more than the tensors of {', '.join(paths)}",
            wanted="a first call that does what the others do, from a state of zeros or of the saved values",
            mend="save the module with its state in the form that it has after a call",
        )
    return lift


def why_unlifted(source: Any, arguments: list[Argument], signature: Signature, values: Mapping[str, Any]) -> str:
    """Why the state of `source` cannot become inputs and outputs, "" if it can."""
    if any(spec.is_dynamic for spec in signature.inputs):
        return "sizes of the inputs are free"
    try:
        lift = find_lift(source, arguments, values)
    except Unsupported as error:
        return error.met
    return "" if lift is not None and lift.tensors else "it holds no tensors"


def lifted(signature: Signature, lift: Lift) -> Signature:
    """The signature with the live state behind its own inputs and outputs."""
    taken = {spec.name for spec in (*signature.inputs, *signature.outputs)}
    inputs, outputs, state = [*signature.inputs], [*signature.outputs], list[StateSpec]()
    for name, tensor, live in zip(lift.attributes, lift.tensors, lift.live or [True] * len(lift.tensors), strict=True):
        if not live:
            continue
        stem = "".join(letter if letter.isalnum() else "_" for letter in name)
        stem = stem if stem.isidentifier() else f"_{stem}"
        while {f"{stem}_in", f"{stem}_out"} & taken:
            stem += "_"
        spec = TensorSpec(f"{stem}_in", dtype_name(tensor.dtype), tuple(tensor.shape))
        taken |= {f"{stem}_in", f"{stem}_out"}
        inputs.append(spec)
        outputs.append(replace(spec, name=f"{stem}_out"))
        state.append(StateSpec(f"{stem}_in", f"{stem}_out", name))
    return replace(signature, inputs=tuple(inputs), outputs=tuple(outputs), state=tuple(state))


def alike(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two sets of tensors are the same but for the order in which threads sum."""
    import torch

    if first.keys() != second.keys():
        return False
    for name, one in first.items():
        other = second[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        if one.is_floating_point() or one.is_complex():
            scale = one.abs().nan_to_num(0.0, 0.0, 0.0).max().item() if one.numel() else 0.0
            if not torch.allclose(one, other, rtol=1e-4, atol=1e-5 * scale, equal_nan=True):
                return False
        elif not torch.equal(one, other):
            return False
    return True


def _kept(path: str, before: tuple[list[Any], Any], after: tuple[list[Any], Any]) -> Kept:
    """The form of the attribute after a call; its initial tensors as they were, or zeros where there were none."""
    import torch

    old, now = ([leaf for leaf in leaves if _is_tensor(leaf)] for leaves, _ in (before, after))
    is_steady = before[1] == after[1] and [(leaf.shape, leaf.dtype) for leaf in old] == [
        (leaf.shape, leaf.dtype) for leaf in now
    ]
    initial = tuple(leaf.clone() for leaf in old) if is_steady else tuple(torch.zeros_like(leaf) for leaf in now)
    return Kept(path, tuple(_PLACE if _is_tensor(leaf) else leaf for leaf in after[0]), after[1], initial)


def _require_rest(lift: Lift, module: Any) -> None:
    names = lift.attributes
    for name, wanted, tensor in zip(names, lift.tensors, lift.take(module), strict=True):
        if wanted.shape != tensor.shape or wanted.dtype != tensor.dtype:
            raise _restless(name, f"grows from {list(wanted.shape)} to {list(tensor.shape)}")


def _restless(name: str, how: str) -> Unsupported:
    return Unsupported(
        f"the state {name} {how} after the first call",
        wanted="state whose tensors keep their sizes, and whose numbers stay as they are",
        mend="keep in tensors what changes from call to call",
    )


def _read(module: Any, path: str) -> tuple[list[Any], Any]:
    from torch.utils._pytree import tree_flatten

    value = module
    for step in path.split("."):
        value = attribute(value, step)
    leaves, spec = tree_flatten(value)
    return leaves, spec


def _snapshot(module: Any, path: str) -> tuple[list[Any], Any]:
    """What later calls do not write into."""
    leaves, spec = _read(module, path)
    return [leaf.clone() if _is_tensor(leaf) else leaf for leaf in leaves], spec


def _set(module: Any, path: str, value: Any) -> None:
    *above, name = path.split(".")
    for step in above:
        module = getattr(module, step)
    setattr(module, name, value)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _same_plain(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(
        a is b or (a == b and type(a) is type(b)) for a, b in zip(one, other, strict=True)
    )
