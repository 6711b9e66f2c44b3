"""The smallest part of two models that shows where they part: as ONNX files, tensors, and a script of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv import parting
from dlconv.bundle import staged
from dlconv.errors import InternalError
from dlconv.jsonfile import write_json
from dlconv.samples import save_npz
from dlconv.validators.evidence import json_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from dlconv.parting import Parting, TensorError
    from dlconv.samples import Sample
    from dlconv.side_by_side import Pair
    from dlconv.workers.worker import Worker

_SCRIPT: Final = Path(__file__).with_name("repro_script.py")
_LAYERS: Final = (0, 1, 2, 4, 8, 16, 32)
"""How many layers of operators before the one that is shown are tried, so that the error shows."""


@dataclass(frozen=True)
class Repro:
    """What was written. shows: whether the script, run there, shows that the two part. said: what it printed.

    operators: how many of the reference's the part has.
    """

    folder: Path
    operators: int
    shows: bool
    said: str

    def to_dict(self) -> dict[str, Any]:
        return {"folder": self.folder, "operators": self.operators, "shows": self.shows, "said": self.said}


@dataclass(frozen=True)
class Shown:
    """What is to be shown: where a pair parts. exact: the reference's arithmetic. errors: of all compared tensors.

    about: what the script tells besides: "candidate" and "reference", "unit" and "factor".
    """

    pair: Pair
    found: Parting
    exact: str
    errors: Mapping[str, TensorError]
    about: Mapping[str, Any]
    worker: Worker

    def write(self, folder: Path) -> Repro:
        """Write the part to `folder`: the operator alone, or with as many before it as it takes to show the error."""
        with staged(folder) as aside:
            compared = set(self.errors)
            for layers in _LAYERS:
                for _ in range(layers):
                    compared -= set(self._given(compared))
                repro = self._written(aside, compared, folder)
                if repro.shows or not compared.intersection(self._given(compared)):
                    break
            return repro

    def _given(self, compared: set[str]) -> tuple[str, ...]:
        return parting.back(self.found.place, self.pair.operators, compared)[1]

    @cached_property
    def _sample(self) -> int:
        return self.found.tensor.worst.sample if self.found.tensor.worst else 0

    @cached_property
    def _wanted(self) -> np.ndarray[Any, Any]:
        name = self.found.tensor.name
        return self.pair.tensors(self.worker, self.exact, [name], self._sample)[name]

    def _written(self, folder: Path, compared: set[str], place: Path) -> Repro:
        """The part that begins with what is compared."""
        pair, name = self.pair, self.found.tensor.name
        their_name = pair.names[name]
        operators, given = parting.back(self.found.place, pair.operators, compared)
        theirs = pair.back_in_candidate(their_name, {pair.names[each] for each in compared})
        back = {pair.names[each]: each for each in compared}
        read = dict.fromkeys([*given, *(back[each] for each in theirs if each in back)])
        ours = pair.tensors(self.worker, "onnxruntime", list(read), self._sample)
        # The candidate's part is given what the reference has there: what differs then is the part's own doing.
        inputs = {
            each: ours[back[each]].astype(array.dtype) if each in back else array
            for each, array in pair.candidate_tensors(self.worker, theirs, self._sample).items()
        }
        self._cut(pair.reference, folder / "reference.onnx", {each: ours[each] for each in given}, name, "")
        self._cut(pair.candidate, folder / "candidate.onnx", inputs, their_name, pair.emulates)
        arrays = {f"given.{each}": ours[each] for each in given}
        arrays |= {f"candidate.{each}": array for each, array in inputs.items()}
        save_npz(folder / "tensors.npz", {**arrays, "wanted": self._wanted})
        about = {
            **self.about,
            "operator": self.found.operator.label,
            "kind": self.found.operator.kind,
            "nodes": len(operators),
            "tensor": name,
            "candidate_tensor": their_name,
            "error": json_number(self.found.tensor.error),
        }
        write_json(folder / "about.json", about)
        shutil.copyfile(_SCRIPT, folder / "repro.py")
        said, shows = self._run(folder / "repro.py")
        return Repro(place, len(operators), shows, said)

    def _cut(self, model: Path, to: Path, given: Sample, output: str, rounded: str) -> None:
        floats = [each for each, error in self.errors.items() if error.dtype == "float32"]
        self.worker.call(
            "dlconv.runtimes.onnx_outputs:cut",
            what=f"cutting {model.name}",
            path=str(model),
            to=str(to),
            inputs={name: array.dtype.name for name, array in given.items()},
            outputs=[output],
            rounded=rounded,
            floats=[*floats, *(name for name, array in given.items() if array.dtype.name == "float32")],
        )

    def _run(self, script: Path) -> tuple[str, bool]:
        done = self.worker.call("dlconv.workers.tasks:script", what="running repro.py", path=str(script))
        if done["status"] not in (0, 1) or "Traceback" in done["said"]:
            raise InternalError(f"repro.py does not run: {done['said'].strip().splitlines()[-1:]}")
        return str(done["said"]), done["status"] == 1
