"""What PyTorch can run: a TorchScript archive or an exported program, called by names of leaves."""

from __future__ import annotations

import logging
import zipfile
from typing import TYPE_CHECKING, Any, Protocol

from dlconv.runtimes.torch_extensions import with_extensions
from dlconv.runtimes.torch_state import written_attributes
from dlconv.runtimes.torchscript import arguments_of, call, fresh, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Program(Protocol):
    """A loaded program. module holds the weights, and the state that the file holds."""

    module: Any

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The answer to leaves by name, from the state that the file holds."""
        ...

    def call(self, module: Any, values: Mapping[str, Any]) -> Any:
        """The answer of `module`, which is the program's or `copy` of it, from its own state."""
        ...

    def copy(self) -> Any:
        """The module itself where it keeps no state, else another in the state that the file holds."""
        ...


def open_program(path: Path) -> Program:
    """The program in the file, by its content, on the CPU."""
    return ExportedProgram(path) if is_exported_program(path) else Scripted(path)


def is_exported_program(path: Path) -> bool:
    """Whether the archive is torch.export's, told by its members; a damaged archive is not."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return False
    return any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names)


class Scripted:
    """A TorchScript archive, in evaluation mode."""

    def __init__(self, path: Path) -> None:
        self.module = load(path).eval()
        self._arguments = arguments_of(self.module)
        self._keeps_state = bool(written_attributes(self.module))

    def __call__(self, values: Mapping[str, Any]) -> Any:
        return self.call(self.copy(), values)

    def copy(self) -> Any:
        return fresh(self.module) if self._keeps_state else self.module

    def call(self, module: Any, values: Mapping[str, Any]) -> Any:
        return call(module, self._arguments, values)


class ExportedProgram:
    """A .pt2 file of torch.export."""

    def __init__(self, path: Path) -> None:
        self.program = load_exported(path)
        self.module = self.program.module()
        self._names = user_input_names(self.program)
        self._keeps_state = bool(written_buffers(self.program))

    def __call__(self, values: Mapping[str, Any]) -> Any:
        return self.call(self.copy(), values)

    def copy(self) -> Any:
        return fresh(self.module) if self._keeps_state else self.module

    def call(self, module: Any, values: Mapping[str, Any]) -> Any:
        from torch.utils._pytree import tree_unflatten

        flat = [values.get(name, constant) for name, constant in self._names.items()]
        args, kwargs = tree_unflatten(flat, self.program.call_spec.in_spec)
        return module(*args, **kwargs)


def load_exported(path: Path | str) -> Any:
    """The exported program in the file. Raises as `with_extensions`, for operators that are not PyTorch's own;
    RuntimeError for a program that this PyTorch does not read."""
    import torch

    with torch.no_grad():
        return with_extensions(lambda: _read(path))


def _read(path: Path | str) -> Any:
    """As `torch.export.load`, whose error tells the cause: it logs that, and raises that it did."""
    import torch

    causes: list[BaseException] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: causes.extend(_chain(record))  # type: ignore[method-assign]
    logger = logging.getLogger("torch.export")
    logger.addHandler(handler)
    silenced = logging.root.manager.disable
    logging.disable(logging.NOTSET)  # else, where another adapter has silenced warnings, nothing would be heard
    try:
        return torch.export.load(str(path))
    except RuntimeError as error:
        if not causes:
            raise
        raise RuntimeError(str(causes[-1])) from error
    finally:
        logging.disable(silenced)
        logger.removeHandler(handler)


def _chain(record: logging.LogRecord) -> Iterator[BaseException]:
    """The exception that was logged, and what it came from, the first cause last."""
    error = record.exc_info[1] if record.exc_info else None
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def user_input_names(program: Any) -> dict[str, Any]:
    """The program's inputs in order; those that are constants (numbers, None) with their value, tensors with None."""
    from torch.export.graph_signature import ConstantArgument, InputKind

    found: dict[str, Any] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            found[spec.arg.name] = spec.arg.value if isinstance(spec.arg, ConstantArgument) else None
    return found


def written_buffers(program: Any) -> list[str]:
    """The buffers that the program writes to: those that its signature says, and those that an operator writes into."""
    signature = program.graph_signature
    found = dict.fromkeys(signature.buffers_to_mutate.values())
    bases = dict(signature.inputs_to_buffers)
    for node in program.graph.nodes:
        first = node.args[0] if node.op == "call_function" and node.args else None
        name = bases.get(getattr(first, "name", ""))
        schema = getattr(node.target, "_schema", None)
        if name is None or schema is None:
            continue
        if schema.is_mutable:
            found[name] = None
        if schema.arguments and schema.arguments[0].alias_info is not None:
            bases[node.name] = name  # a view, or what an in-place operator returns
    return list(found)
