"""The straight line of diff: two models in, the operators at which they part out, and a part that shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv import counterpart, formats, parting, side_by_side
from dlconv import source as sources
from dlconv.cache import Cache
from dlconv.errors import RequestError, Unsupported
from dlconv.events import Event, Silence
from dlconv.formats import Format
from dlconv.options import SourceOptions
from dlconv.parting import FACTOR, UNITS, Parting, TensorError
from dlconv.parts import Conversion
from dlconv.repro import Repro, Shown
from dlconv.side_by_side import EMULATED, Pair, Run
from dlconv.validators.parity import FACTORS
from dlconv.workers.crew import Crew, logs_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.events import Listener
    from dlconv.model import Signature
    from dlconv.validators.matching import Link


@dataclass(frozen=True)
class _Course:
    """How the artifacts of a target show their tensors."""

    runtime: str
    toolchain: str
    module: str
    outline: str
    arithmetic: str
    cut: str


_ONNX_OUTLINE: Final = "dlconv.runtimes.onnx_outputs:outline"
_ONNX: Final = _Course(
    "onnxruntime",
    "onnx",
    "dlconv.runtimes.onnx_courses",
    _ONNX_OUTLINE,
    "onnxruntime",
    "dlconv.runtimes.onnx_outputs:cut",
)
_COURSES: Final = {
    "onnx": _ONNX,
    "onnxruntime": _ONNX,
    "openvino": _Course(
        "openvino",
        "openvino",
        "dlconv.runtimes.openvino_courses",
        "dlconv.runtimes.openvino_courses:outline",
        "float32",
        "dlconv.runtimes.openvino_courses:cut",
    ),
}
_SLOTS: Final = 2
"""Workers side by side: the reference's and the candidate's."""


@dataclass(frozen=True)
class DiffOptions:
    """What `dlconv diff` was asked for.

    precision: emulate the model at it, and compare the model with itself; "" where there is a reference. source: what
    is said of the reference. links: pairs of inputs and outputs. factor: noise from which on tensors are parted, None
    for the factor that float32 artifacts of the target are judged by. window: operators whose tensors are held at a
    time. repro: a folder for the smallest part that shows it.
    memory_limit_bytes and timeout_s (seconds) are of each worker.
    """

    precision: str = ""
    source: SourceOptions = field(default_factory=lambda: SourceOptions(draws=4))
    links: tuple[Link, ...] = ()
    factor: float | None = None
    window: int = 32
    repro: Path | None = None
    memory_limit_bytes: int | None = None
    timeout_s: float = 1800

    def __post_init__(self) -> None:
        """Raises RequestError for what cannot be served."""
        if self.precision not in ("", *EMULATED):
            raise RequestError(f"the precision {self.precision!r} is not emulated", wanted=" or ".join(EMULATED))
        if (self.factor is not None and not self.factor > 0) or self.window < 1 or self.source.draws < 1:
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
    """Find where `candidate` (a model file, or a bundle) parts from `against`; or, with a precision, from itself.

    against: the model that is right; of a bundle the one that it was made from, None where that lies beside.

    Raises RequestError for what cannot be compared.
    """
    told = listener or Silence()
    if against is not None and options.precision:
        raise RequestError(
            "a candidate is compared with a reference, or a model with its emulation",
            wanted="one of --against and --precision",
        )
    with _crew(options) as crew:
        return found_in(candidate.absolute(), None if against is None else against.absolute(), options, crew, told)


def found_in(candidate: Path, against: Path | None, options: DiffOptions, crew: Crew, told: Listener) -> Difference:
    """`diff` of absolute paths, by workers that are there; two slots of the crew at least."""
    start = time.perf_counter()
    cache = Cache()
    matter = _matter(candidate, against, options, crew, cache, told)
    for note in matter.notes:
        told.on(Event("note", "", note))
    pair, unit, notes = matter.pair, UNITS[matter.precision], matter.notes
    try:
        errors, held = side_by_side.compare(pair, unit, options.window, crew, told)
    except Unsupported as error:
        if pair.reference.arithmetic != "float64":
            raise
        notes = (*notes, f"the reference is in float32: {error.met}")
        pair = replace(pair, reference=pair.single)
        errors, held = side_by_side.compare(pair, unit, options.window, crew, told)
    found = Difference(
        f"{candidate.name} in {matter.precision}" if pair.candidate.emulates else candidate.name,
        matter.reference,
        matter.precision,
        matter.factor,
        "float64" if pair.reference.arithmetic == "float64" else "float32",
        len(pair.reference.samples),
        len(pair.operators),
        parting.partings(pair.operators, errors),
        tuple(errors[name] for name in pair.outline["outputs"] if name in errors),
        held,
        time.perf_counter() - start,
        notes,
    )
    if options.repro is None or found.first is None:
        return found
    shown = next(each for each in found.ranked if each.tensor.noise > found.factor)
    about = {"candidate": found.candidate, "reference": found.reference, "unit": unit, "factor": found.factor}
    written = Shown(pair, shown, errors, about, matter.conversion, crew).write(options.repro.absolute())
    return replace(found, repro=written, seconds=time.perf_counter() - start)


@dataclass(frozen=True)
class _Matter:
    """What is compared, and what is known of it. reference: its name, for a person. conversion: as of `Shown`."""

    pair: Pair
    reference: str
    precision: str
    factor: float
    notes: tuple[str, ...]
    conversion: Conversion | None = None


def _matter(
    candidate: Path, against: Path | None, options: DiffOptions, crew: Crew, cache: Cache, told: Listener
) -> _Matter:
    if options.precision:
        return _emulation(candidate, options, crew, cache)
    found = counterpart.find(candidate, against, options.source, options.links, crew, cache, told)
    reference = found.reference
    course = _COURSES.get(found.target)
    if course is None:
        raise RequestError(f"{candidate} is of the target {found.target}", wanted=f"one of {', '.join(_COURSES)}")
    outline = _outline("onnx", _ONNX_OUTLINE, reference.path, crew)
    theirs = _outline(course.toolchain, course.outline, found.artifact, crew)
    pair = Pair(
        Run(reference.path, found.given(reference.signature, reference.path), "float64"),
        Run(
            found.artifact,
            found.given(found.signature, found.artifact),
            course.arithmetic,
            course.module,
            course.toolchain,
            course.cut,
        ),
        outline,
        theirs,
        _names(outline, theirs, reference.signature, found.signature),
    )
    name = candidate.name if against is None else against.name
    via = "" if len(reference.records) == 0 else f", by {reference.records[-1].edge}"
    factor = options.factor or FACTORS[course.runtime]
    precision = found.precision or str(theirs["precision"])
    return _Matter(pair, f"{name}{via}", precision, factor, found.notes)


def _emulation(path: Path, options: DiffOptions, crew: Crew, cache: Cache) -> _Matter:
    artifact = formats.open_model(path)
    if artifact.format is not Format.ONNX:
        raise RequestError(f"{path} is {artifact.format.label}: ONNX is emulated", mend="dlconv export --to onnx")
    source = sources.study(artifact, options.source, crew, cache)
    outline = _outline("onnx", _ONNX_OUTLINE, path, crew)
    samples = source.samples.samples[: options.source.draws]
    made = [name for each in outline["operators"] for name in each["outputs"]]
    exact, emulated = (Run(path, samples, arithmetic) for arithmetic in ("float64", options.precision))
    pair = Pair(exact, emulated, outline, outline, dict(zip(made, made, strict=True)))
    return _Matter(pair, path.name, options.precision, options.factor or FACTOR, source.notes)


def _names(
    outline: Mapping[str, Any], theirs: Mapping[str, Any], ours: Signature, artifact: Signature
) -> dict[str, str]:
    """The candidate's tensor by the reference's, where both have it: same names, and outputs that stand for one."""
    has = {name: name for each in theirs["operators"] for name in each["outputs"]} | theirs.get("aliases", {})
    made = [name for each in outline["operators"] for name in each["outputs"]]
    outputs = {spec.source_name: spec.name for spec in artifact.outputs}
    stands = {spec.name: outputs[spec.source_name] for spec in ours.outputs if spec.source_name in outputs}
    names = {name: has[name] for name in made if name in has}
    return names | {name: has[other] for name, other in stands.items() if name in made and other in has}


def _outline(toolchain: str, function: str, path: Path, crew: Crew) -> dict[str, Any]:
    with crew.lease(toolchain) as worker:
        found: dict[str, Any] = worker.call(function, what=f"reading {path.name}", path=str(path))
    return found


def _crew(options: DiffOptions) -> Crew:
    return Crew(
        logs_folder(),
        slots=_SLOTS,
        memory_limit_bytes=options.memory_limit_bytes,
        timeout_s=options.timeout_s,
    )
