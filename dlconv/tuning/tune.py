"""The straight line of tune: contenders made by the export's line, timed by the latency procedure, judged by the front.

Making goes by precision, the cheapest first, all targets of one together: they share the steps of their routes.
Timing goes by target and number of threads: one measurement has that target's float32 as its baseline, and beside the
contenders an anchor that all measurements have in common, so that times of several measurements stand on one scale.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlconv import opening, pipeline
from dlconv.asked.precisions import CALIBRATED, Precision
from dlconv.errors import DlconvError, InternalError, MachineError, RequestError
from dlconv.events import Event, Silence
from dlconv.making.cache import Cache
from dlconv.precision import calibration
from dlconv.records.outcome import skipped
from dlconv.tuning.contender import Contender, Setting, drop_of, error_of
from dlconv.tuning.kept import Shelf
from dlconv.tuning.stopwatch import Stopwatch, Timed
from dlconv.tuning.tuned import Tuned

if TYPE_CHECKING:
    from dlconv.events import Listener
    from dlconv.records.outcome import Outcome
    from dlconv.tuning.contender import State
    from dlconv.tuning.options import TuneOptions

MAKING = 0.5
"""The share of the budget after which nothing further is made: what was made has to be measured yet."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C came while contenders were made or measured; `tuned` has what was known by then."""

    def __init__(self, tuned: Tuned) -> None:
        super().__init__("interrupted")
        self.tuned = tuned


def tune(path: Path, options: TuneOptions, listener: Listener | None = None) -> Tuned:
    """Make and measure the model at `path` for each target, precision and number of threads; find the best.

    Raises as `export` does for a request that is wrong whatever the precision is. What cannot be made or run here is
    told of its contender. Ctrl-C raises Interrupted with what was measured.
    """
    with ExitStack() as stack:
        kept = options
        if not options.keeps_bundles:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dlconv-tune-")))
            kept = replace(options, export=replace(options.export, output_dir=folder))
        search = _Search(path, kept, options, _Once(listener or Silence()))
        try:
            search.run()
        except KeyboardInterrupt as stop:
            raise Interrupted(search.found(is_interrupted=True)) from stop
        return search.found()


class _Once:
    """Tells notes once: each precision's export makes the same ones of the source."""

    def __init__(self, told: Listener) -> None:
        self._told = told
        self._notes: set[str] = set()

    def on(self, event: Event) -> None:
        """Tell it, unless it is a note that was told."""
        if event.kind in ("note", "reference"):
            if event.text in self._notes:
                return
            self._notes.add(event.text)
        self._told.on(event)


