"""PyTorch on the CPU: runs TorchScript archives and exported programs (.pt2), in their own precision or in float64."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import Unsupported
from dlconv.runtimes.torch_double import in_double, widen_module
from dlconv.runtimes.torchscript import (
    Argument,
    arguments_of,
    call,
    dtype_name,
    fresh,
    load,
    named_tensors,
    to_numpy,
    to_torch,
)

if TYPE_CHECKING:
    from dlconv.model import Signature
    from dlconv.runtimes.base import Tensors


def probe() -> dict[str, Any]:
    """The version and devices of PyTorch, proved by running a scripted linear layer."""
    import torch

    layer = torch.jit.trace(torch.nn.Linear(3, 2), torch.ones(1, 3))
    if tuple(layer(torch.ones(2, 3)).shape) != (2, 2):
        raise RuntimeError("a scripted linear layer gave a wrong shape")
    return {"version": torch.__version__, "devices": ["CPU"]}


def open(path: Path | str, signature: dict[str, Any] | Signature, settings: dict[str, Any] | None = None) -> TorchSession:  # noqa: A001
    """A session of a TorchScript archive or a .pt2 file.

    settings: {"double": bool} runs it in float64: parameters, constants, and dtypes that the program names itself.
    """
    from dlconv.model import Signature as SignatureClass

    known = SignatureClass.from_dict(signature) if isinstance(signature, dict) else signature
    double = bool((settings or {}).get("double", False))
    if is_exported_program(Path(path)):
        return TorchSession(*_exported(Path(path), known), known, double=double)
    module = load(path).eval()
    return TorchSession(module, arguments_of(module), known, double=double)


def is_exported_program(path: Path) -> bool:
    """Whether the archive is torch.export's, told by its members."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names)


def _exported(path: Path, signature: Signature) -> tuple[Any, list[Argument]]:
    from dlconv.convert.torch_export_signature import load_program, program_arguments

    program = load_program(path)
    return program.module(), program_arguments(program, signature)


class TorchSession:
    """A loaded program. Every run starts from the state that the file holds."""

    def __init__(self, module: Any, arguments: list[Argument], signature: Signature, *, double: bool) -> None:
        self._arguments = arguments
        self._signature = signature
        self._double = double
        if double:
            widen_module(module)
        self._module = module
        self._stateful: bool | None = None

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by their flattened names. In float64 the floating ones are float64, else Unsupported is raised."""
        import torch

        values: dict[str, Any] = dict(self._signature.constants)
        for spec in self._signature.inputs:
            tensor = to_torch(inputs[spec.name], spec.dtype)
            values[spec.source_name] = tensor.double() if self._double and tensor.is_floating_point() else tensor
        torch.manual_seed(0)
        module = fresh(self._module) if self._is_stateful() else self._module
        mode: AbstractContextManager[set[str]] = in_double() if self._double else nullcontext(set())
        with torch.no_grad(), mode as bottlenecks:
            answer = call(module, self._arguments, values)
        outputs = named_tensors(answer)
        self._refuse_narrow(outputs, bottlenecks)
        return {name: to_numpy(tensor) for name, tensor in outputs.items()}

    def placement(self) -> dict[str, Any]:
        import torch

        dtypes = {dtype_name(tensor.dtype) for tensor in self._module.parameters() if tensor.is_floating_point()}
        precision = "float64" if self._double else "+".join(sorted(dtypes)) or "float32"
        return {"device": "CPU", "precision": precision, "threads": torch.get_num_threads(), "version": torch.__version__}

    def _is_stateful(self) -> bool:
        from dlconv.runtimes.torch_state import may_change_state

        if self._stateful is None:
            self._stateful = may_change_state(self._module)
        return self._stateful

    def _refuse_narrow(self, outputs: dict[str, Any], bottlenecks: set[str]) -> None:
        if not self._double:
            return
        narrow = [name for name, t in outputs.items() if t.is_floating_point() and dtype_name(t.dtype) != "float64"]
        if bottlenecks or narrow:
            where = ", ".join(sorted(bottlenecks)) or f"the outputs {', '.join(narrow)}"
            raise Unsupported(
                f"the model cannot run in float64: {where} stays in a lower precision",
                wanted="a program whose operators all work in float64",
                mend="the model's own precision serves as the reference",
            )
