"""A lower precision as an export asks for it: what stays in float32, what it is calibrated on, and its own noise.

The noise is found before any target is built, by the emulation on the source's ONNX form: with it an overflow of
float16 is met on any machine, and every target is judged by one bar.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dlconv.asked.bars import EVERY
from dlconv.asked.precisions import Precision, dtype_of, rounds_stored_alone
from dlconv.asked.preprocess import parse
from dlconv.candidate import WIDEST_NOISE
from dlconv.convert.edges import whole_graph
from dlconv.errors import ConversionError, StepError
from dlconv.files.jsonfile import read_json, write_json
from dlconv.making.cache import key_of
from dlconv.precision import coverage
from dlconv.precision import noise as precision_noise
from dlconv.precision.keep_search import Noise, search
from dlconv.precision.noise import GRIDS, largest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dlconv.asked.bars import Bars
    from dlconv.asked.options import ExportOptions
    from dlconv.making.cache import Cache
    from dlconv.making.steps import Product, StepRunner
    from dlconv.metrics.scoring import Task
    from dlconv.precision.coverage import Coverage
    from dlconv.precision.noise import PrecisionNoise, Ranges
    from dlconv.reference.source import Reference, Source
    from dlconv.samples import SampleSet
    from dlconv.workers.crew import Crew

_LARGEST: Final = {"float16": 65504.0}
_GOALS: Final = {"float16": 1e-2, "bfloat16": 3e-2, "int8": 5e-2}
"""What a search wants of the noise, where no bar is asked for, relative to an output's scale."""
_REAL: Final = 1.5
"""What a real implementation's error may be in units of the emulated noise: 1.4 is the largest seen."""
_ROUNDS: Final = 3
"""How often a search is gone on with where what it found is too noisy on another grid than the calibration's."""
_SPARED: Final = 0.9
_TINY: Final = 1e-12
_LEAST_DROP: Final = 1e-3
"""What drops are told in units of, at the least: where none is allowed."""
_STORED: Final = ("weight", "input")


@dataclass(frozen=True)
class Reduction:
    """A precision below float32, all that it was asked with, and the noise that it has on this model.

    kept_tensors: of each node that is kept, `onnx_reducible.outputs`. left: of the noise that a search may leave,
    what it left."""

    precision: Precision
    keep: tuple[str, ...]
    calibration: SampleSet | None
    noise: PrecisionNoise
    preprocess: str = ""
    coverage: Coverage | None = None
    kept_tensors: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    left: float = 1.0

    @property
    def floors(self) -> dict[str, float]:
        """By output, what the bars of the precision are a factor of."""
        return {output.name: output.floor for output in self.noise.outputs}

    def to_dict(self) -> dict[str, Any]:
        """As the receipt tells it."""
        return {
            "keep": list(self.keep),
            "calibration": self._calibrated(),
            "noise": self.noise.to_dict(),
        }

    def _calibrated(self) -> dict[str, Any] | None:
        if self.calibration is None:
            return None
        return {
            **self.calibration.to_dict(),
            **({"preprocess": self.preprocess} if self.preprocess else {}),
            **({} if self.coverage is None else {"coverage": self.coverage.to_dict()}),
        }


