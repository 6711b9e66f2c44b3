"""The straight line of diff: two models in, the operators at which they part out, and a part that shows it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv import formats, parting, side_by_side
from dlconv import source as sources
from dlconv.cache import Cache
from dlconv.errors import RequestError, Unsupported
from dlconv.events import Event, Silence
from dlconv.formats import Format
from dlconv.options import SourceOptions
from dlconv.parting import FACTOR, UNITS, Parting, TensorError
from dlconv.repro import Repro, Shown
from dlconv.side_by_side import EMULATED, Pair
from dlconv.validators.matching import matched
from dlconv.validators.pairing import to_artifact
from dlconv.workers.crew import Crew, logs_folder

if TYPE_CHECKING:
    from dlconv.events import Listener
    from dlconv.source import Source
    from dlconv.validators.matching import Link


@dataclass(frozen=True)
class DiffOptions:
    """What `dlconv diff` was asked for.

    precision: emulate the model at it, and compare the model with itself; "" where there is a reference. source: what
    is said of the reference. links: pairs of inputs and outputs. factor: noise from which on tensors are parted.
    window: operators whose tensors are held at a time. repro: a folder for the smallest part that shows it.
    memory_limit_bytes and timeout_s (seconds) are of each worker.
    """

    precision: str = ""
    source: SourceOptions = field(default_factory=lambda: SourceOptions(draws=4))
    links: tuple[Link, ...] = ()
    factor: float = FACTOR
    window: int = 32
    repro: Path | None = None
    memory_limit_bytes: int | None = None
    timeout_s: float = 1800

    def __post_init__(self) -> None:
        """Raises RequestError for what cannot be served."""
        if self.precision not in ("", *EMULATED):
            raise RequestError(f"the precision {self.precision!r} is not emulated", wanted=" or ".join(EMULATED))
        if not self.factor > 0 or self.window < 1 or self.source.draws < 1:
            raise RequestError("a factor, a window or a number of draws is not positive", wanted="more than 0")


@dataclass(frozen=True)
class Difference:
    """What was found. partings: of every operator with a tensor that was compared, in the order of the graph.

    operators: how many the reference has. arithmetic: the reference's. precision: the candidate's, and unit its step.
    held: the most tensors of one sample that any side held at a time. notes: a line each.
    """

    candidate: str
    reference: str
    precision: str
    factor: float
    arithmetic: str
    samples: int
    operators: int
    partings: tuple[Parting, ...]
    outputs: tuple[TensorError, ...]
    held: int
    seconds: float
    notes: tuple[str, ...] = ()
    repro: Repro | None = None

    @property
    def first(self) -> Parting | None:
        """The first operator, in the order of the graph, at which they are parted."""
        return parting.first(self.partings, self.factor)

    @property
    def ranked(self) -> tuple[Parting, ...]:
        """The operators at which the error grows most, first."""
        return parting.ranked(self.partings)

    @property
    def word(self) -> str:
        """ "PARTED", "TOGETHER", or "INCONCLUSIVE" where no tensor could be compared."""
        if not self.partings:
            return "INCONCLUSIVE"
        return "PARTED" if self.first is not None else "TOGETHER"

    def to_dict(self) -> dict[str, Any]:
        first = self.first
        return {
            "word": self.word,
            "candidate": self.candidate,
            "reference": self.reference,
            "precision": self.precision,
            "unit": UNITS[self.precision],
            "factor": self.factor,
            "arithmetic": self.arithmetic,
            "samples": self.samples,
            "operators": self.operators,
            "held": self.held,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "first": None if first is None else first.to_dict(),
            "ranked": [each.to_dict() for each in self.ranked],
            "outputs": [each.to_dict() for each in self.outputs],
            "repro": None if self.repro is None else self.repro.to_dict(),
        }


def diff(candidate: Path, against: Path | None, options: DiffOptions, listener: Listener | None = None) -> Difference:
    """Find where `candidate` parts from `against`; or, with a precision, the model in it from itself.

    Raises RequestError for what cannot be compared.
    """
    told = listener or Silence()
    if (against is None) == (not options.precision):
        raise RequestError(
            "a candidate is compared with a reference, or a model with its emulation",
            wanted="one of --against and --precision",
        )
    with _crew(options) as crew:
        return found_in(candidate.absolute(), None if against is None else against.absolute(), options, crew, told)


def found_in(candidate: Path, against: Path | None, options: DiffOptions, crew: Crew, told: Listener) -> Difference:
    """`diff` of absolute paths, by workers that are there."""
    start = time.perf_counter()
    pair, precision, notes = _pair(candidate, against, options, crew)
    for note in notes:
        told.on(Event("note", "", note))
    with crew.lease("onnx") as worker:
        exact, unit = "float64", UNITS[precision]
        try:
            errors, held = side_by_side.compare(pair, exact, unit, options.window, worker, told)
        except Unsupported as error:
            exact, notes = "onnxruntime", (*notes, f"the reference is in float32: {error.met}")
            errors, held = side_by_side.compare(pair, exact, unit, options.window, worker, told)
        found = Difference(
            f"{candidate.name} in {precision}" if pair.emulates else candidate.name,
            pair.reference.name,
            precision,
            options.factor,
            "float64" if exact == "float64" else "float32",
            len(pair.samples),
            len(pair.operators),
            parting.partings(pair.operators, errors),
            tuple(errors[name] for name in pair.outline["outputs"] if name in errors),
            held,
            time.perf_counter() - start,
            notes,
        )
        if options.repro is None or found.first is None:
            return found
        shown = next(each for each in found.ranked if each.tensor.noise > options.factor)
        about = {"candidate": found.candidate, "reference": found.reference, "unit": unit, "factor": options.factor}
        written = Shown(pair, shown, exact, errors, about, worker).write(options.repro.absolute())
        return replace(found, repro=written, seconds=time.perf_counter() - start)


def _pair(candidate: Path, against: Path | None, options: DiffOptions, crew: Crew) -> tuple[Pair, str, tuple[str, ...]]:
    """The two models, the candidate's precision, and what there is to note."""
    cache = Cache()
    reference = against or candidate
    source = _studied(reference, options.source, crew, cache)
    samples = source.samples.samples[: options.source.draws]
    outline = _outline(reference, crew)
    made = [name for each in outline["operators"] for name in each["outputs"]]
    if against is None:
        names = dict(zip(made, made, strict=True))
        pair = Pair(reference, reference, options.precision, outline, outline, samples, samples, names)
        return pair, options.precision, source.notes
    theirs = _studied(candidate, SourceOptions(draws=1), crew, cache)
    signature, told = matched(source.signature, theirs.signature, options.links, one_family=True)
    other = _outline(candidate, crew)
    has = {name for each in other["operators"] for name in each["outputs"]}
    names = {name: name for name in made if name in has}
    names |= {spec.source_name: spec.name for spec in signature.outputs if spec.name in has}
    given = tuple(to_artifact(sample, signature) for sample in samples)
    pair = Pair(reference, candidate, "onnxruntime", outline, other, samples, given, names)
    return pair, str(other["precision"]), (*source.notes, *told)


def _studied(path: Path, options: SourceOptions, crew: Crew, cache: Cache) -> Source:
    artifact = formats.open_model(path)
    if artifact.format is not Format.ONNX:
        raise RequestError(f"{path} is {artifact.format.label}", wanted="an ONNX model")
    return sources.study(artifact, options, crew, cache)


def _outline(path: Path, crew: Crew) -> dict[str, Any]:
    with crew.lease("onnx") as worker:
        found: dict[str, Any] = worker.call(
            "dlconv.runtimes.onnx_outputs:outline", what=f"reading {path.name}", path=str(path)
        )
    return found


def _crew(options: DiffOptions) -> Crew:
    return Crew(
        logs_folder(),
        slots=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_limit_bytes=options.memory_limit_bytes,
        timeout_s=options.timeout_s,
    )
