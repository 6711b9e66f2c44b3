"""The source model: its signature, its samples, and its own answers in its own framework."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv import samples as sampling
from dlconv.asked.inputs import ranges_of
from dlconv.convert.onnx_signature import apply_inputs
from dlconv.drawing import draw
from dlconv.errors import RequestError, SamplesError, SignatureError
from dlconv.files.jsonfile import read_json, write_json
from dlconv.formats import Format
from dlconv.making.cache import key_of
from dlconv.model import Signature
from dlconv.reference.kinds import KINDS, Kind
from dlconv.samples import SampleSet
from dlconv.validators.answers import Answers
from dlconv.workers import toolchains

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.asked.options import SourceOptions
    from dlconv.drawing import Features
    from dlconv.making.cache import Cache
    from dlconv.model import Artifact
    from dlconv.samples import Sample
    from dlconv.workers.crew import Crew


ONNX_SIZES = "dlconv.convert.onnx_sizes:settle"
ONNX_OTHER_SIZES = "dlconv.convert.onnx_sizes:explore"
FACTS: tuple[str, ...] = ("stateful", "state", "sequence", "deterministic", "training", "opset", "trees")


@dataclass(frozen=True)
class Source:
    """A studied source. facts are what the study found besides: stateful, state, deterministic, opset, trees, ...

    flag is the `--input` that says what was inferred ("" where nothing was). bounds and features: of what is drawn for
    its inputs.
    spare: a sample at twice the traced sizes, asked of a source that does not take the larger one of `samples`.
    """

    artifact: Artifact
    signature: Signature
    samples: SampleSet
    notes: tuple[str, ...] = ()
    flag: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    features: Features = field(default_factory=dict)
    spare: tuple[Sample, ...] = ()


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
            "samples": self.samples.to_dict(),
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
    features: Features = found.get("features", {})
    ranges = {dim: ends for dim, ends in ranges_of(options.inputs).items() if dim in _free(signature)}
    sizes = _sizes(signature, {dim: _traced_size(ran) for dim, ran in found.get("sizes", {}).items()})
    if artifact.format is Format.ONNX and sizes and given is None:
        asked = {"signature": signature.to_dict(), "bounds": found.get("bounds", {})}
        sizes = _kept_call(ONNX_SIZES, artifact, asked, options.use_cache, crew, cache)["sizes"]
    if given is not None and options.samples is not None:
        user = sampling.split(given, signature, options.samples)
        if not user:
            raise SamplesError(f"there are no samples in {options.samples}", wanted="at least one")
        chosen = SampleSet(user, "user")
        _require_within(signature, user, ranges)
    else:
        sizes |= {dim: min(max(sizes[dim], least), most) for dim, (least, most) in ranges.items()}
        chosen = draw(signature, options.draws, options.seed, sizes, bounds, features)
    facts = {name: found[name] for name in FACTS if name in found}
    notes = tuple(found.get("notes", ()))
    traced = sampling.sizes_of(signature, chosen.samples)
    others = _other_sizes(traced, ranges)
    if artifact.format is Format.ONNX and traced:
        asked = {"signature": signature.to_dict(), "bounds": found.get("bounds", {}), "sizes": traced, "ranges": ranges}
        seen = _kept_call(ONNX_OTHER_SIZES, artifact, asked, options.use_cache, crew, cache)
        others, notes = seen["others"], (*notes, *seen["notes"])
        signature = _as_seen(signature, seen["outputs"])
    doubled = _doubled(traced, ranges)
    has_spare = bool(others) and artifact.format is not Format.ONNX and doubled not in others
    has_spare &= not facts.get("sequence")  # a step at another size would be a first call
    wanted = [*others, doubled] if has_spare else others
    more = _at_other_sizes(chosen, signature, options.seed, bounds, features, wanted)
    spare = more[len(others) :]
    chosen = replace(chosen, samples=(*chosen.samples, *more[: len(others)]))
    return Source(artifact, signature, chosen, notes, found.get("flag", ""), facts, bounds, features, spare)


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
            mend="save the model from after its decoding of strings (Keras: from behind TextVectorization or "
            "StringLookup, which stay in the application); of a frozen graph name the tensor there: "
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
    return key_of(study=function, source=artifact.digest, asked=asked, versions=versions_of(kind))


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


def versions_of(kind: Kind) -> dict[str, str]:
    """Of the packages that read models of the kind. Raises ToolchainMissing."""
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


def _free(signature: Signature) -> set[str]:
    return {dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)}


def _require_within(signature: Signature, samples: Sequence[Sample], ranges: Mapping[str, tuple[int, int]]) -> None:
    """Raises SamplesError for samples of sizes that the user's own ranges leave out."""
    strange = [
        f"sample {number}: axis {axis} of {spec.name} is {sample[spec.name].shape[axis]}, not from %d to %d"
        % ranges[dim]
        for number, sample in enumerate(samples)
        for spec in signature.inputs
        for axis, dim in enumerate(spec.shape or ())
        if isinstance(dim, str) and dim in ranges
        if not ranges[dim][0] <= sample[spec.name].shape[axis] <= ranges[dim][1]
    ]
    if strange:
        raise SamplesError(
            "samples are of sizes that --input leaves out", mend="widen the range", problems=tuple(strange[:8])
        )


def _other_sizes(traced: dict[str, int], ranges: Mapping[str, tuple[int, int]]) -> list[dict[str, int]]:
    """All free dimensions at size one, and all at more than the traced size; where they have a range, at its ends."""
    if not traced:
        return []
    ends = {dim: ranges.get(dim, (1, size + max(1, size // 2))) for dim, size in traced.items()}
    return [{dim: least for dim, (least, _) in ends.items()}, {dim: most for dim, (_, most) in ends.items()}]


def _doubled(traced: dict[str, int], ranges: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Twice the traced sizes, within their ranges: for models that take multiples alone, such as pictures whose sides
    are halved and joined again."""
    return {dim: min(2 * size, ranges[dim][1]) if dim in ranges else 2 * size for dim, size in traced.items()}


def _as_seen(signature: Signature, shapes: Mapping[str, list[Any]]) -> Signature:
    """`signature` with the shapes of outputs that the model was seen to give, where its file says otherwise."""
    outputs = (
        replace(spec, shape=tuple(shapes[spec.name])) if spec.name in shapes else spec for spec in signature.outputs
    )
    return replace(signature, outputs=tuple(outputs))


def _at_other_sizes(
    chosen: SampleSet,
    signature: Signature,
    seed: int,
    bounds: dict[str, tuple[int, int]],
    features: Features,
    others: Sequence[dict[str, int]],
) -> tuple[Sample, ...]:
    """A sample for each of the other sizes of free dimensions.

    Of the user's samples they are made; random numbers beside them would be judged, and are what no user ever gives.
    """
    if chosen.origin == "user":
        return tuple(sampling.resized(chosen.samples, signature, sizes) for sizes in others)
    return tuple(
        draw(signature, 1, seed + number, sizes, bounds, features).samples[0]
        for number, sizes in enumerate(others, start=1)
    )
