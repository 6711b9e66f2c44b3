"""The source's own answers in its own framework: in float32, in float64 where it can, and the noise between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv import samples as sampling
from dlconv.errors import SourceError, StepError, cause_of
from dlconv.files.jsonfile import read_json, write_json
from dlconv.making.cache import digest_of_code, key_of
from dlconv.reference import kept
from dlconv.reference.kinds import KINDS, Kind
from dlconv.reference.source import Reference, Source, versions_of
from dlconv.samples import Sample
from dlconv.validators.answers import Answers
from dlconv.validators.moved import answers_of_moved, floors_of_moved
from dlconv.validators.quantised import grids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dlconv.asked.options import SourceOptions
    from dlconv.making.cache import Cache
    from dlconv.workers.crew import Crew

_RANDOM = 1e-3
"""Of the scale. Threads that sum in another order differ by some 1e-6."""
_HALVES = ("float16", "bfloat16")


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
        measured=digest_of_code(("reference", "validators")),
    )
    entry = cache.get(key) if options.use_cache else None
    if entry is None:
        made, answers = _ask(source, kind, crew, trust=options.trust, behind=behind)
        folder = cache.begin()
        sampling.save_npz(folder / "answers.npz", kept.to_arrays(answers))
        write_json(folder / "reference.json", made)
        entry = cache.put(key, folder, f"reference of {source.artifact.path.name}")
    told = read_json(entry / "reference.json")
    answers = kept.from_arrays(sampling.read_npz(entry / "answers.npz"), grids_of(source.signature.outputs))
    every = (*source.samples.samples, *source.spare)
    taken = tuple(every[index] for index in told["taken"])
    return Reference(
        replace(source.samples, samples=taken),
        answers,
        {name: float(floor) for name, floor in told["floors"].items()},
        told["runtime"],
        told["precision"],
        told["reason"],
        versions,
        tuple(told["notes"]),
    )


def _ask(source: Source, kind: Kind, crew: Crew, *, trust: bool, behind: bool) -> tuple[dict[str, Any], Answers]:
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
    if source.spare and single["errors"][-1]:
        more = run("the reference at twice the size", list(source.spare), double=False)
        samples += source.spare
        single |= {name: [*single[name], *more[name]] for name in ("outputs", "errors")}
        taken += [index for index in range(len(source.samples.samples), len(samples)) if not single["errors"][index]]
    notes = [
        f"the source does not take {_shapes(samples[index])}, so that size is not judged: {cause_of(error)}"
        for index, error in enumerate(single["errors"])
        if error
    ]
    samples = [samples[index] for index in taken]
    y32 = tuple(single["outputs"][index] for index in taken)
    if not source.facts.get("deterministic", True):
        _refuse_random(y32, run("the reference once more", samples, double=False)["outputs"])
    y64, reason, widened = _double(source, kind, lambda: run("the reference in float64", samples, double=True))

    def once_more(inputs: list[Sample]) -> list[Sample]:
        answered: list[Sample] = run("the noise floor", inputs, double=False)["outputs"]
        return answered

    is_half = _is_half(single["placement"]) or _is_half(widened)
    further = answers_of_moved(source.signature, samples, once_more) if is_half else ()
    answers = Answers(y32, y64, grids_of(source.signature.outputs), further)
    floors = answers.floors
    if floors is None:
        floors = floors_of_moved(source.signature, samples, y32, once_more)
    return {
        "taken": taken,
        "floors": {name: str(floor) for name, floor in floors.items()},
        "runtime": kind.runtime.rpartition(".")[2],
        "precision": "float32" if y64 is None else "float64",
        "reason": reason,
        "notes": notes,
    }, answers


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


def _double(
    source: Source, kind: Kind, run: Callable[[], dict[str, Any]]
) -> tuple[tuple[Sample, ...] | None, str, Mapping[str, Any]]:
    """The answers in float64, or None and the reason: then float32 is the reference, and the receipt says why. Last the
    session's account of itself."""
    if not kind.has_double:
        return None, "its runtime has no float64", {}
    if any(spec.scale is not None for spec in (*source.signature.inputs, *source.signature.outputs)):
        return None, "it computes in steps of its quantisation, which float64 makes no finer", {}
    try:
        double = run()
    except StepError as error:
        return None, error.met, {}
    reason = next((cause_of(error) for error in double["errors"] if error), "")
    return (None, reason, {}) if reason else (tuple(double["outputs"]), "", double["placement"])


def _is_half(placement: Mapping[str, Any]) -> bool:
    """Whether the source computes in float16 or bfloat16, by its runtime's account."""
    return bool(placement.get("halves")) or any(half in placement.get("precision", "") for half in _HALVES)


def _shapes(sample: Sample) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, array.shape)) or 'scalar'}" for name, array in sample.items())
