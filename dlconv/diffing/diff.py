"""The straight line of diff: two models in, the operators at which they part out, and a part that shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv import opening
from dlconv.asked.options import SourceOptions
from dlconv.candidate import runtime_for
from dlconv.diffing import counterpart, parting, side_by_side
from dlconv.diffing.courses import COURSES, ONNX_OUTLINE, Course
from dlconv.diffing.difference import Difference
from dlconv.diffing.parting import FACTOR, UNITS
from dlconv.diffing.parts import Conversion
from dlconv.diffing.prefixes import Prefixes
from dlconv.diffing.repro import SCRIPTED, Shown
from dlconv.diffing.side_by_side import EMULATED, Pair, Run
from dlconv.errors import RequestError, Unsupported
from dlconv.events import Event, Silence
from dlconv.formats import Format
from dlconv.making.cache import Cache
from dlconv.reference import source as sources
from dlconv.validators.parity import FACTORS
from dlconv.workers.crew import Crew, logs_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.diffing.counterpart import Counterpart
    from dlconv.diffing.parting import TensorError
    from dlconv.events import Listener
    from dlconv.model import Signature
    from dlconv.samples import Sample
    from dlconv.validators.matching import Link

_SLOTS: Final = 2
"""Workers side by side: the reference's and the candidate's."""
_BARE: Final = (
    "the artifact's tensors were shown by its runtime without a delegate; its outputs are those of a usual run"
)
_CALIBRATED: Final = "the samples that the artifact was quantised by are not here: no part of it is converted anew"
_DELEGATE: Final = "without a delegate the artifact is right: what is wrong is done by the delegate"
_NOT_ANEW: Final = "converted anew the model is right: the artifact is not what its route makes of the source now"


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
    window: int = 8
    repro: Path | None = None
    memory_limit_bytes: int | None = None
    timeout_s: float = 1800

    def __post_init__(self) -> None:
        """Raises RequestError for what cannot be served."""
        if self.precision not in ("", *EMULATED):
            raise RequestError(f"the precision {self.precision!r} is not emulated", wanted=" or ".join(EMULATED))
        if (self.factor is not None and not self.factor > 0) or self.window < 1 or self.source.draws < 1:
            raise RequestError("a factor, a window or a number of draws is not positive", wanted="more than 0")


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
    with _crew(options, told) as crew:
        return found_in(candidate.absolute(), None if against is None else against.absolute(), options, crew, told)


def found_in(candidate: Path, against: Path | None, options: DiffOptions, crew: Crew, told: Listener) -> Difference:
    """`diff` of absolute paths, by workers that are there; two slots of the crew at least."""
    start = time.perf_counter()
    cache = Cache()
    matter = _emulation(candidate, options, crew, cache)
    if matter is None:
        found = counterpart.find(candidate, against, options.source, options.links, crew, cache, told)
        matter = _matter(found, (candidate if against is None else against).name, options, crew, cache, told)
    for note in matter.notes:
        told.on(Event("note", "", note))
    compare = _side_by_side if matter.whole is None else _by_parts
    try:
        pair, met = matter.pair, compare(matter, options.window, crew, told)
    except Unsupported as error:
        if matter.pair.reference.arithmetic != "float64":
            raise
        pair = replace(matter.pair, reference=matter.pair.single)
        matter = replace(matter, pair=pair, notes=(*matter.notes, f"the reference is in float32: {error.met}"))
        met = compare(matter, options.window, crew, told)
    difference = Difference(
        f"{candidate.name} in {matter.precision}" if pair.candidate.emulates else candidate.name,
        matter.reference,
        matter.precision,
        matter.factor,
        "float64" if pair.reference.arithmetic == "float64" else "float32",
        len(pair.reference.samples),
        len(pair.operators),
        parting.partings(pair.operators, met.errors),
        tuple(met.errors[name] for name in pair.outline["outputs"] if name in met.errors),
        met.held,
        time.perf_counter() - start,
        (*matter.notes, *met.notes),
        kept=matter.kept,
    )
    if options.repro is None or difference.first is None:
        return difference
    conversion = None if matter.whole is None else matter.whole.conversion
    if conversion is not None and conversion.runtime.name not in SCRIPTED:
        note = f"no part was written: its script knows {', '.join(SCRIPTED)}, not {conversion.runtime.name}"
        return replace(difference, notes=(*difference.notes, note))
    shown = next(each for each in difference.ranked if each.tensor.noise > difference.factor)
    about = {
        "candidate": difference.candidate,
        "reference": difference.reference,
        "unit": UNITS[matter.precision],
        "factor": difference.factor,
    }
    is_calibrated = matter.precision == "int8" and not pair.candidate.emulates
    written = Shown(pair, shown, met.errors, about, conversion, crew, is_calibrated).write(options.repro.absolute())
    return replace(difference, repro=written, seconds=time.perf_counter() - start)


@dataclass(frozen=True)
class _Whole:
    """A candidate that no part can be cut out of: how parts are made like it, and what it answers as a whole, a set a
    sample, by the reference's names of its outputs."""

    conversion: Conversion
    answers: tuple[Sample, ...]


