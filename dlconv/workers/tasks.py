"""What workers are asked to do: run an edge, answer samples. Worker-side; standard library and NumPy alone."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv import progress
from dlconv.convert.edge import Made, Step
from dlconv.errors import StepError, is_out_of_memory
from dlconv.model import Signature, StateSpec
from dlconv.runtimes.base import Sequence
from dlconv.runtimes.state import Carried, read_initial, write_initial

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
    """Run the edge in `module` on a step, as data; what it made, as data, and the seconds it took.

    State that the source is given and gives goes on into what is made of it, with its first values.
    """
    convert = importlib.import_module(module).convert
    start = time.perf_counter()
    told = Step.from_dict(step)
    initial = read_initial(told.source.parent, told.signature)
    told.sample.update(initial)
    made = convert(told)
    if initial:
        made = _with_state(made, told.signature.state)
        write_initial(told.out_dir, initial)
    return {"made": made.to_dict(), "seconds": time.perf_counter() - start}


def _with_state(made: Made, state: tuple[StateSpec, ...]) -> Made:
    inputs, outputs = ({spec.name for spec in specs} for specs in (made.signature.inputs, made.signature.outputs))
    lost = [each.attribute for each in state if each.input not in inputs or each.output not in outputs]
    if lost:
        raise StepError(f"the state {', '.join(lost)} was lost on the way", mend="another route is tried")
    return replace(made, signature=replace(made.signature, state=state))


def answer(
    runtime: str,
    path: str,
    signature: dict[str, Any],
    settings: dict[str, Any],
    samples: list[Tensors],
    twice: bool = False,
    sequence: bool = False,
) -> dict[str, Any]:
    """Open the model with the adapter `runtime` and run every sample.

    Returns {"outputs": [tensors a sample], "errors": [text or "" a sample], "placement": {...}, "seconds": ...,
    "again": [tensors a sample]}: the answers of a second round, in which the samples come in reverse, so that what one
    call leaves for the next shows as a difference; [] unless `twice`.
    sequence: where the session carries state, the samples are the steps of one sequence from the initial state, in both
    rounds; then "first_calls", if `twice`, has the answers of a round in which each is a first.
    A sample whose run raises has no outputs and the exception's text in errors: sizes that a model does not take
    are found out this way. The caller decides what that means; nothing is dropped here.
    """
    start = time.perf_counter()
    told = Signature.from_dict(signature)
    session: Session = importlib.import_module(runtime).open(path, told, settings)
    if told.state:
        session = Carried(session, told, read_initial(Path(path).parent, told))
    outputs, errors = _run_all(session, samples, sequence)
    seconds = time.perf_counter() - start
    again: list[Tensors] = []
    first_calls: list[Tensors] = []
    if twice and sequence and isinstance(session, Sequence):
        again, _ = _run_all(session, samples, sequence)
        first_calls, _ = _run_all(session, samples, sequence=False)
    elif twice:
        again = _run_all(session, samples[::-1], sequence=False)[0][::-1]
    return {
        "outputs": outputs,
        "again": again,
        "first_calls": first_calls,
        "errors": errors,
        "placement": session.placement(),
        "seconds": seconds,
    }


def _run_all(session: Session, samples: list[Tensors], sequence: bool) -> tuple[list[Tensors], list[str]]:
    outputs: list[Tensors] = []
    errors: list[str] = []
    for place, sample in enumerate(progress.through(samples)):
        if isinstance(session, Sequence):
            if place == 0 or not sequence:
                session.restart()
            elif errors[-1]:
                outputs.append({})
                errors.append("a step before it failed")
                continue
        try:
            outputs.append(session.run(sample))
            errors.append("")
        except Exception as error:  # told to the caller, a sample each
            if is_out_of_memory(error):
                raise
            outputs.append({})
            errors.append(f"{type(error).__name__}: {error}")
    return outputs, errors


def script(path: str) -> dict[str, Any]:
    """Run a Python script by itself, in this worker's interpreter; its exit status, and what it said."""
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    return {"status": done.returncode, "said": done.stdout + done.stderr}
