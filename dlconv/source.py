"""The source model: its signature, its samples, and its own answers in its own framework."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv import samples as sampling
from dlconv.cache import key_of
from dlconv.convert.onnx_signature import apply_inputs
from dlconv.errors import RequestError, SamplesError, SignatureError, SourceError, StepError, cause_of
from dlconv.formats import Format
from dlconv.jsonfile import read_json, write_json
from dlconv.kinds import KINDS, Kind
from dlconv.model import Signature
from dlconv.samples import Sample, SampleSet
from dlconv.validators.moved import floors_of_moved
from dlconv.validators.parity import Answers, noise_floors
from dlconv.validators.quantised import grids_of
from dlconv.workers import toolchains

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.cache import Cache
    from dlconv.model import Artifact
    from dlconv.options import SourceOptions
    from dlconv.workers.crew import Crew


ONNX_SIZES = "dlconv.convert.onnx_sizes:settle"
_RANDOM = 1e-3
"""Of the scale. Threads that sum in another order differ by some 1e-6."""
FACTS: tuple[str, ...] = ("stateful", "state", "sequence", "deterministic", "training", "opset", "toolchain")


@dataclass(frozen=True)
class Source:
    """A studied source. facts are what the study found besides: stateful, state, deterministic, opset, ...

    flag is the `--input` that says what was inferred ("" where nothing was).
    """

    artifact: Artifact
    signature: Signature
    samples: SampleSet
    notes: tuple[str, ...] = ()
    flag: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """The source's answers to the samples that it takes.

    floors: the noise floor of each float output. precision: "float64", or "float32" with the reason.
    """

    samples: SampleSet
    answers: Answers
    floors: dict[str, float]
    runtime: str
    precision: str
    reason: str
    versions: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return SampleSet(self.answers.best, "").digest

    def to_dict(self) -> dict[str, Any]:
        """As the receipt tells it, without the arrays."""
        return {
            "runtime": self.runtime,
            "precision": self.precision,
            "reason": self.reason,
            "versions": self.versions,
            "digest": self.digest,
            "notes": list(self.notes),
            "samples": {
                "count": len(self.samples.samples),
                "origin": self.samples.origin,
                "seed": self.samples.seed,
                "digest": self.samples.digest,
            },
        }


def is_studied(artifact: Artifact, options: SourceOptions, cache: Cache) -> bool:
    """Whether the source's signature is in the cache: then `study` needs no worker."""
    asked = _asked(artifact, options, _given(options))
    return options.use_cache and cache.get(_study_key(KINDS[artifact.format].study, artifact, asked)) is not None


def study(artifact: Artifact, options: SourceOptions, crew: Crew, cache: Cache) -> Source:
    """Find the source's signature and its samples. Raises SignatureError or SamplesError for what does not fit."""
    given = _given(options)
    asked = _asked(artifact, options, given)
    function = KINDS[artifact.format].study
    _refuse_strange_words(artifact, options)
    found = _kept_call(function, artifact, asked, options.use_cache, crew, cache)
    signature = Signature.from_dict(found["signature"])
    _refuse_strings(signature)
    if artifact.format is not Format.TORCHSCRIPT:
        signature = apply_inputs(signature, options.inputs)
    bounds = {name: (int(low), int(high)) for name, (low, high) in found.get("bounds", {}).items()}
    sizes = _sizes(signature, {dim: _traced_size(ran) for dim, ran in found.get("sizes", {}).items()})
    if artifact.format is Format.ONNX and sizes and given is None:
        asked = {"signature": signature.to_dict(), "bounds": found.get("bounds", {})}
        sizes = _kept_call(ONNX_SIZES, artifact, asked, options.use_cache, crew, cache)["sizes"]
    if given is not None and options.samples is not None:
        user = sampling.split(given, signature, options.samples)
        if not user:
            raise SamplesError(f"there are no samples in {options.samples}", wanted="at least one")
        chosen = SampleSet(user, "user")
    else:
        chosen = sampling.draw(signature, options.draws, options.seed, sizes, bounds)
    chosen = _with_other_sizes(chosen, signature, options.seed, bounds)
    facts = {name: found[name] for name in FACTS if name in found}
    notes = tuple(found.get("notes", ()))
    return Source(artifact, signature, chosen, notes, found.get("flag", ""), facts)


def _refuse_strange_words(artifact: Artifact, options: SourceOptions) -> None:
    """What was said of a source that has no such thing is an error, not dropped."""
    asks = KINDS[artifact.format].asks
    said = {
        "--signature": ("entry", options.entry),
        "--outputs": ("outputs", options.outputs),
        "--input NAME=VALUE": ("constants", options.constants),
    }
    strange = [word for word, (name, value) in said.items() if value and name not in asks]
    if strange:
        raise RequestError(f"{artifact.format.label} has no {' and no '.join(strange)}", mend="leave it out")