class _Search:
    """What is known so far: a contender for each setting, in the order of measurement."""

    def __init__(self, path: Path, options: TuneOptions, command: TuneOptions, told: Listener) -> None:
        self._path = path
        self._options = options
        self._told = told
        self._begun = time.monotonic()
        self._at = time.time()
        self._paths: dict[tuple[str, str], Path] = {}
        self._shelf = Shelf(
            Cache() if options.export.use_cache else None,
            {"time_s": options.time_s, "seed": options.export.seed},
            is_anew=options.is_anew,
        )
        self._watch = Stopwatch(options, self._begun + options.budget_s, told, self._shelf)
        self._contenders: dict[Setting, Contender] = {
            setting: Contender(
                setting,
                "NOT REACHED",
                command=command.command(path, setting),
                how=command.how(setting),
                bench=command.bench(path, setting),
            )
            for setting in options.settings
        }

    def run(self) -> None:
        """Make and measure in turns while the budget lasts, the cheapest first: half of what is left is for making."""
        opening.identify_source(self._path)
        for precision in self._options.in_order:
            if precision in CALIBRATED and self._can_calibrate:
                calibration.check(self._options.at(self._options.export.targets, precision))
        targets = self._options.export.targets
        goals: dict[Precision, tuple[str, ...]] = {
            each: tuple(to for to in targets if self._is_possible(to, each)) for each in self._options.in_order
        }
        waiting: list[Precision] = [precision for precision, possible in goals.items() if possible]
        while waiting and self._left > 0:
            until = self._elapsed + MAKING * self._left
            while waiting and self._elapsed < until:
                precision = waiting.pop(0)
                self._export(goals[precision], precision)
            self._measure(is_last=not waiting)
        while self._left > 0 and self._measure(is_last=True):
            pass  # what a group's share had no time for may have it now

    def _measure(self, *, is_last: bool) -> bool:
        """Time what passed, in groups that have one baseline; whether anything was. is_last: nothing else is to be made
        and measured yet."""
        has_timed = False
        for members in self._untimed():
            self._recall(members)
        groups = self._untimed()
        slots = [len(members) + 2 for members in groups]  # the baseline's second process, and the anchor
        for index, group in enumerate(groups):
            members = self._recall(group)  # again: the first of this run's measurements may have given the scale
            if not members:
                continue
            baseline = members[0].baseline
            others = [setting for setting in members if setting != baseline]
            if self._contenders[baseline].word != "PASS":
                for setting in others:
                    self._is(
                        setting, "INCONCLUSIVE", (f"{baseline.name} did not pass: there is nothing to hold it to",)
                    )
                continue
            share = slots[index] / (sum(slots[index:]) * (1 if is_last else 2))
            for setting, timed in self._watch.time(baseline, others, self._paths, share).items():
                self._was_timed(setting, timed)
                has_timed = True
        return has_timed

    def _untimed(self) -> list[list[Setting]]:
        """What passed and was not measured, in groups that have one baseline."""
        groups: dict[tuple[str, int, str], list[Setting]] = {}
        for setting, contender in self._contenders.items():
            if contender.word == "PASS" and contender.timing is None:
                groups.setdefault((*setting.group, setting.option), []).append(setting)
        return list(groups.values())

    def _recall(self, members: list[Setting]) -> list[Setting]:
        """Take the times of those that an earlier run measured; the others are to be measured."""
        baseline = members[0].baseline
        if self._contenders[baseline].word != "PASS":
            return members
        known = self._watch.recalled(baseline, members, self._paths)
        for setting, timed in known.items():
            self._was_timed(setting, timed)
        if known:
            text = f"{len(known)} of {len(members)} were measured by an earlier run, and are not measured again"
            self._told.on(Event("note", baseline.target, f"{baseline.name}: {text}"))
        return [setting for setting in members if setting not in known]

    def found(self, *, is_interrupted: bool = False) -> Tuned:
        """What is known by now."""
        ended = "the run was interrupted" if is_interrupted else "the budget ended"
        return Tuned(
            self._path.name,
            tuple(_as_reached(each, ended) for each in self._contenders.values()),
            self._options.wish,
            tuple(self._watch.measurements),
            "" if self._watch.anchor is None else self._watch.anchor.name,
            self._watch.anchor_ms,
            self._options.budget_s,
            self._elapsed,
            is_interrupted,
            dict(self._watch.earlier),
            self._at,
            self._shelf.is_used,
        )

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    @property
    def _left(self) -> float:
        return self._options.budget_s - self._elapsed

    @property
    def _can_calibrate(self) -> bool:
        options = self._options
        return bool(options.calibration or options.export.samples or options.allow_random_calibration)

    def _is_possible(self, target: str, precision: Precision) -> bool:
        """Whether this machine can make it; else it is SKIPPED, with what mends it. RequestError for float32 alone."""
        if precision in CALIBRATED and not self._can_calibrate:
            met = f"{precision} needs calibration samples"
            self._all_are(
                target, precision, "SKIPPED", (met, "next: --calibration FILE.npz|DIR, or --samples FILE.npz")
            )
            return False
        asked = self._options.at((target,), precision)
        try:
            (plan,) = pipeline.plan(self._path, asked).targets
            if not (asked.install and all(lack.is_installable for lack in plan.needed)):
                pipeline.plan(self._path, asked).check()
        except MachineError as error:
            self._all_are(target, precision, "SKIPPED", skipped(error).reasons)
            return False
        except RequestError as error:
            if precision == "fp32":
                raise
            self._all_are(target, precision, "SKIPPED", (error.met, *error.problems))
            return False
        return True

    def _export(self, goals: tuple[str, ...], precision: Precision) -> None:
        options = self._options.at(goals, precision)
        left = min(max(1.0, self._left), options.timeout_s)
        try:
            made = pipeline.export(self._path, replace(options, timeout_s=left), self._told)
        except InternalError:
            raise
        except DlconvError as error:
            # Of float32 it is the model that is at fault; of another precision it is what the precision makes of it.
            if precision == "fp32" and self._left > 0:
                raise
            for target in goals:
                self._failed(target, precision, error)
            return
        for outcome in made.outcomes:
            if outcome.error is not None and outcome.verdict is None:
                self._failed(outcome.target, precision, outcome.error)
            else:
                self._was_made(outcome, precision)

    def _failed(self, target: str, precision: str, error: DlconvError) -> None:
        if self._left > 0:
            self._all_are(target, precision, "ERROR", (error.met, *error.problems))
        else:  # its steps had no more time than the budget
            self._all_are(target, precision, "NOT REACHED", (f"the budget ended while it was made: {error.met}",))

    def _was_made(self, outcome: Outcome, precision: str) -> None:
        word: State = "ERROR" if outcome.verdict is None else outcome.verdict.word
        if word == "PASS" and outcome.path is not None:
            self._paths[outcome.target, precision] = outcome.path
        files = outcome.body.get("artifact", {}).get("files", [])
        for setting in self._of(outcome.target, precision):
            self._contenders[setting] = replace(
                self._contenders[setting],
                word=word,
                reasons=outcome.reasons,
                size_bytes=sum(int(file["size_bytes"]) for file in files),
                error=error_of(outcome),
                drop=drop_of(outcome),
            )

    def _was_timed(self, setting: Setting, timed: Timed) -> None:
        self._contenders[setting] = replace(
            self._contenders[setting], word=timed.word, reasons=timed.reasons, timing=timed.timing
        )
        if timed.word != "PASS":
            self._told.on(Event("note", setting.target, f"{setting.name}: {timed.word}: {'; '.join(timed.reasons)}"))

    def _of(self, target: str, precision: str) -> list[Setting]:
        return [each for each in self._contenders if (each.target, each.precision) == (target, precision)]

    def _all_are(self, target: str, precision: str, word: State, reasons: tuple[str, ...]) -> None:
        for setting in self._of(target, precision):
            self._is(setting, word, reasons)

    def _is(self, setting: Setting, word: State, reasons: tuple[str, ...]) -> None:
        self._contenders[setting] = replace(self._contenders[setting], word=word, reasons=reasons)


def _as_reached(contender: Contender, ended: str) -> Contender:
    """What passed and was not timed is no result; nor is what was not made."""
    if contender.word == "PASS" and contender.timing is None:
        told = (f"{ended} before it was measured; it is the same model",)
        return replace(contender, word="NOT REACHED", reasons=told)
    if contender.word == "NOT REACHED" and not contender.reasons:
        return replace(contender, reasons=(f"{ended} before it was made",))
    return contender