@dataclass(frozen=True)
class _Matter:
    """What is compared, and what is known of it. reference: its name, for a person. whole: None where the candidate
    shows its tensors, and parts can be cut out of it."""

    pair: Pair
    reference: str
    precision: str
    factor: float
    notes: tuple[str, ...]
    whole: _Whole | None = None
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Met:
    """What was measured: errors by tensor, the most tensors held at a time, and what there is to note."""

    errors: dict[str, TensorError]
    held: int
    notes: tuple[str, ...] = ()


def _side_by_side(matter: _Matter, window: int, crew: Crew, told: Listener) -> _Met:
    return _Met(*side_by_side.compare(matter.pair, UNITS[matter.precision], window, crew, told))


def _by_parts(matter: _Matter, window: int, crew: Crew, told: Listener) -> _Met:
    """By what the candidate answers as a whole; by its tensors, where it shows most of them and these part; else by
    prefixes that are converted anew."""
    assert matter.whole is not None
    pair, unit, notes = matter.pair, UNITS[matter.precision], list[str]()
    outputs = tuple(matter.whole.answers[0])
    prefixes = Prefixes(
        pair.reference, pair.operators, outputs, matter.whole.conversion, unit, matter.factor, window, told
    )
    whole = prefixes.measured(matter.whole.answers, outputs)
    is_right = all(error.noise <= matter.factor for error in whole.values())
    shown = _Met({}, 0)
    if len(pair.names) - len(outputs) >= len(pair.operators) / 2:
        try:
            shown = _side_by_side(matter, window, crew, told)
        except Unsupported as error:  # of the candidate: the reference has run
            notes.append(f"the artifact's tensors are not shown: {error.met}")
    first = parting.first(parting.partings(pair.operators, shown.errors), matter.factor)
    if shown.errors and (is_right or (first is not None and len(first.operators) == 1)):
        return _Met({**shown.errors, **whole}, shown.held, (_BARE,))
    if is_right:
        return _Met(whole, len(outputs), tuple(notes))
    if matter.precision == "int8":
        return _Met({**shown.errors, **whole}, shown.held, (*notes, _BARE if shown.errors else _CALIBRATED))
    notes += [_DELEGATE] if shown.errors and first is None else []
    found = prefixes.bisect()
    if found is None:
        return _Met(whole, len(outputs), (*notes, _NOT_ANEW))
    count = f"{found.tried} prefixes were converted: right up to operator {found.right}, wrong from {found.wrong} on"
    return _Met({**whole, **found.errors}, len(found.errors), (*notes, count))