def _refuse_strings(signature: Signature) -> None:
    strings = [spec.name for spec in signature.inputs if spec.dtype == "string"]
    if strings:
        raise SignatureError(
            f"the input {', '.join(strings)} takes strings, which no target's kernels take",
            wanted="inputs that are numbers",
            mend="save the model from after its decoding of strings; of a frozen graph name the tensor there: "
            "--input NAME:SHAPE:DTYPE",
        )


def _given(options: SourceOptions) -> dict[str, np.ndarray[Any, Any]] | None:
    return None if options.samples is None else sampling.read_samples(options.samples)


def _asked(artifact: Artifact, options: SourceOptions, given: dict[str, np.ndarray[Any, Any]] | None) -> dict[str, Any]:
    told = {
        "inputs": [spec.to_dict() for spec in options.inputs],
        "samples": sampling.examples(given) if given is not None else {},
        "constants": dict(options.constants),
        "entry": options.entry,
        "outputs": list(options.outputs),
        "trust": options.trust,
    }
    return {name: told[name] for name in KINDS[artifact.format].asks}


def _study_key(function: str, artifact: Artifact, asked: dict[str, Any]) -> str:
    kind = KINDS[artifact.format]
    return key_of(study=function, source=artifact.digest, asked=asked, versions=_versions(kind))


def _kept_call(
    function: str, artifact: Artifact, asked: dict[str, Any], use_cache: bool, crew: Crew, cache: Cache
) -> dict[str, Any]:
    kind = KINDS[artifact.format]
    key = _study_key(function, artifact, asked)
    kept = cache.get(key) if use_cache else None
    if kept is None:
        with crew.lease(kind.toolchain) as worker:
            found = worker.call(function, what="reading the signature", path=str(artifact.path), **asked)
        folder = cache.begin()
        write_json(folder / "study.json", found)
        kept = cache.put(key, folder, f"signature of {artifact.path.name}")
    found = read_json(kept / "study.json")
    assert isinstance(found, dict)
    return found


def _versions(kind: Kind) -> dict[str, str]:
    located = toolchains.locate(toolchains.get(kind.toolchain))
    if isinstance(located, toolchains.Missing):
        raise located.error()
    return located.versions


def _traced_size(ran: list[int]) -> int:
    """Of the sizes that ran the first above one: an exporter may take one for a constant."""
    return next((int(size) for size in ran if size > 1), int(ran[0]))


def _sizes(signature: Signature, found: dict[str, int]) -> dict[str, int]:
    # A free first dimension is a batch: more than one, so that no exporter takes it for a constant.
    sizes = dict(found)
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape or ()):
            if isinstance(dim, str):
                sizes.setdefault(dim, 2 if axis == 0 else 16)
    return sizes


def _with_other_sizes(
    chosen: SampleSet, signature: Signature, seed: int, bounds: dict[str, tuple[int, int]]
) -> SampleSet:
    """Two more draws where dimensions are free: all at size one, and all at more than the traced size.

    Of the user's samples the inputs of fixed sizes stay what they are: a rate of dropout means more than its dtype.
    """
    traced = sampling.sizes_of(signature, chosen.samples)
    if not traced:
        return chosen
    more = tuple(
        sampling.draw(signature, 1, seed + number, sizes, bounds).samples[0]
        for number, sizes in enumerate(
            (dict.fromkeys(traced, 1), {dim: size + max(1, size // 2) for dim, size in traced.items()}), start=1
        )
    )
    if chosen.origin == "user":
        fixed = [spec.name for spec in signature.inputs if not spec.is_dynamic]
        more = tuple({**sample, **{name: chosen.samples[0][name] for name in fixed}} for sample in more)
    return replace(chosen, samples=(*chosen.samples, *more))


def answer(source: Source, options: SourceOptions, crew: Crew, cache: Cache) -> Reference:
    """The source's answers in float32 and, where its framework and the model allow, float64; kept in the cache."""
    kind = KINDS[source.artifact.format]
    kind = replace(kind, toolchain=source.facts.get("toolchain", kind.toolchain))
    versions = _versions(kind)
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
        made = _ask(source, kind, crew, trust=options.trust)
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


def _ask(source: Source, kind: Kind, crew: Crew, *, trust: bool) -> dict[str, Any]:
    samples = list(source.samples.samples)
    is_sequence = bool(source.facts.get("sequence"))

    def run(what: str, inputs: list[Sample], double: bool) -> dict[str, Any]:
        with crew.lease(kind.toolchain, behind=True) as worker:
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