def reduce(
    source: Source,
    reference: Reference,
    options: ExportOptions,
    calibration: SampleSet | None,
    runner: StepRunner,
    crew: Crew,
    cache: Cache,
    tell: Callable[[str], None],
    task: Task | None = None,
    *,
    share: float = 1.0,
) -> Reduction:
    """The precision's noise on the source's ONNX form, and with `options.search` what has to stay in float32 for it.

    ConversionError where there is no such form, where nothing was found, and where the precision cannot hold the model:
    an overflow, named by its node, answers that are lost in noise, or trees, which compute nothing. tell is told of
    each step of the search. task: a metric that the search has to hold too. share: of the noise that a search may leave
    otherwise, what this one may.
    """
    _refuse_trees(source, options.precision)
    model = as_onnx(source, runner)
    precision, keep, left = options.precision, options.keep, 1.0

    def emulated(kept: Iterable[str], ranges: Ranges | None) -> PrecisionNoise:
        return precision_noise.emulate(
            model.path,
            model.signature,
            reference,
            dtype_of(precision),
            crew,
            sequence=bool(source.facts.get("sequence")),
            keep=tuple(kept),
            stored=rounds_stored_alone(precision),
            ranges=ranges,
            task=task,
        )

    own, calibrated = _ranges(model, reference, precision, calibration, crew)

    def noise_with(kept: Iterable[str]) -> PrecisionNoise:
        grids = [None] if own is None else [precision_noise.widened(own, width) for width in GRIDS]
        return largest([emulated(kept, grid) for grid in grids]).with_outputs_in(options.boundary.outputs)

    if not options.search:
        noise = noise_with(keep)
    else:
        with crew.lease("onnx") as worker:
            nodes = worker.call(
                "dlconv.runtimes.onnx_reducible:names", what="reading the graph", path=str(model.path),
                precision=dtype_of(precision),
            )  # fmt: skip
        digest = "" if calibration is None else calibration.digest
        noise_of = _remembered(
            lambda names: in_units(emulated(names, calibrated), options), model, reference, options, digest, cache
        )
        end = time.monotonic() + options.search_s
        rounds = 0
        while True:
            rounds += 1
            over = max(0.0, end - time.monotonic())
            found = search(_in_units_of(share, noise_of), nodes, budget_s=over, tell=tell)
            tell(f"{len(found.keep)} of {len(nodes)} nodes stay in float32, found in {found.tries} emulations")
            if not found.is_smallest:
                tell("the time was over: fewer may do, and the same command again looks for them")
            keep, left, noise = found.keep, found.noise * share, noise_with(found.keep)
            beyond = max(output.floor / _widest(output.name, options.bars) for output in noise.outputs)
            if not 1 < beyond < math.inf or not found.is_smallest or rounds == _ROUNDS:
                break
            tell(f"on other grids the noise is {beyond:.3g} of what is built for: more nodes are looked for")
            share = _SPARED * left / beyond
    _require_held(noise, precision, options.bars)
    preprocess = str(parse(options.preprocess)) if options.preprocess else ""
    covered = None
    if calibration is not None and calibration.origin == "user":
        covered = coverage.measure(model.path, model.signature, calibration, reference.samples.samples, crew)
    tensors: dict[str, list[list[str]]] = {}
    if keep:
        with crew.lease("onnx") as worker:
            tensors = worker.call(
                "dlconv.runtimes.onnx_reducible:outputs", what="reading the graph", path=str(model.path),
                names=list(keep),
            )  # fmt: skip
    return Reduction(precision, tuple(keep), calibration, noise, preprocess, covered, tensors, left)


def _refuse_trees(source: Source, precision: str) -> None:
    if trees := source.facts.get("trees"):
        raise ConversionError(
            f"a model of decision trees ({', '.join(trees)}) has nothing to compute in {precision}: it compares its "
            "inputs with thresholds, and would decide otherwise on rounded ones",
            wanted="float32",
            mend=f"leave --{precision} out; fewer or shallower trees make the model smaller",
        )


def in_units(noise: PrecisionNoise, options: ExportOptions) -> float:
    """The noise of the noisiest output in units of what a search wants of it: of the bar that is asked for, where one
    is, what the emulation may take; else `_GOALS`, or with a task metric what is built for at all.

    Where the metric drops by more than is allowed it is over 1, and the more so the farther it drops.
    """
    usual = _GOALS[noise.precision] if noise.task is None else WIDEST_NOISE
    units = max(
        output.floor / max((options.bars.of(output.name).max_error or 0) / _REAL or usual, _TINY)
        for output in noise.outputs
    )
    allowed = options.bars.of(EVERY).max_drop
    if noise.task is None or allowed is None:
        return units
    beyond = noise.task.drop - allowed
    if beyond <= _TINY:
        return units
    # NaN too: the metric is not known of these answers. Of two that drop alike, the noisier stays the worse one.
    return max(units, 1.0) * (1 + beyond / max(allowed, _LEAST_DROP)) if beyond == beyond else math.inf


def _in_units_of(share: float, noise: Noise) -> Noise:
    return lambda kept: noise(kept) / share


def _ranges(
    model: Product, reference: Reference, precision: Precision, calibration: SampleSet | None, crew: Crew
) -> tuple[Ranges | None, Ranges | None]:
    """Of int8: the ranges on the samples that judge, of which its bar is made, and on those that calibrate, which real
    quantisers take, and so a search."""
    if dtype_of(precision) != "int8" or rounds_stored_alone(precision):
        return None, None
    own = precision_noise.ranges_of(model.path, model.signature, reference.samples.samples, crew)
    if calibration is None or calibration.digest == reference.samples.digest:
        return own, own
    return own, precision_noise.ranges_of(model.path, model.signature, calibration.samples, crew)


