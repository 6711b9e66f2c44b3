"""JAX on the CPU: runs exported programs, in their own precision or in float64."""

# pyright: reportAttributeAccessIssue=false
# Where JAX is not installed, pyright takes jax.py beside this file for it.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import SamplesError
from dlconv.model import Signature
from dlconv.runtimes.jax_program import Program, open_program

if TYPE_CHECKING:
    from dlconv.runtimes.base import Tensors


def probe() -> dict[str, Any]:
    """The version and devices of JAX, proved by exporting a function, reading it back and calling it."""
    import jax
    from jax import export

    jax.config.update("jax_platforms", "cpu")
    made = export.export(jax.jit(lambda x: x + x))(jax.ShapeDtypeStruct((2,), np.float32)).serialize()
    found = np.asarray(export.deserialize(made).call(np.array([1.5, -2.0], np.float32)))
    if not np.array_equal(found, np.array([3.0, -4.0], np.float32)):
        raise RuntimeError(f"an addition gave {found.tolist()}")
    return {"version": jax.__version__, "devices": ["CPU"]}


def open(path: Path | str, signature: Signature | dict[str, Any], settings: dict[str, Any] | None = None) -> JaxSession:
    """A session of an exported program. settings: "double" (True runs it in float64), "trust" (foreign calls may run).

    Raises what `open_program` raises, and Unsupported where the program cannot be widened to float64.
    """
    told = settings or {}
    known = Signature.from_dict(signature) if isinstance(signature, dict) else signature
    program = open_program(Path(path), trust=bool(told.get("trust")))
    return JaxSession(program, known, double=bool(told.get("double")))


class JaxSession:
    """A loaded program; see `dlconv.runtimes.base.Session`."""

    def __init__(self, program: Program, signature: Signature, *, double: bool) -> None:
        self._program = program
        self._names = {spec.source_name: spec.name for spec in signature.inputs}
        self._double = double
        if double:
            from dlconv.runtimes.jax_double import Widened

            self._widened = Widened(program)

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs by name. In float64 the floating ones are float64."""
        values = [self._value(name, inputs) for name in self._program.inputs]
        outputs = self._widened.call(values) if self._double else self._program.call(values)
        return {name: _to_numpy(value) for name, value in zip(self._program.outputs, outputs, strict=True)}

    def placement(self) -> dict[str, Any]:
        """The device, the widest precision of the inputs and outputs, and the version."""
        import jax

        exported = self._program.exported
        floats = {str(aval.dtype) for aval in (*exported.in_avals, *exported.out_avals) if "float" in str(aval.dtype)}
        precision = "float64" if self._double else "+".join(sorted(floats)) or "float32"
        return {"device": "CPU", "precision": precision, "version": jax.__version__}

    def _value(self, name: str, inputs: Tensors) -> Any:
        given = self._names.get(name, name)
        if given not in inputs:
            raise SamplesError(f"there is no input {given}", wanted=", ".join(self._program.inputs))
        aval = self._program.exported.in_avals[self._program.inputs.index(name)]
        array = np.asarray(inputs[given])
        # bfloat16 travels as float32 of the same values: NumPy lacks it.
        return array.astype(aval.dtype) if str(aval.dtype) == "bfloat16" else array


def _to_numpy(value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    return array.astype(np.float32) if str(array.dtype) == "bfloat16" else array
