"""How far the ranges that calibration found hold on the samples that judge: told on the screen and in the receipt."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.candidate import takes
from dlconv.samples import save_npz, to_arrays
from dlconv.validators.evidence import json_number
from dlconv.validators.pairing import to_artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.model import Signature
    from dlconv.samples import Sample, SampleSet
    from dlconv.workers.crew import Crew


@dataclass(frozen=True)
class Coverage:
    """What `runtimes.onnx_coverage.measure` found. calibrated: samples that the ranges are of, all that there were;
    judged: samples that were held against them, those alone that did not calibrate themselves."""

    found: Mapping[str, Any]
    calibrated: int
    judged: int

    def to_dict(self) -> dict[str, Any]:
        """As the receipt tells it."""
        worst = [{key: json_number(value) for key, value in each.items()} for each in self.found["worst"]]
        return {"calibrated": self.calibrated, "judged": self.judged, **self.found, "worst": worst}

    @property
    def notes(self) -> tuple[str, ...]:
        """On the screen: what is beyond the ranges, and the channels that did not move."""
        found = self.found
        notes = []
        if self.judged:
            share = found["beyond"] / max(found["elements"], 1)
            text = f"{share:.2%} of what {self.judged} samples make is beyond the ranges of {self.calibrated}"
            worst = next((each for each in found["worst"] if each["beyond"]), None)
            if worst is not None:
                text += f"; most in {worst['tensor']}: {worst['beyond'] / worst['elements']:.2%}"
            notes.append(text)
        if found["dead"]:
            text = f"{found['dead']} of {found['channels']} channels never move in the calibration samples"
            notes.append(text + (f", and {found['missed']} of them do in the others" if self.judged else ""))
        return tuple(notes)


def measure(
    path: Path, signature: Signature, calibration: SampleSet, samples: Sequence[Sample], crew: Crew
) -> Coverage:
    """The coverage of a calibration on the ONNX model at `path`, whose tensors `signature` pairs with the source's.

    samples: those that the artifacts are judged by, in the source's names.
    """
    seen = {_identity(sample) for sample in calibration.samples}
    fitting = [sample for sample in samples if takes(signature, sample) and _identity(sample) not in seen]
    given, others = ([to_artifact(each, signature) for each in part] for part in (calibration.samples, fitting))
    with tempfile.TemporaryDirectory(prefix="dlconv-") as folder, crew.lease("onnx") as worker:
        places = [Path(folder) / name for name in ("calibration.npz", "samples.npz")]
        for place, part in zip(places, (given, others), strict=True):
            save_npz(place, to_arrays(part))
        found: dict[str, Any] = worker.call(
            "dlconv.runtimes.onnx_coverage:measure",
            what="measuring what the calibration covers",
            path=str(path),
            calibration=str(places[0]),
            samples=str(places[1]),
        )
    return Coverage(found, len(given), len(others))


def _identity(sample: Sample) -> tuple[tuple[str, bytes], ...]:
    return tuple(sorted((name, np.asarray(array).tobytes()) for name, array in sample.items()))