def _remembered(
    noise: Noise, model: Product, reference: Reference, options: ExportOptions, calibration: str, cache: Cache
) -> Noise:
    """The same, kept in the cache: a search that was ended goes on from there."""

    def known(keep: frozenset[str]) -> float:
        key = key_of(
            search=options.precision,
            model=model.key,
            samples=reference.samples.digest,
            calibration=calibration,
            keep=sorted(keep),
            bars=options.bars.to_dict(),
            **({"metric": options.task_digest()} if options.metric else {}),
        )
        kept = cache.get(key)
        if kept is None:
            found = noise(keep)
            folder = cache.begin()
            write_json(folder / "noise.json", {"noise": str(found)})
            kept = cache.put(key, folder, f"noise with {len(keep)} nodes in float32")
        return float(read_json(kept / "noise.json")["noise"])

    return known


def as_onnx(source: Source, runner: StepRunner) -> Product:
    """The source as dlconv's cleaned ONNX model in float32, by the first route that leads there."""
    error: StepError | None = None
    for route in whole_graph().routes(source.artifact.format, "onnx"):
        try:
            return runner.run(route.edges, "")  # all targets' share
        except StepError as met:
            error = error or met
    assert error is not None
    raise ConversionError(
        f"there is no ONNX form of the model in which its precision could be judged: {error.met}",
        mend=error.mend,
        log=error.log,
    )


def overflows(noise: PrecisionNoise) -> list[dict[str, Any]]:
    """The computed tensors that overflowed, in the order of computation."""
    return [lost for lost in noise.losses["worst"] if lost["overflows"] and lost["operator"] not in _STORED]


def _widest(output: str, bars: Bars) -> float:
    """The noise of an output from which on nothing is built."""
    return max(bars.of(output).max_error or 0.0, WIDEST_NOISE)


def _require_held(noise: PrecisionNoise, precision: str, bars: Bars) -> None:
    """Raises ConversionError where an output's noise is beyond WIDEST_NOISE, and beyond what the user allows it; and
    where a task metric drops by more than is allowed."""
    allowed = {output.name: _widest(output.name, bars) for output in noise.outputs}
    lost = [output for output in noise.outputs if not (output.floor <= allowed[output.name])]
    if not lost:
        _require_task(noise, precision, bars)
        return
    beyond = overflows(noise)
    if beyond and any(not math.isfinite(output.error) or output.mismatches for output in lost):
        first = beyond[0]
        raise ConversionError(
            f"{noise.precision} overflows at {first['node']} ({first['operator']}): it computes "
            f"{first['largest']:.6g}, and the largest number is {_LARGEST.get(noise.precision, math.inf):.6g}",
            mend="keep the node in float32, and those that read what is too large: --keep-list FILE, a name a line; "
            "or let it be found: --search",
            problems=tuple(
                f"{each['node']} ({each['operator']}): {each['largest']:.6g} in {each['tensor']}" for each in beyond
            ),
        )
    raise ConversionError(
        f"{precision} loses the model's answers: "
        + ", ".join(f"an error of {output.error:.2g} of the scale of {output.name}" for output in lost),
        wanted=f"{max(allowed[output.name] for output in lost):.3g} at the most, of an ideal implementation",
        mend="keep what is sensitive in float32: --keep-list FILE, or let it be found: --search; "
        "or allow it: --max-error X",
    )


def _require_task(noise: PrecisionNoise, precision: str, bars: Bars) -> None:
    """Raises ConversionError where float16 or bfloat16 loses the task. A CPU that has neither would hide it; of int8
    the artifact's own answers tell."""
    task, allowed = noise.task, bars.of(EVERY).max_drop
    if task is None or allowed is None or noise.precision == "int8" or task.drop <= allowed + _TINY:
        return
    raise ConversionError(
        f"{precision} loses the model's task: {task.metric} is {task.candidate:.6g} for {task.reference:.6g} of the "
        "source" + (f" ({task.problem})" if task.problem else ""),
        wanted=f"a drop of {allowed:.3g} at the most, of an ideal implementation",
        mend="keep what is sensitive in float32: --keep-list FILE, or let it be found: --search; "
        "or allow it: --max-drop X",
    )


def notes_on(reduction: Reduction) -> tuple[str, ...]:
    """What is to be known of a reduction that holds: what its calibration covers, and overflows that do not reach the
    outputs."""
    covered = () if reduction.coverage is None else reduction.coverage.notes
    harmless = overflows(reduction.noise)
    if not harmless:
        return covered
    names = ", ".join(f"{each['node']} ({each['largest']:.3g})" for each in harmless[:3])
    return (*covered, f"{reduction.noise.precision} overflows at {names}, which no output shows")
