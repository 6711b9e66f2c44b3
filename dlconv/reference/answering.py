"""The source's own answers in its own framework: in float32, in float64 where it can, and the noise between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv import samples as sampling
from dlconv.errors import SourceError, StepError, cause_of
from dlconv.files.jsonfile import read_json, write_json
from dlconv.making.cache import key_of
from dlconv.reference.kinds import KINDS, Kind
from dlconv.reference.source import Reference, Source, versions_of
from dlconv.samples import Sample
from dlconv.validators.moved import floors_of_moved
from dlconv.validators.parity import Answers, noise_floors
from dlconv.validators.quantised import grids_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.asked.options import SourceOptions
    from dlconv.making.cache import Cache
    from dlconv.workers.crew import Crew

_RANDOM = 1e-3
"""Of the scale. Threads that sum in another order differ by some 1e-6."""


def answer(source: Source, options: SourceOptions, crew: Crew, cache: Cache, *, behind: bool = False) -> Reference:
    """The source's answers in float32 and, where its framework and the model allow, float64; kept in the cache.

    behind: as of `Crew.lease`, where other work goes on beside it.
    """
    kind = KINDS[source.artifact.format]
    versions = versions_of(kind)
    key = key_of(
        reference=kind.runtime,
        source=source.artifact.digest,
        signature=source.signature.to_dict(),
        samples=source.samples.digest,
        versions=versions,
        sequence=bool(source.facts.get("sequence")),
    )
    kept = cache.get(key) if options.use_cache else None
    if kept is None:
        made = _ask(source, kind, crew, trust=options.trust, behind=behind)
        folder = cache.begin()
        sampling.save_npz(folder / "answers.npz", made.pop("arrays"))
        write_json(folder / "reference.json", made)
        kept = cache.put(key, folder, f"reference of {source.artifact.path.name}")
    told = read_json(kept / "reference.json")
    arrays = sampling.read_npz(kept / "answers.npz")
    count = len(told["taken"])
    y32 = _gather(arrays, "y32", count, told["outputs"])
    y64 = _gather(arrays, "y64", count, told["outputs"]) if told["precision"] == "float64" else None
    taken = tuple(source.samples.samples[index] for index in told["taken"])
    return Reference(
        replace(source.samples, samples=taken),
        Answers(y32, y64, grids_of(source.signature.outputs)),
        {name: float(floor) for name, floor in told["floors"].items()},
        told["runtime"],
        told["precision"],
        told["reason"],
        versions,
        tuple(told["notes"]),
    )


def _ask(source: Source, kind: Kind, crew: Crew, *, trust: bool, behind: bool) -> dict[str, Any]:
    samples = list(source.samples.samples)
    is_sequence = bool(source.facts.get("sequence"))

    def run(what: str, inputs: list[Sample], double: bool) -> dict[str, Any]:
        with crew.lease(kind.toolchain, behind=behind) as worker:
            got = worker.call(
                "dlconv.workers.tasks:answer",
                what=what,
                runtime=kind.runtime,
                path=str(source.artifact.path),
                signature=source.signature.to_dict(),
                settings={"double": double, "sequence": is_sequence, "trust": trust},
                samples=inputs,
                sequence=is_sequence,
            )
            assert isinstance(got, dict)
            return {**got, "log": str(worker.log)}

    try:
        single = run("the reference in float32", samples, double=False)
    except StepError as error:
        raise SourceError(
            f"the source itself does not run here: {error.met}", mend=error.mend, log=error.log
        ) from error
    taken = [index for index, error in enumerate(single["errors"]) if not error]
    if 0 not in taken:
        raise SourceError(
            f"the source itself does not run: {cause_of(single['errors'][0])}",
            mend="give inputs that it takes: --input NAME:SHAPE, or --samples FILE.npz",
            log=single["log"],
        )
    notes = [
        f"the source does not take {_shapes(samples[index])}, so that size is not judged: {cause_of(error)}"
        for index, error in enumerate(single["errors"])
        if error
    ]
    samples = [samples[index] for index in taken]
    y32 = tuple(single["outputs"][index] for index in taken)
    if not source.facts.get("deterministic", True):
        _refuse_random(y32, run("the reference once more", samples, double=False)["outputs"])
    y64, reason = _double(kind, lambda: run("the reference in float64", samples, double=True))
    if y64 is not None:
        floors = noise_floors(y64, [y32])
    else:
        floors = floors_of_moved(
            source.signature, samples, y32, lambda inputs: run("the noise floor", inputs, double=False)["outputs"]
        )
    arrays = {f"y32.{key}": value for key, value in sampling.to_arrays(y32).items()}
    if y64 is not None:
        arrays |= {f"y64.{key}": value for key, value in sampling.to_arrays(y64).items()}
    return {
        "arrays": arrays,
        "outputs": list(y32[0]),
        "taken": taken,
        "floors": {name: str(floor) for name, floor in floors.items()},
        "runtime": kind.runtime.rpartition(".")[2],
        "precision": "float32" if y64 is None else "float64",
        "reason": reason,
        "notes": notes,
    }


def _refuse_random(once: tuple[Sample, ...], again: list[Sample]) -> None:
    """Raise SourceError where two runs on the same samples differ by more than the order of sums explains."""
    for one, other in zip(once, again, strict=True):
        for name, array in one.items():
            wide, beside = array.astype(np.float64), other[name].astype(np.float64)
            known = np.isfinite(wide) & np.isfinite(beside)
            distance = np.abs(wide - beside)[known].max(initial=0.0)
            if not distance <= _RANDOM * np.abs(wide[known]).max(initial=0.0):
                raise SourceError(
                    f"the source draws random numbers: {name} differs by {distance:.3g} between two runs on one sample",
                    wanted="a model that answers the same inputs alike",
                    mend="save it for inference (no dropout, no noise), or give samples with its rate of dropout off",
                )


def _double(kind: Kind, run: Callable[[], dict[str, Any]]) -> tuple[tuple[Sample, ...] | None, str]:
    """The answers in float64, or None and the reason: then float32 is the reference, and the receipt says why."""
    if not kind.has_double:
        return None, "its runtime has no float64"
    try:
        double = run()
    except StepError as error:
        return None, error.met
    reason = next((cause_of(error) for error in double["errors"] if error), "")
    return (None, reason) if reason else (tuple(double["outputs"]), "")


def _shapes(sample: Sample) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, array.shape)) or 'scalar'}" for name, array in sample.items())


def _gather(arrays: dict[str, np.ndarray[Any, Any]], which: str, count: int, names: list[str]) -> tuple[Sample, ...]:
    return tuple({name: arrays[f"{which}.{index:03d}.{name}"] for name in names} for index in range(count))
