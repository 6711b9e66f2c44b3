"""A TorchScript archive as a function of named tensors: its arguments, a call, its outputs flattened and named.

Arguments that hold several tensors are leaves with dotted names ("states.0", "batch.ids"); so are nested outputs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlconv.errors import SignatureError, Unsupported
from dlconv.runtimes.torch_extensions import with_extensions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Scalar = int | float | bool | str | None
Step = int | str
ALONE = "output"
"""What the output of a model is called that returns one tensor."""
SCALAR_KINDS = ("IntType", "FloatType", "BoolType", "StringType", "NumberType")


@dataclass(frozen=True)
class Argument:
    """One argument of forward. kind is the TorchScript type's ("TensorType", "IntType", "ListType", ...)."""

    name: str
    kind: str
    text: str
    optional: bool
    has_default: bool
    default: Any
    parts: tuple[str, ...] = ()

    @property
    def is_tensor(self) -> bool:
        return self.kind == "TensorType"

    @property
    def is_scalar(self) -> bool:
        return self.kind in SCALAR_KINDS


def load(path: Path | str) -> Any:
    """The module on the CPU, without gradients, as it was saved (training mode included).

    Raises as `with_extensions`, for operators that are not PyTorch's own.
    """
    import torch

    module = with_extensions(lambda: torch.jit.load(str(path), map_location="cpu"))
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def stored_tensors(module: Any) -> list[Any]:
    """The module's weights: parameters, buffers, and constants of its code."""
    return [*module.parameters(), *module.buffers(), *constants_of(module)]


def constants_of(module: Any) -> list[Any]:
    """The arrays that freezing (or tracing) made constants of a script's code; none of a program of torch.export."""
    if not hasattr(getattr(module, "graph", None), "findAllNodes"):
        return []
    nodes = [node for node in module.graph.findAllNodes("prim::Constant") if "value" in node.attributeNames()]
    constants = [node.t("value") for node in nodes if node.kindOf("value") == "t"]
    return [tensor for tensor in constants if tensor.dim()]


def schema_of(module: Any) -> Any:
    """forward's schema; SignatureError where the archive has no forward."""
    if not module._c._has_method("forward"):
        methods = ", ".join(module._c._method_names()) or "none"
        raise SignatureError(
            f"the TorchScript archive has no method forward (its methods: {methods})",
            wanted="a module that is called by its forward",
            mend="save a module whose forward calls the method, by torch.jit.script(...).save(...)",
        )
    return module.forward.schema


def arguments_of(module: Any) -> list[Argument]:
    """The arguments of forward, in order, without self."""
    return [_argument(item) for item in schema_of(module).arguments[1:]]


def _argument(item: Any) -> Argument:
    kind, optional = item.type, False
    if kind.kind() == "OptionalType":
        kind, optional = kind.getElementType(), True
    parts: tuple[str, ...] = ()
    if kind.kind() == "TupleType":
        parts = tuple(f"{item.name}.{i}" for i in range(len(kind.elements())))
    return Argument(
        name=item.name,
        kind=kind.kind(),
        text=item.type.annotation_str,
        optional=optional,
        has_default=item.has_default_value(),
        default=item.default_value if item.has_default_value() else None,
        parts=parts,
    )


def attribute(module: Any, name: str) -> Any:
    """An attribute of a script. Raises AttributeError where there is none, Unsupported for an object of a class of the
    script's own that is no module: Python cannot be given it."""
    try:
        return getattr(module, name)
    except RuntimeError as error:
        if "classType" not in str(error):
            raise
        raise Unsupported(f"{name} is an object of a class of the script's own") from error


def collect(argument: Argument, values: Mapping[str, Any]) -> Any:
    """What `argument` is given, out of leaves by name; its default, or None, where no leaf is there."""
    if argument.name in values:
        return values[argument.name]
    prefix = argument.name + "."
    leaves = {name[len(prefix) :]: value for name, value in values.items() if name.startswith(prefix)}
    if not leaves:
        if argument.has_default or argument.optional:
            return argument.default
        raise SignatureError(
            f"forward's argument {argument.name!r} ({argument.text}) was given nothing",
            wanted="a specification of each argument that has no default",
            mend=f"--input {argument.name}:SHAPE:DTYPE",
        )
    if argument.kind == "DictType":
        return leaves
    ordered = [leaves[key] for key in sorted(leaves, key=int)]
    return tuple(ordered) if argument.kind == "TupleType" else ordered


def call(module: Any, arguments: list[Argument], values: Mapping[str, Any]) -> Any:
    """forward's own answer to leaves by name (tensors and scalars)."""
    return module(*[collect(argument, values) for argument in arguments])


def flatten(value: Any) -> dict[str, tuple[tuple[Step, ...], Any]]:
    """Every tensor (and number) of an answer, named, with the path that leads to it, in a stable order.

    A single tensor is "output"; the members of a tuple or list are "output_0", ...; a dict's keys are names;
    what is nested is joined by dots ("hidden.0"). None is left out.
    """
    if isinstance(value, dict) or hasattr(value, "_fields"):
        return dict(_leaves(value, "", ()))
    if isinstance(value, (tuple, list)):
        found: dict[str, tuple[tuple[Step, ...], Any]] = {}
        for index, item in enumerate(value):
            found.update(_leaves(item, f"output_{index}", (index,)))
        return found
    return dict(_leaves(value, ALONE, ()))


def _leaves(value: Any, name: str, path: tuple[Step, ...]) -> list[tuple[str, tuple[tuple[Step, ...], Any]]]:
    import torch

    if value is None:
        return []
    if isinstance(value, torch.Tensor):
        return [(name, (path, value))]
    if isinstance(value, (bool, int, float)):
        return [(name, (path, torch.as_tensor(value)))]
    if isinstance(value, dict):
        members: list[tuple[Step, Any]] = list(value.items())
    elif hasattr(value, "_fields"):
        members = list(zip(value._fields, value, strict=True))
    elif isinstance(value, (tuple, list)):
        members = list(enumerate(value))
    else:
        raise SignatureError(
            f"the model's output {name or 'output'!r} is a {type(value).__name__}",
            wanted="tensors, numbers, and tuples, lists or dicts of them",
            mend="save a module that returns tensors",
        )
    found = []
    for key, item in members:
        found += _leaves(item, f"{name}.{key}" if name else str(key), (*path, key))
    return found


def named_tensors(value: Any) -> dict[str, Any]:
    """The tensors of an answer by name, as `flatten` names them."""
    return {name: tensor for name, (_, tensor) in flatten(value).items()}


def fresh(module: Any) -> Any:
    """A copy with its own parameters, buffers and attributes: running it leaves `module` as it was."""
    return copy.deepcopy(module)


def to_numpy(tensor: Any) -> Any:
    """The tensor as an array; bfloat16, which NumPy lacks, comes as float32 of the same values."""
    import torch

    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def to_torch(array: Any, dtype: str) -> Any:
    """An array as a tensor of `dtype` (a NumPy name, or "bfloat16"), never sharing its memory."""
    import numpy as np
    import torch

    return torch.from_numpy(np.array(array)).to(getattr(torch, dtype))


def dtype_name(dtype: Any) -> str:
    """NumPy's name of a torch dtype: torch.float32 is "float32"."""
    return str(dtype).removeprefix("torch.")
