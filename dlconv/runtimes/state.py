"""State that an artifact takes and gives: where its first values lie, and how it is carried from call to call.

Worker-side; standard library and NumPy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import StepError

if TYPE_CHECKING:
    from pathlib import Path

    from dlconv.model import Signature
    from dlconv.runtimes.base import Session, Tensors

INITIAL = "state.npz"
"""Beside the artifact: the values of its state's inputs at the first call, by the inputs' names."""


def write_initial(folder: Path, values: Tensors) -> None:
    """Leave the first values in the folder of an artifact."""
    # numpy's own signature takes the names as keywords, where one might be a parameter's.
    np.savez(folder / INITIAL, **dict(values))  # type: ignore[arg-type]


def read_initial(folder: Path, signature: Signature) -> Tensors:
    """The first values of the state of an artifact in `folder`; {} where the signature has no state.

    Raises StepError where the file is not there, or lacks a value.
    """
    if not signature.state:
        return {}
    try:
        with np.load(folder / INITIAL, allow_pickle=False) as archive:
            return {state.input: archive[state.input] for state in signature.state}
    except (OSError, ValueError, KeyError) as error:
        raise StepError(
            f"the first values of the artifact's state cannot be read: {error}",
            wanted=f"{INITIAL} beside the artifact, with {', '.join(state.input for state in signature.state)}",
            mend="export the model again",
        ) from error


class Carried:
    """A session of an artifact with state, whose inputs and outputs of state are taken care of: see `base.Sequence`."""

    def __init__(self, session: Session, signature: Signature, initial: Tensors) -> None:
        dtypes = {spec.name: np.dtype(spec.dtype) for spec in signature.inputs}
        self._session = session
        self._state = signature.state
        # A runtime may take integers of another width than the source keeps.
        self._initial = {name: np.asarray(value).astype(dtypes[name]) for name, value in initial.items()}
        self._now = dict(self._initial)

    def run(self, inputs: Tensors) -> Tensors:
        """The outputs but for those of state, which the next call is given."""
        outputs = dict(self._session.run({**inputs, **self._now}))
        lost = [state.output for state in self._state if state.output not in outputs]
        if lost:
            raise StepError(f"the artifact gives no {', '.join(lost)}", wanted="its state, for the next call")
        now = {state.input: np.array(outputs.pop(state.output)) for state in self._state}
        changed = [name for name, value in now.items() if value.shape != self._initial[name].shape]
        if changed:
            raise StepError(f"the shape of {', '.join(changed)} changed: the next call cannot take it")
        self._now = {name: value.astype(self._initial[name].dtype) for name, value in now.items()}
        return outputs

    def restart(self) -> None:
        self._now = dict(self._initial)

    def placement(self) -> dict[str, Any]:
        return self._session.placement()
