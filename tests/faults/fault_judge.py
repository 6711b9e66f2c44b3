"""The real judge on a planted fault: a file, a worker, a runtime, the reference's answers, a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fault_models import MODELS

from dlconv import opening
from dlconv.asked.options import SourceOptions
from dlconv.candidate import RUNTIMES, TargetRuntime, Wanted, try_out
from dlconv.errors import StepError
from dlconv.making.cache import Cache
from dlconv.reference import answering, source
from dlconv.validators.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fault_table import Fault

    from dlconv.asked.bars import Bars
    from dlconv.candidate import Trial
    from dlconv.model import Signature
    from dlconv.records.bundle import Bundle
    from dlconv.reference.source import Reference
    from dlconv.workers.crew import Crew


@dataclass(frozen=True)
class Judged:
    """A verdict, and of the output that lies furthest beyond its bar: its name, its error and its bar."""

    verdict: Verdict
    output: str = ""
    error: float | None = None
    bar: float | None = None

    @property
    def why(self) -> str:
        return self.verdict.reasons[0] if self.verdict.reasons else ""


@dataclass(frozen=True)
class Original:
    """A model before any fault, with its own answers; candidates stand in its artifact's place, under its names."""

    path: Path
    crew: Crew
    cache: Cache
    options: SourceOptions = field(default_factory=SourceOptions)

    @cached_property
    def source(self) -> source.Source:
        return source.study(opening.open_artifact(self.path), self.options, self.crew, self.cache)

    @cached_property
    def reference(self) -> Reference:
        return answering.answer(self.source, self.options, self.crew, self.cache)

    def wanted(self, bars: Bars | None = None) -> Wanted:
        told = {} if bars is None else {"bars": bars}
        return Wanted(self.source.signature, self.reference, self.source.facts, **told)

    def judge(self, candidate: Path, runtime: TargetRuntime = RUNTIMES["onnx"]) -> Judged:
        return judged(candidate, self.source.signature, runtime, self.wanted(), self.crew)


def judged(candidate: Path, signature: Signature, runtime: TargetRuntime, wanted: Wanted, crew: Crew) -> Judged:
    """As `dlconv verify` judges it: a runtime that refuses the file or ends fails it."""
    try:
        trial = try_out(candidate, signature, runtime, wanted, crew)
    except StepError as error:
        return Judged(Verdict("FAIL", (error.met, *error.problems)))
    return _furthest(trial)


def _furthest(trial: Trial) -> Judged:
    def beyond(figures: Any) -> float:
        error, bar = float(figures["error"]), float(figures["bar"])
        return error / bar if bar > 0 else error

    figures = [check.figures for check in trial.checks if check.name == "parity"]
    if not figures:
        return Judged(trial.verdict)
    worst = max(figures, key=beyond)
    return Judged(trial.verdict, worst["name"], float(worst["error"]), float(worst["bar"]))


@dataclass
class Bench:
    """Every model of the table, written and answered once, and every fault judged on it."""

    folder: Path
    crew: Crew

    def __post_init__(self) -> None:
        self._originals: dict[str, Original] = {}

    def original(self, name: str) -> Original:
        if name not in self._originals:
            path = MODELS[name]().write(self.folder / f"{name}.onnx")
            self._originals[name] = Original(path, self.crew, Cache(self.folder / "cache"))
        return self._originals[name]

    def judge(self, fault: Fault) -> Judged:
        """The verdict on the planted fault, by the judge of `dlconv verify`."""
        original = self.original(fault.model)
        if fault.runtime:
            return original.judge(original.path, broken(fault.runtime))
        assert fault.change is not None
        path = fault.change(MODELS[fault.model]()).write(self.folder / "planted.onnx")
        return original.judge(path)


def broken(fault: str) -> TargetRuntime:
    """ONNX Runtime with a fault in it."""
    return replace(RUNTIMES["onnx"], adapter="broken_runtime", settings={"fault": fault})


def judged_bundle(bundle: Bundle, crew: Crew) -> Judged:
    """The verdict on the files of a bundle as they are, whatever their digests."""
    wanted = Wanted(bundle.source_signature, bundle.reference(), bundle.receipt["source"]["facts"], bundle.bars)
    return judged(bundle.entry, bundle.signature, RUNTIMES[bundle.target], wanted, crew)


def over_seeds(path: Path, bundles: Sequence[Bundle], crew: Crew, cache: Cache) -> Iterator[tuple[str, int, Judged]]:
    """Right conversions of the model at `path`, judged on samples of twenty seeds: target, seed, verdict."""
    for seed in range(20):
        original = Original(path, crew, cache, SourceOptions(seed=seed))
        for bundle in bundles:
            runtime = RUNTIMES[bundle.target]
            yield bundle.target, seed, judged(bundle.entry, bundle.signature, runtime, original.wanted(), crew)
