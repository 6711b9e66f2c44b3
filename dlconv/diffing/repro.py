"""The smallest part of two models that shows where they part: as files, tensors, and a script of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dlconv.diffing import parting, parts
from dlconv.errors import InternalError, StepError
from dlconv.files.jsonfile import write_json
from dlconv.model import files_of
from dlconv.records.bundle import staged
from dlconv.samples import save_npz
from dlconv.validators.evidence import json_number
from dlconv.validators.pairing import to_artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.diffing.parting import Parting, TensorError
    from dlconv.diffing.parts import Conversion
    from dlconv.diffing.side_by_side import Pair
    from dlconv.samples import Sample
    from dlconv.workers.crew import Crew

_SCRIPT: Final = Path(__file__).with_name("repro_script.py")
SCRIPTED: Final = ("onnxruntime", "openvino", "tflite", "tensorflow")
"""The runtimes that the script knows."""
_LAYERS: Final = (0, 1, 2, 4, 8, 16, 32)
"""How many layers of operators before the one that is shown are added in turn, until the error shows."""


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
    """What is to be shown: where a pair parts. errors: of all compared tensors. conversion: how a part becomes what the
    candidate is, where no part can be cut out of the candidate itself; else None.

    about: what the script tells besides: "candidate" and "reference", "unit" and "factor". is_calibrated: the candidate
    was quantised by samples that are not here, so that no part can be converted as it was: it is looked into itself.
    """

    pair: Pair
    found: Parting
    errors: Mapping[str, TensorError]
    about: Mapping[str, Any]
    conversion: Conversion | None
    crew: Crew
    is_calibrated: bool = False

    def write(self, folder: Path) -> Repro:
        """Write the part to `folder`: the operator alone, or with as many before it as it takes to show the error."""
        with staged(folder) as aside:
            if self.conversion is not None and self.is_calibrated:
                return self._written(aside, set(self.errors) - {self.found.tensor.name}, folder, within=True)
            compared = set(self.errors)
            repro: Repro | None = None
            for layers in _LAYERS:
                for _ in range(layers):
                    compared -= set(self._given(compared))
                is_whole = not compared.intersection(self._given(compared))
                try:
                    repro = self._written(aside, compared, folder)
                except StepError:  # a part that cannot be converted by itself; a wider one may
                    if is_whole:
                        raise
                    continue
                if repro.shows or is_whole:
                    break
            assert repro is not None, "the widest part is whole: it is written, or raises"
            if not repro.shows and self.conversion is not None and self.found.tensor.name in self.pair.names:
                # What is converted today is right: the fault is in the artifact, which is shown as it is.
                repro = self._written(aside, set(), folder, within=True)
            return repro

    def _given(self, compared: set[str]) -> tuple[str, ...]:
        return parting.back(self.found.place, self.pair.operators, compared)[1]

    @cached_property
    def _sample(self) -> int:
        return self.found.tensor.worst.sample if self.found.tensor.worst else 0

    @cached_property
    def _wanted(self) -> np.ndarray[Any, Any]:
        name = self.found.tensor.name
        return self.pair.reference.tensors(self.crew, [name], self._sample)[name]

    @cached_property
    def _single(self) -> np.ndarray[Any, Any]:
        name = self.found.tensor.name
        return self.pair.single.tensors(self.crew, [name], self._sample)[name]

    def _written(self, folder: Path, compared: set[str], place: Path, *, within: bool = False) -> Repro:
        """The part that begins with what is compared. within: of the candidate the whole, looked into."""
        name = self.found.tensor.name
        operators, given = parting.back(self.found.place, self.pair.operators, compared)
        ours = self.pair.single.tensors(self.crew, list(given), self._sample)
        taken = parts.cut(self.pair.reference, folder / "reference.onnx", ours, {name: self._single}, self.crew)
        ours = {each: ours[each] for each in taken}
        if within:
            inputs, told = self._whole(folder)
        else:
            inputs, told = self._own(folder, compared) if self.conversion is None else self._converted(folder, ours)
        arrays = {f"given.{each}": array for each, array in ours.items()}
        arrays |= {f"candidate.{each}": array for each, array in inputs.items()}
        save_npz(folder / "tensors.npz", {**arrays, "wanted": self._wanted})
        about = {
            **self.about,
            "operator": self.found.operator.label,
            "kind": self.found.operator.kind,
            "nodes": len(operators),
            "tensor": name,
            "error": json_number(self.found.tensor.error),
            "floor": json_number(self.found.tensor.floor),
            **told,
        }
        write_json(folder / "about.json", about)
        shutil.copyfile(_SCRIPT, folder / "repro.py")
        said, shows = self._run(folder / "repro.py")
        return Repro(place, len(operators), shows, said)

    def _own(self, folder: Path, compared: set[str]) -> tuple[Sample, dict[str, Any]]:
        """The candidate's own part. It is given what the reference has there: what differs then is its own doing."""
        pair, name = self.pair, self.pair.names[self.found.tensor.name]
        theirs = pair.back_in_candidate(name, {pair.names[each] for each in compared})
        back = {pair.names[each]: each for each in compared}
        ours = pair.single.tensors(self.crew, [back[each] for each in theirs if each in back], self._sample)
        got = pair.candidate.tensors(self.crew, [*theirs, name], self._sample)
        inputs = {each: ours[back[each]].astype(got[each].dtype) if each in back else got[each] for each in theirs}
        words: dict[str, Any] = {}
        if pair.candidate.emulates == "int8":
            words = {"ranges": self._ranges(compared)}
        elif pair.candidate.emulates:
            floats = [each for each, error in self.errors.items() if error.dtype == "float32"]
            floats += [each for each, array in inputs.items() if array.dtype.name == "float32"]
            words = {"rounded": pair.candidate.emulates, "floats": floats}
        to = folder / ("candidate.onnx" if pair.candidate.is_onnx else "candidate.xml")
        taken = parts.cut(pair.candidate, to, inputs, {name: got[name]}, self.crew, **words)
        runtime = "onnxruntime" if pair.candidate.is_onnx else "openvino"
        return {each: inputs[each] for each in taken}, {"runtime": runtime, "entry": to.name, "output": name}

    def _ranges(self, compared: set[str]) -> dict[str, tuple[float, float]]:
        """The least and the largest value, zero among them, of each tensor of the part, over all samples."""
        operators, given = parting.back(self.found.place, self.pair.operators, compared)
        names = [*given, *(name for operator in operators for name in operator.outputs if name in self.errors)]
        found: dict[str, tuple[float, float]] = {}
        for sample in range(len(self.pair.single.samples)):
            for name, array in self.pair.single.tensors(self.crew, names, sample).items():
                if array.dtype.name == "float32":
                    low, high = found.get(name, (0.0, 0.0))
                    finite = array[np.isfinite(array)]
                    found[name] = min(low, float(finite.min(initial=0.0))), max(high, float(finite.max(initial=0.0)))
        return found

    def _converted(self, folder: Path, given: Sample) -> tuple[Sample, dict[str, Any]]:
        """The reference's part, as the candidate was made of the whole."""
        assert self.conversion is not None
        name = self.found.tensor.name
        product = self.conversion.convert(folder / "reference.onnx", given, {name: self._single})
        for file in files_of(product.folder):
            to = folder / "candidate" / file.relative_to(product.folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
        (output,) = (spec for spec in product.signature.outputs if spec.source_name == name)
        told = {
            "runtime": self.conversion.runtime.name,
            "entry": f"candidate/{product.entry}",
            "output": output.name,
            "axes": list(output.permutation),
        }
        return to_artifact(given, product.signature), told

    def _whole(self, folder: Path) -> tuple[Sample, dict[str, Any]]:
        """The candidate itself, on its own inputs."""
        candidate = self.pair.candidate
        shutil.rmtree(folder / "candidate", ignore_errors=True)
        (folder / "candidate").mkdir()
        shutil.copyfile(candidate.path, folder / "candidate" / candidate.path.name)
        told = {
            "runtime": f"within {candidate.toolchain}",
            "entry": f"candidate/{candidate.path.name}",
            "output": self.pair.names[self.found.tensor.name],
            "axes": [],
        }
        return candidate.samples[self._sample], told

    def _run(self, script: Path) -> tuple[str, bool]:
        toolchain = self.pair.candidate.toolchain if self.conversion is None else self.conversion.runtime.toolchain
        with self.crew.lease(toolchain) as worker:
            done = worker.call("dlconv.workers.tasks:script", what="running repro.py", path=str(script))
        if done["status"] not in (0, 1) or "Traceback" in done["said"]:
            raise InternalError(f"repro.py does not run: {' '.join(done['said'].strip().splitlines()[-1:])}")
        return str(done["said"]), done["status"] == 1
