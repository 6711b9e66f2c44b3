"""A TorchScript module in the plainest form: tensors in, a tuple of tensors out, nothing else.

Converters take neither dicts nor numbers as arguments. A scripted wrapper builds the arguments of forward from
tensors and constants, and takes its answer apart.
"""

from __future__ import annotations

import itertools
import linecache
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dlconv.convert.torchscript_lift import Lift, find_lift, lifted
from dlconv.errors import Unsupported
from dlconv.model import Dim, Signature, TensorSpec
from dlconv.runtimes.state import INITIAL, write_initial
from dlconv.runtimes.torchscript import (
    ALONE,
    Argument,
    Step,
    arguments_of,
    call,
    dtype_name,
    flatten,
    fresh,
    load,
    to_numpy,
    to_torch,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from dlconv.convert.edge import Made

_numbers = itertools.count()
_ALONE_PATHS: list[tuple[Step, ...]] = [()]


@dataclass(frozen=True)
class Flat:
    """module takes the signature's inputs in order and returns a tuple of its outputs (one alone: the tensor).

    source is the module as loaded, in evaluation mode and its initial state; signature has outputs.
    Where its state was lifted, signature and tensors have it too, and graph alone is the module: `module` has its state
    inside. unlifted tells why the state stayed there.
    """

    module: Any
    source: Any
    arguments: tuple[Argument, ...]
    signature: Signature
    tensors: tuple[Any, ...]
    lift: Lift | None = None
    graph: Any = None
    unlifted: str = ""


def open_flat(path: Path, signature: Signature, sample: Mapping[str, np.ndarray]) -> Flat:
    """The archive at `path`, flat. Outputs that the signature lacks are found by running the sample."""
    source = load(path).eval()
    arguments = arguments_of(source)
    tensors = {spec.source_name: to_torch(_widened(spec, sample[spec.name]), spec.dtype) for spec in signature.inputs}
    if _gives_one_tensor(source) and [spec.name for spec in signature.outputs] == [ALONE]:
        outputs, paths = signature.outputs, _ALONE_PATHS  # what a run would tell is known: none is made
    else:
        outputs, paths = _found_outputs(source, arguments, signature, tensors)
    whole = Signature(signature.inputs, outputs, signature.constants)
    text = _source_text(source, arguments, whole, paths)
    flat = Flat(_scripted(source, text), source, tuple(arguments), whole, tuple(tensors.values()))
    return _with_state(flat, {**dict(signature.constants), **tensors})


def _gives_one_tensor(source: Any) -> bool:
    returns = source.forward.schema.returns
    return len(returns) == 1 and returns[0].type.kind() == "TensorType"


def _found_outputs(
    source: Any, arguments: list[Argument], signature: Signature, tensors: Mapping[str, Any]
) -> tuple[tuple[TensorSpec, ...], list[tuple[Step, ...]]]:
    """The outputs that a run gives, and the path to each in forward's answer."""
    import torch

    with torch.no_grad():
        answer = call(fresh(source), arguments, {**dict(signature.constants), **tensors})
    leaves = flatten(answer)
    outputs = tuple(_named(signature, name, tensor) for name, (_, tensor) in leaves.items())
    return outputs, [path for path, _ in leaves.values()]


def _with_state(flat: Flat, values: Mapping[str, Any]) -> Flat:
    """The same with its state lifted, where it has some that can be."""
    from dlconv.convert.torchscript_record import record, without_dead

    if any(spec.is_dynamic for spec in flat.signature.inputs):
        return flat  # state is lifted where every size is known
    try:
        lift = find_lift(flat.source, list(flat.arguments), values)
    except Unsupported as error:
        return replace(flat, unlifted=error.met)
    if lift is None or not lift.tensors:
        return flat
    initial = [tensor.clone() for tensor in lift.tensors]
    whole = replace(flat, signature=lifted(flat.signature, lift), tensors=(*flat.tensors, *initial), lift=lift)
    graph, live = without_dead(record(whole), len(flat.signature.inputs), len(flat.signature.outputs))
    if not any(live):
        return replace(flat, graph=graph)  # it writes, and never reads what it wrote
    lift = replace(lift, live=tuple(live))
    tensors = (*flat.tensors, *(tensor for tensor, kept in zip(initial, live, strict=True) if kept))
    return replace(flat, signature=lifted(flat.signature, lift), tensors=tensors, lift=lift, graph=graph)


def state_note(flat: Flat) -> tuple[str, ...]:
    """What is told of a model that keeps state."""
    from dlconv.runtimes.torch_state import written_attributes

    if flat.lift is not None:
        told = "; ".join(f"{state.attribute}: {state.input} and {state.output}" for state in flat.signature.state)
        return (f"state is given and taken ({told}); its first values lie in {INITIAL}",)
    written = ", ".join(written_attributes(flat.source))
    why = f", since {flat.unlifted}" if flat.unlifted else ""
    note = f"state ({written}) is baked in: the artifact answers as on the first call after a reset{why}"
    return (note,) if written else ()


def with_state(flat: Flat, made: Made, out_dir: Path) -> Made:
    """What an edge made of `flat`, its state told, and the state's first values beside it."""
    state = flat.signature.state
    if not state:
        return made
    initial = dict(zip((spec.name for spec in flat.signature.inputs), flat.tensors, strict=True))
    write_initial(out_dir, {each.input: to_numpy(initial[each.input]) for each in state})
    return replace(made, signature=replace(made.signature, state=state))


def _widened(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    """The sample with each free size at least 2: exporters take a size of 1 for one that never varies."""
    for axis, size in enumerate(spec.shape or ()):
        if isinstance(size, str) and array.shape[axis] == 1:
            array = array.repeat(2, axis)
    return array


def _named(signature: Signature, name: str, tensor: Any) -> TensorSpec:
    known = next((spec for spec in signature.outputs if spec.name == name), None)
    if known is not None:
        return known
    shape: tuple[Dim, ...] = tuple(tensor.shape)
    return TensorSpec(name, dtype_name(tensor.dtype), shape)


def _source_text(source: Any, arguments: list[Argument], signature: Signature, paths: list[tuple[Step, ...]]) -> str:
    names = {spec.source_name: f"i{k}" for k, spec in enumerate(signature.inputs)}
    constants = dict(signature.constants)
    given = ", ".join(_argument_text(argument, names, constants) for argument in arguments)
    returned = source.forward.schema.returns[0].type
    outputs = ", ".join(_member_text(returned, path) for path in paths)
    parameters = "".join(f", {name}: Tensor" for name in names.values())
    answer = outputs if len(paths) == 1 else f"({outputs})"
    return f"def forward(self{parameters}):\n    o = self.inner({given})\n    return {answer}\n"


def _argument_text(argument: Argument, names: dict[str, str], constants: Mapping[str, Any]) -> str:
    if argument.name in names:
        return names[argument.name]
    if argument.name in constants:
        return _literal(constants[argument.name])
    prefix = argument.name + "."
    members = {name[len(prefix) :]: text for name, text in names.items() if name.startswith(prefix)}
    if not members:
        return _literal(argument.default)
    if argument.kind == "DictType":
        return "{" + ", ".join(f"{key!r}: {text}" for key, text in members.items()) + "}"
    ordered = ", ".join(members[key] for key in sorted(members, key=int))
    return f"({ordered},)" if argument.kind == "TupleType" else f"[{ordered}]"


def _literal(value: Any) -> str:
    if isinstance(value, float):
        return f"float('{value}')"
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_literal(item) for item in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
    raise Unsupported(
        f"an argument of forward has the default {value!r}",
        wanted="numbers, strings, and lists of them",
        mend="give the argument a tensor by --input, or save the model without it",
    )


def _member_text(kind: Any, path: tuple[Step, ...]) -> str:
    """The expression that takes one tensor out of the answer `o`, whose TorchScript type is `kind`."""
    text, kind = _sure("o", kind)
    for step in path:
        if kind.kind() == "TupleType":
            position = (
                step
                if isinstance(step, int)
                else kind.field_names().index(step)
                if hasattr(kind, "field_names")
                else step
            )
            is_field = isinstance(step, str)
            kind = kind.elements()[position] if isinstance(position, int) else kind.elements()[0]
            text = f"{text}.{step}" if is_field else f"{text}[{step}]"
        else:
            kind = kind.getValueType() if kind.kind() == "DictType" else kind.getElementType()
            text = f"{text}[{step!r}]"
        text, kind = _sure(text, kind)
    return text if kind.kind() == "TensorType" else f"torch.tensor({text})"


def _sure(text: str, kind: Any) -> tuple[str, Any]:
    while kind.kind() == "OptionalType":
        text, kind = f"torch.jit._unwrap_optional({text})", kind.getElementType()
    return text, kind


def _scripted(source: Any, text: str) -> Any:
    import torch

    # The compiler reads the source of a function through linecache, and a name serves it only once.
    file_name = f"<dlconv forward {next(_numbers)}>"
    linecache.cache[file_name] = (len(text), None, text.splitlines(keepends=True), file_name)
    scope: dict[str, Any] = {"torch": torch, "Tensor": torch.Tensor}
    exec(compile(text, file_name, "exec"), scope)

    class Outer(torch.nn.Module):
        forward = scope["forward"]

        def __init__(self) -> None:
            super().__init__()
            self.inner = source

    return torch.jit.script(Outer().eval())
