"""The straight line of export: a model in, a judged bundle a target out."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from dlconv import opening, planning, targets
from dlconv.asked.bars import EVERY
from dlconv.asked.keeplist import write_keep_list
from dlconv.errors import ConversionError
from dlconv.events import Event, Listener, Silence
from dlconv.formats import Format
from dlconv.hardware import provided
from dlconv.making.cache import Cache
from dlconv.making.steps import Product, StepRunner
from dlconv.metrics.scoring import open_task
from dlconv.precision import calibration, reducing
from dlconv.records import bundle
from dlconv.records.outcome import Outcome, Report, skipped
from dlconv.reference import answering
from dlconv.reference import source as sources
from dlconv.reference.kinds import KINDS
from dlconv.shortfall import shortfall
from dlconv.targets import Run
from dlconv.validators.drops import too_few
from dlconv.workers import toolchains
from dlconv.workers.crew import Crew, logs_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dlconv.asked.options import ExportOptions
    from dlconv.errors import ToolchainMissing
    from dlconv.model import Artifact
    from dlconv.planning import Plan, TargetPlan
    from dlconv.precision.reducing import Reduction
    from dlconv.reference.source import Reference, Source
    from dlconv.samples import SampleSet

_WORKER_BYTES = 1 << 30
"""What a worker needs whatever the model: a framework and its libraries."""
_MODEL_COPIES = 6
"""What a step needs of memory, in sizes of the model: the largest seen is 5.2 (torch.jit.load and its export)."""

_ROUNDS = 3
"""How often a search makes the targets that miss their bars."""
_SPARED = 0.9
"""Of what a missed bar leaves, the share that the next round of a search may use: a hair would be missed again."""


def plan(path: Path, options: ExportOptions) -> Plan:
    """How the model at `path` would reach each target here. Raises as `opening.open_artifact`."""
    return planning.make(opening.identify_source(path).format, options, path)


def export(path: Path, options: ExportOptions, listener: Listener | None = None) -> Report:
    """Convert the model at `path` to each target, judge each result, and leave a bundle for each.

    Raises before any work: RequestError for a wrong file or wrong options, ToolchainMissing with all that is
    missing, MachineError where a provider does not run here, OutputError.
    What goes wrong with one target is that target's result, and no other's. A target whose hardware is not here is
    SKIPPED where others can be made, unless it is required.
    """
    told = listener or Silence()
    path = path.absolute()  # workers have a directory of their own
    found = opening.identify_source(path).format
    planned = planning.make(found, options, path)
    if options.install:
        _install(planned, told)
        planned = planning.make(found, options, path)
    planned, without = planned.split(options.require)
    calibration.check(options)
    artifact = opening.open_artifact(path)  # last: its digest takes as long as the file is large
    places = {goal.target: place_of(artifact.path, goal.target, options) for goal in planned.targets}
    for place in places.values():
        bundle.check_writable(place)
    cache = Cache() if options.use_cache else Cache(Path(tempfile.mkdtemp(prefix="dlconv-")))
    jobs = options.jobs or _jobs(artifact)
    crew = Crew(
        logs_folder(),
        slots=jobs,
        memory_limit_bytes=options.memory_limit_bytes,
        timeout_s=options.timeout_s,
        told=told,
    )
    try:
        with crew:
            provided.prove(options.provider, crew)
            made = _export(artifact, planned, places, options, crew, cache, told)
        skips = [_without(artifact, target, error, options, made) for target, error in without.items()]
        in_order = sorted((*made, *skips), key=lambda outcome: options.targets.index(outcome.target))
        return Report(tuple(in_order), frozenset(without))
    finally:
        if not options.use_cache:
            cache.remove()


def _export(
    artifact: Artifact,
    planned: Plan,
    places: dict[str, Path],
    options: ExportOptions,
    crew: Crew,
    cache: Cache,
    told: Listener,
) -> list[Outcome]:
    is_known = sources.is_studied(artifact, options.of_source, cache)
    reader = KINDS[artifact.format].toolchain
    _warm(planned, reader, crew, is_known=is_known)
    source = sources.study(artifact, options.of_source, crew, cache)
    if not is_known:
        crew.warm([reader], behind=_is_behind(options))
    for note in source.notes:
        told.on(Event("note", "", note))
    if source.flag:
        told.on(Event("note", "", f"the signature was inferred; to say the same: {source.flag}"))
    calibrated = calibration.of(options, source)
    for note in () if calibrated is None else calibration.notes_on(calibrated, options):
        told.on(Event("note", "", note))
    task = open_task(options.metric, options.labels, source.signature)
    runner = StepRunner(
        crew,
        cache,
        Product(artifact.path.parent, artifact.path.name, source.signature, artifact.digest),
        source.samples.samples,
        told,
        options=options,
        calibration=calibrated,
    )
    with ThreadPoolExecutor(len(planned.targets) + 1, thread_name_prefix="dlconv") as pool:
        try:
            reference = pool.submit(_reference, source, options, crew, cache, told)
            if task is not None:  # what does not fit, or cannot show what is asked, is known before any work
                labels = task.check(reference.result().answers.y32)
                if few := too_few(labels, options.bars.of(EVERY).max_drop or 0.0):
                    told.on(Event("note", "", f"{task.metric} will not be conclusive: {few}"))
            run = Run(source, reference.result, runner, options, crew, told, task=task)

            def made(asked: Run, goals: Iterable[TargetPlan]) -> list[Outcome]:
                running = [pool.submit(targets.make, goal, places[goal.target], asked) for goal in goals]
                return [future.result() for future in running]

            if options.precision == "fp32":
                outcomes = made(run, planned.targets)
                if not reference.done():  # nothing was made that it could judge
                    crew.end()
                return outcomes
            return _in_precision(run, planned.targets, calibrated, cache, made)
        except BaseException:
            crew.end()  # else the pool would wait for workers that nobody wants any more
            raise


def _is_behind(options: ExportOptions) -> bool:
    """Whether targets are made while the reference answers. Below fp32 they wait for it: it is to be done at once."""
    return options.precision == "fp32"


def _reference(source: Source, options: ExportOptions, crew: Crew, cache: Cache, told: Listener) -> Reference:
    start = time.perf_counter()
    reference = answering.answer(source, options.of_source, crew, cache, behind=_is_behind(options))
    for note in reference.notes:
        told.on(Event("note", "", note))
    text = f"{len(reference.samples.samples)} samples answered by {reference.runtime} in {reference.precision}"
    if reference.reason:
        text += f" ({reference.reason})"
    told.on(Event("reference", "", text, time.perf_counter() - start))
    return reference


def _in_precision(
    run: Run,
    goals: Sequence[TargetPlan],
    calibrated: SampleSet | None,
    cache: Cache,
    made: Callable[[Run, Iterable[TargetPlan]], list[Outcome]],
) -> list[Outcome]:
    """All targets in a precision below fp32: one after the other, as what cannot be held is known before any is built.

    A search keeps what an ideal implementation needs. Where a real one misses its bar with that, more is looked for and
    it is made again, at most _ROUNDS times and within the search's time.
    """
    asked, end, share = run.options, time.monotonic() + run.options.search_s, 1.0
    outcomes: dict[str, Outcome] = {}
    missed = list(goals)
    for number in range(_ROUNDS if asked.search else 1):
        if number:
            names = " and ".join(goal.target for goal in missed)
            run.told.on(Event("note", "", f"{names}: a bar is missed, more nodes are looked for"))
        left = replace(asked, search_s=max(0.0, end - time.monotonic()))
        try:
            reduction = _reduced(replace(run, options=left), calibrated, cache, share)
        except ConversionError as error:
            if number == 0:
                raise
            run.told.on(Event("note", "", f"what was made stands: {error.met}"))
            break
        options = replace(asked, keep=reduction.keep, search=False)
        runner = run.runner.asked(options, reduction.kept_tensors)
        reduced = replace(run, options=options, runner=runner, reduction=reduction)
        outcomes |= {outcome.target: outcome for outcome in made(reduced, missed)}
        factors = {goal.target: shortfall(outcomes[goal.target]) for goal in missed}
        missed = [goal for goal in missed if factors[goal.target]]
        if not missed:
            break
        share = _SPARED * reduction.left / max(factors.values())
    return list(outcomes.values())


def _reduced(run: Run, calibrated: SampleSet | None, cache: Cache, share: float) -> Reduction:
    def tell(line: str) -> None:
        run.told.on(Event("note", "", line))

    options = run.options
    reduction = reducing.reduce(
        run.source, run.reference(), options, calibrated, run.runner, run.crew, cache, tell, run.task, share=share
    )
    if options.search and reduction.keep:
        path = options.output_dir / f"{_name(run.source.artifact.path, options)}-{options.precision}.keep"
        write_keep_list(path, reduction.keep)
        tell(f"{path} holds them; to use it again: --keep-list {shlex.quote(str(path))}")
    for note in reducing.notes_on(reduction):
        tell(note)
    return reduction


def _warm(planned: Plan, reader: str, crew: Crew, *, is_known: bool) -> None:
    """Start the workers that will be needed, so that the others' imports go on beside the reader's own.

    A source that is known was exported before: its steps lie in the cache, most likely, and are only run again.
    """
    if is_known:
        crew.warm(dict.fromkeys(goal.toolchain for goal in planned.targets))
        return
    wanted = [name for goal in planned.targets if goal.chosen is not None for name in goal.chosen.route.toolchains]
    crew.warm([reader])
    crew.warm(name for name in dict.fromkeys(wanted) if name != reader)


def _jobs(artifact: Artifact) -> int:
    """As many workers side by side as there are cores, and as fit into the memory that is free."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = opening.identify(artifact.path)
    need = _WORKER_BYTES + _MODEL_COPIES * found.size_bytes
    return max(1, min(cores, psutil.virtual_memory().available // need))


def _without(
    artifact: Artifact, target: str, error: ToolchainMissing, options: ExportOptions, made: list[Outcome]
) -> Outcome:
    """The outcome of a target whose hardware is not here. made: those of the others, of which an ONNX tells more."""
    name, model = place_of(artifact.path, target, options).name, artifact.path.name
    onnx = next((each.path for each in made if each.target == "onnx" and each.path is not None), None)
    is_told = target != "tensorrt" or artifact.format is Format.ONNX or onnx is None
    notes = () if is_told or onnx is None else planning.notes_on(onnx / "model.onnx")
    return Outcome(name, model, target, options.precision, verdict=skipped(error), error=error, notes=notes)


def place_of(source: Path, target: str, options: ExportOptions) -> Path:
    """Where the bundle of a source goes."""
    by = f"-{options.provider}" if target == provided.TARGET and options.provider not in ("", "cpu") else ""
    return options.output_dir / f"{_name(source, options)}-{target}{by}-{options.precision}"


def _name(source: Path, options: ExportOptions) -> str:
    # A directory's name has no suffix, though it may have a dot.
    suffix = "" if source.is_dir() else source.suffix
    return options.name or source.name.removesuffix(suffix)


def _install(planned: Plan, told: Listener) -> None:
    from dlconv.workers.install import install

    goals = [goal for goal in planned.targets if not goal.lacks_hardware]
    lacks = [lack for goal in goals for lack in (*goal.lacks, *goal.routes[0].lacks)]
    for name in dict.fromkeys(lack.toolchain for lack in lacks if lack.is_installable):
        told.on(Event("step-started", "", f"installing the toolchain {name}"))
        start = time.perf_counter()
        install(toolchains.get(name), lambda line: told.on(Event("note", "", line)))
        told.on(Event("step-ended", "", f"installed the toolchain {name}", time.perf_counter() - start))
