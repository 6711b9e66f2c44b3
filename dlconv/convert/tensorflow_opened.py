"""A step's source as TensorFlow opens it, and its graph without variables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dlconv.errors import StepError, Unsupported
from dlconv.runtimes.tensorflow_program import Program, open_program

if TYPE_CHECKING:
    from dlconv.convert.edge import Step
    from dlconv.model import Signature
    from dlconv.runtimes.tensorflow_graph import Frozen


def opened(step: Step) -> tuple[Program, Signature]:
    """The program, and the step's signature with the program's outputs where the step does not know them.

    Raises StepError where the step names a tensor that the program does not have.
    """
    known = step.signature
    program = open_program(
        step.source,
        known.entry,
        trust=step.trust,
        inputs=known.inputs,
        outputs=[spec.name for spec in known.outputs],
    )
    if not known.outputs:
        known = replace(known, outputs=program.signature.outputs)
    there = {spec.name for spec in (*program.signature.inputs, *program.signature.outputs)}
    lost = [spec.name for spec in (*known.inputs, *known.outputs) if spec.name not in there]
    if lost:
        raise StepError(f"the source has no tensor called {', '.join(lost)}", wanted=f"one of {sorted(there)}")
    return program, known


def frozen(program: Program, *, lower_control_flow: bool = False) -> Frozen:
    """The program's graph with its variables as constants.

    Raises Unsupported for 2 GB of weights and more, where TensorFlow's graphs end.
    """
    try:
        return program.frozen(lower_control_flow)
    except ValueError as error:
        if "2GB" in str(error) or "string too long" in str(error):
            raise Unsupported(
                "the model has more than 2 GB of weights", wanted="less: TensorFlow's graphs end there"
            ) from error
        raise


def refuse_strings(signature: Signature) -> None:
    """Raises Unsupported with the names of tensors of text."""
    strings = [spec.name for spec in (*signature.inputs, *signature.outputs) if spec.dtype == "string"]
    if strings:
        raise Unsupported(
            f"the model takes or gives strings: {', '.join(strings)}",
            wanted="numbers and booleans",
            mend="give the part of the model without them: --input NAME, --outputs NAME, or another --signature",
        )
