"""What workers are asked to do: run an edge, answer samples. Worker-side; standard library and NumPy alone."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

from dlconv.convert.edge import Step
from dlconv.errors import is_out_of_memory
from dlconv.model import Signature

if TYPE_CHECKING:
    from dlconv.runtimes.base import Session, Tensors


def warm(imports: list[str]) -> None:
    """Import what will be needed, while the parent does something else: modules, or "module:function" that import."""
    for name in imports:
        module, _, function = name.partition(":")
        found = importlib.import_module(module)
        if function:
            getattr(found, function)()


def run_edge(module: str, step: dict[str, Any]) -> dict[str, Any]:
    """Run the edge in `module` on a step, as data; what it made, as data, and the seconds it took."""
    convert = importlib.import_module(module).convert
    start = time.perf_counter()
    made = convert(Step.from_dict(step))
    return {"made": made.to_dict(), "seconds": time.perf_counter() - start}


def answer(
    runtime: str,
    path: str,
    signature: dict[str, Any],
    settings: dict[str, Any],
    samples: list[Tensors],
    twice: bool = False,
) -> dict[str, Any]:
    """Open the model with the adapter `runtime` and run every sample.

    Returns {"outputs": [tensors a sample], "errors": [text or "" a sample], "placement": {...}, "seconds": ...,
    "again": [tensors a sample]}: the answers of a second round, in which the samples come in reverse, so that what one
    call leaves for the next shows as a difference; [] unless `twice`.
    A sample whose run raises has no outputs and the exception's text in errors: sizes that a model does not take
    are found out this way. The caller decides what that means; nothing is dropped here.
    """
    start = time.perf_counter()
    session = importlib.import_module(runtime).open(path, Signature.from_dict(signature), settings)
    outputs, errors = _run_all(session, samples)
    seconds = time.perf_counter() - start
    again = _run_all(session, samples[::-1])[0][::-1] if twice else []
    return {
        "outputs": outputs,
        "again": again,
        "errors": errors,
        "placement": session.placement(),
        "seconds": seconds,
    }


def _run_all(session: Session, samples: list[Tensors]) -> tuple[list[Tensors], list[str]]:
    outputs: list[Tensors] = []
    errors: list[str] = []
    for sample in samples:
        try:
            outputs.append(session.run(sample))
            errors.append("")
        except Exception as error:  # told to the caller, a sample each
            if is_out_of_memory(error):
                raise
            outputs.append({})
            errors.append(f"{type(error).__name__}: {error}")
    return outputs, errors
