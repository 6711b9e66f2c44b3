"""Sides of a measurement: a bundle, or a model file of a format that something here runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dlconv import opening
from dlconv.asked import runtime_options
from dlconv.candidate import at_precision, factor_of, find_runtime, runtime_of, takes
from dlconv.errors import MachineError, RequestError, SamplesError
from dlconv.hardware.provided import by_provider, check, of_bundle
from dlconv.records.bundle import is_bundle, open_bundle
from dlconv.reference import source as sources
from dlconv.reference.kinds import KINDS
from dlconv.runtimes.state import read_initial
from dlconv.samples import read_samples, split
from dlconv.validators.judging import checks
from dlconv.validators.pairing import narrowing, to_artifact, to_source
from dlconv.validators.parity import measure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dlconv.asked.options import SourceOptions
    from dlconv.candidate import TargetRuntime
    from dlconv.making.cache import Cache
    from dlconv.model import Artifact, Signature
    from dlconv.records.bundle import Bundle
    from dlconv.samples import Sample
    from dlconv.validators.verdict import Check
    from dlconv.workers.crew import Crew


@dataclass(frozen=True)
class Side:
    """A model to be timed. name: unique among the sides. path: what the runtime opens. samples: in the artifact's own
    names and axes; numbers: theirs in the set that they were taken from. size_bytes: of all its files.
    bundle: where it is one, and ran on its own samples: then its timed answers can be judged. threads: of its own, 0
    for those that the measurement gives to all. options: of its runtime, as `runtime_options` has them.
    """

    name: str
    path: Path
    runtime: TargetRuntime
    signature: Signature
    samples: tuple[Sample, ...]
    numbers: tuple[int, ...]
    size_bytes: int
    bundle: Bundle | None = None
    threads: int = 0
    options: tuple[str, ...] = ()

    def with_options(self, options: Sequence[str], threads: int) -> Side:
        """The same with options of its runtime, which stand in its name. threads: those that it will have.

        Raises RequestError for one that the runtime does not have, or that is said twice, or needs more threads.
        """
        settings: dict[str, Any] = dict(self.runtime.settings)
        names = [text.partition("=")[0] for text in options]
        for text in options:
            option = runtime_options.find(self.runtime.name, text)
            if names.count(text.partition("=")[0]) > 1:
                raise RequestError(f"{text.partition('=')[0]} is said more than once: {', '.join(options)}")
            if threads < option.least_threads:
                raise RequestError(f"{text} is nothing with {threads} thread", mend=f"--threads {option.least_threads}")
            settings |= option.settings
        runtime = replace(self.runtime, settings=settings)
        return replace(self, name=", ".join((self.name, *options)), runtime=runtime, options=tuple(options))


def open_side(path: Path, name: str, options: SourceOptions, crew: Crew, cache: Cache, provider: str = "") -> Side:
    """What lies at `path`: a bundle, on its own samples or on those of `options`; or a model file.

    provider: ONNX Runtime's, that shall run it; "" for the one that it was made for.

    Raises RequestError for what nothing here runs, and where a bundle's file has changed; SamplesError or
    SignatureError where no samples fit.
    """
    path = path.absolute()  # workers have a directory of their own
    if is_bundle(path):
        return side_of_bundle(open_bundle(path), name, options, provider)
    artifact = opening.open_model(path)
    runtime = runtime_of(artifact.format)
    if runtime is None:
        raise RequestError(
            f"{path} is {artifact.format.label}, which nothing here runs",
            wanted="a bundle, or " + ", ".join(kind.value for kind in KINDS),
        )
    runtime = by_provider(runtime, provider)
    if provider:
        check(provider)
    studied = sources.study(artifact, options, crew, cache)
    size_bytes = sum(file.stat().st_size for file in opening.identify(path).files)
    samples = studied.samples.samples
    return Side(name, artifact.path, runtime, studied.signature, samples, tuple(range(len(samples))), size_bytes)


def side_of_model(
    artifact: Artifact, runtime: TargetRuntime, name: str, signature: Signature, samples: Sequence[Sample]
) -> Side:
    """A model file, on those of the samples that it takes. signature: with the samples' names as `source`. Raises
    SamplesError where it takes none."""
    numbers = tuple(number for number, sample in enumerate(samples) if takes(signature, sample))
    if not numbers:
        raise SamplesError(f"{name} takes none of the samples", wanted=", ".join(map(str, signature.inputs)))
    own = _taken(artifact.path, signature, samples, numbers)
    size_bytes = sum(file.stat().st_size for file in opening.identify(artifact.path).files)
    return Side(name, artifact.path, runtime, signature, own, numbers, size_bytes)


def side_of_bundle(bundle: Bundle, name: str, options: SourceOptions | None = None, provider: str = "") -> Side:
    """A bundle, on the samples of its own that it takes; or on those in the file that `options` names."""
    changes = bundle.changes()
    if changes:
        raise RequestError(f"{bundle.place} is not what was exported", problems=changes, mend="export the model again")
    runtime = find_runtime(bundle.target)
    if runtime is None:
        raise MachineError(f"dlconv knows no runtime for the target {bundle.target}")
    runtime = at_precision(of_bundle(runtime, bundle.target, bundle.provider, provider), bundle.precision)
    file = None if options is None else options.samples
    if file is None:
        samples = bundle.reference().samples.samples
    else:
        samples = split(read_samples(file), bundle.source_signature, file)
    numbers = tuple(number for number, sample in enumerate(samples) if takes(bundle.signature, sample))
    if not numbers:
        raise SamplesError(f"{name} takes none of the samples", wanted=", ".join(map(str, bundle.signature.inputs)))
    return Side(
        name,
        bundle.entry,
        runtime,
        bundle.signature,
        _taken(bundle.entry, bundle.signature, samples, numbers),
        numbers,
        int(bundle.receipt["artifact"]["size_bytes"]),
        bundle if file is None else None,
    )


def _taken(entry: Path, signature: Signature, samples: Sequence[Sample], numbers: Sequence[int]) -> tuple[Sample, ...]:
    """The samples as the artifact takes them; its state, where it has some, as in a first call."""
    first = read_initial(entry.parent, signature)
    return tuple({**to_artifact(samples[number], signature), **first} for number in numbers)


def _without_state(answer: Sample, signature: Signature) -> Sample:
    given_back = {state.output for state in signature.state}
    return {name: array for name, array in answer.items() if name not in given_back}


def judge_answers(side: Side, answers: Mapping[int, Sample]) -> tuple[Check, ...]:
    """The parity of the outputs of timed runs (by the sample's number) with the reference in the bundle, by its bars.

    () for a side whose reference is not known.
    """
    if side.bundle is None or not answers:
        return ()
    # Of an artifact with state each timed run is a first call: so is the first step of the reference's sequence alone.
    numbers = [number for number in sorted(answers) if number == 0 or not side.signature.state]
    if not numbers:
        return ()
    reference, precision = side.bundle.reference(), side.bundle.precision
    evidence = measure(
        reference.answers.at(numbers),
        [to_source(_without_state(answers[number], side.signature), side.signature) for number in numbers],
        factor_of(side.runtime, precision),
        reference.floors if precision == "fp32" else side.bundle.noise,
        narrowing(side.bundle.source_signature, side.signature),
    )
    evidence = replace(evidence, precision=precision)
    return tuple(
        check for check in checks(evidence, side.bundle.bars.without_labels()) if check.name in ("answers", "parity")
    )