def _matter(found: Counterpart, name: str, options: DiffOptions, crew: Crew, cache: Cache, told: Listener) -> _Matter:
    ours, runtime = found.reference, runtime_for(found.target)
    course = COURSES.get(found.target, Course(runtime.toolchain))
    outline = _outline("onnx", ONNX_OUTLINE, ours.path, crew)
    theirs = _outline(course.toolchain, course.outline, found.artifact, crew) if course.outline else {"operators": []}
    names, axes = _paired(outline, theirs, ours.signature, found.signature)
    given = found.given(found.signature, found.artifact)
    candidate = Run(found.artifact, given, course.arithmetic, course.module, course.toolchain, course.cut)
    reference = Run(ours.path, found.given(ours.signature, ours.path), "float64")
    pair = Pair(reference, candidate, outline, theirs, names, axes, is_loose=not course.cut)
    whole = None
    if not course.cut:
        conversion = Conversion(found.edges, found.target, runtime, crew, cache, told)
        answers = conversion.answers(found.artifact, found.signature, found.samples)
        whole = _Whole(conversion, tuple(_as_outputs_of(ours.signature, each) for each in answers))
    return _Matter(
        pair,
        name if not ours.records else f"{name}, by {ours.records[-1].edge}",
        found.precision or str(theirs.get("precision", "float32")),
        options.factor or FACTORS.get(runtime.name, FACTOR),
        found.notes,
        whole,
        found.kept,
    )


def _as_outputs_of(signature: Signature, answers: Sample) -> Sample:
    """Answers in the source's names and axes, as the model of that signature would give them."""
    found = {spec.name: (answers[spec.source_name], spec.permutation) for spec in signature.outputs
             if spec.source_name in answers}  # fmt: skip
    return {name: array.transpose(axes) if axes else array for name, (array, axes) in found.items()}


def _emulation(path: Path, options: DiffOptions, crew: Crew, cache: Cache) -> _Matter | None:
    """The model and its emulation, where that is asked for."""
    if not options.precision:
        return None
    artifact = opening.open_model(path)
    if artifact.format is not Format.ONNX:
        raise RequestError(f"{path} is {artifact.format.label}: ONNX is emulated", mend="dlconv export --to onnx")
    source = sources.study(artifact, options.source, crew, cache)
    outline = _outline("onnx", ONNX_OUTLINE, path, crew)
    samples = source.samples.samples[: options.source.draws]
    made = [name for each in outline["operators"] for name in each["outputs"]]
    exact, emulated = (Run(path, samples, arithmetic) for arithmetic in ("float64", options.precision))
    pair = Pair(exact, emulated, outline, outline, dict(zip(made, made, strict=True)))
    return _Matter(pair, path.name, options.precision, options.factor or FACTOR, source.notes)


def _paired(
    outline: Mapping[str, Any], theirs: Mapping[str, Any], ours: Signature, artifact: Signature
) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The candidate's tensor by the reference's, where both have it: same names, and outputs that stand for one; and of
    these the axes, where they are in another order."""
    has = {name: name for each in theirs["operators"] for name in each["outputs"]} | theirs.get("aliases", {})
    made = {name for each in outline["operators"] for name in each["outputs"]}
    names = {name: has[name] for each in outline["operators"] for name in each["outputs"] if name in has}
    axes: dict[str, tuple[int, ...]] = {}
    outputs = {spec.source_name: spec for spec in artifact.outputs}
    for spec in ours.outputs:
        other = outputs.get(spec.source_name)
        if other is None or spec.name not in made or other.name not in has:
            continue
        names[spec.name] = has[other.name]
        if spec.permutation != other.permutation:
            rank = len(spec.permutation or other.permutation)
            straight = sorted(range(rank), key=(other.permutation or tuple(range(rank))).__getitem__)
            axes[spec.name] = tuple(straight[axis] for axis in spec.permutation or range(rank))
    return names, axes


def _outline(toolchain: str, function: str, path: Path, crew: Crew) -> dict[str, Any]:
    with crew.lease(toolchain) as worker:
        found: dict[str, Any] = worker.call(function, what=f"reading {path.name}", path=str(path))
    return found


def _crew(options: DiffOptions, told: Listener) -> Crew:
    return Crew(
        logs_folder(),
        slots=_SLOTS,
        memory_limit_bytes=options.memory_limit_bytes,
        timeout_s=options.timeout_s,
        told=told,
    )
