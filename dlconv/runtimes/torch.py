"""PyTorch on the CPU: runs TorchScript archives and exported programs (.pt2), in their own precision or in float64."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv.errors import Unsupported
from dlconv.model import Signature
from dlconv.runtimes.torch_double import in_double, widen_module
from dlconv.runtimes.torch_program import Program, open_program
from dlconv.runtimes.torchscript import dtype_name, named_tensors, stored_tensors, to_numpy, to_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.base import Tensors


def probe() -> dict[str, Any]:
    """The version and devices of PyTorch, proved by running a traced linear layer."""
    import torch

    layer: Any = torch.jit.trace(torch.nn.Linear(3, 2), torch.ones(1, 3))
    if tuple(layer(torch.ones(2, 3)).shape) != (2, 2):
        raise RuntimeError("a traced linear layer gave a wrong shape")
    return {"version": torch.__version__, "devices": ["CPU"]}


def open(
    path: Path | str, signature: Signature | dict[str, Any], settings: dict[str, Any] | None = None
) -> TorchSession:
    """A session of a TorchScript archive or a .pt2 file.

    settings: "double" (True runs it in float64: parameters, constants, and dtypes that the program names itself),
    "threads" (0: as many as PyTorch chooses; they are the process's), "sequence" (True: each run goes on from the state
    that the one before it left).
    """
    told = settings or {}
    if told.get("threads"):
        import torch

        torch.set_num_threads(int(told["threads"]))
    known = Signature.from_dict(signature) if isinstance(signature, dict) else signature
    double, sequence = bool(told.get("double")), bool(told.get("sequence"))
    return TorchSession(open_program(Path(path)), known, double=double, sequence=sequence)


class TorchSession:
    """A loaded program. Every run starts from the state that the file holds; in a sequence the first alone."""

    def __init__(self, program: Program, signature: Signature, *, double: bool, sequence: bool = False) -> None:
        self._program = program
        self._signature = signature
        self._double = double
        self._sequence = sequence
        if double:
            widen_module(program.module)
        self._module: Any = None

    def restart(self) -> None:
        """The next run starts from the state that the file holds."""
        self._module = None

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by their flattened names. In float64 the floating ones are float64, or Unsupported is raised."""
        import torch

        values = self._values(inputs)
        torch.manual_seed(0)
        with torch.no_grad():
            if self._module is None or not self._sequence:
                self._module = self._program.copy()
            outputs = self._in_double(values) if self._double else self._answer(values)
        # The next call may write into what this one gave.
        return {name: to_numpy(tensor.clone() if self._sequence else tensor) for name, tensor in outputs.items()}

    def bound(self, inputs: Tensors) -> tuple[Callable[[], Any], Callable[[Any], Tensors]]:
        """See `dlconv.runtimes.base.Timeable`. A program that keeps state is copied in each call, to start anew."""
        import torch

        if self._double:
            raise Unsupported("a session in float64 is not timed", wanted="the model's own precision")
        values, program = self._values(inputs), self._program

        def call() -> Any:
            with torch.inference_mode():
                return program.call(program.copy(), values)

        return call, lambda answer: {name: to_numpy(tensor) for name, tensor in named_tensors(answer).items()}

    def _values(self, inputs: Tensors) -> dict[str, Any]:
        values: dict[str, Any] = dict(self._signature.constants)
        for spec in self._signature.inputs:
            tensor = to_torch(inputs[spec.name], spec.dtype)
            values[spec.source_name] = tensor.double() if self._double and tensor.is_floating_point() else tensor
        return values

    def _answer(self, values: dict[str, Any]) -> dict[str, Any]:
        return named_tensors(self._program.call(self._module, values))

    def _in_double(self, values: dict[str, Any]) -> dict[str, Any]:
        with in_double() as bottlenecks:
            try:
                outputs = self._answer(values)
            except Exception as error:  # an operator without a float64 kernel raises whatever it likes
                raise _narrow(", ".join(sorted(bottlenecks)) or _last_line(error)) from error
        narrow = [name for name, t in outputs.items() if t.is_floating_point() and dtype_name(t.dtype) != "float64"]
        if bottlenecks or narrow:
            raise _narrow(", ".join(sorted(bottlenecks)) or f"the outputs {', '.join(narrow)}")
        return outputs

    def placement(self) -> dict[str, Any]:
        """The device, the precision of the weights, and the threads."""
        import torch

        stored = [tensor for tensor in stored_tensors(self._program.module) if tensor.is_floating_point()]
        dtypes = sorted({dtype_name(tensor.dtype) for tensor in stored})
        precision = "float64" if self._double else "+".join(dtypes) or "float32"
        threads = torch.get_num_threads()
        return {"device": "CPU", "precision": precision, "threads": threads, "version": torch.__version__}


def _narrow(where: str) -> Unsupported:
    return Unsupported(
        f"the model cannot run in float64, because of {where}",
        wanted="a program whose operators all work in float64",
        mend="the model's own precision serves as the reference",
    )


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:200] if lines else ''}"
