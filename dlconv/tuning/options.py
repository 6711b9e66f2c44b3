"""What `dlconv tune` is asked for, and the `dlconv export` that makes one of its contenders."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dlconv.asked import runtime_options
from dlconv.asked.bars import EVERY, Bars, OutputBars
from dlconv.asked.options import ExportOptions, metric_problems
from dlconv.asked.precisions import CALIBRATED, PRECISIONS, Precision
from dlconv.asked.sizes import RangedDim
from dlconv.candidate import find_runtime
from dlconv.errors import RequestError
from dlconv.latency.benching import BenchSettings
from dlconv.pipeline import place_of
from dlconv.tuning.contender import Setting
from dlconv.tuning.front import Wish

if TYPE_CHECKING:
    from dlconv.asked.inputs import Constant
    from dlconv.asked.runtime_options import RuntimeOption
    from dlconv.model import Dim, TensorSpec

CHEAPEST_FIRST: Final[tuple[Precision, ...]] = (
    "fp32", "fp16-weights", "int8-weights", "bf16", "fp16", "int8", "int16x8",
)  # fmt: skip
"""The order in which precisions are made: what is stored alone needs no new graph, what is calibrated the most runs."""

USUAL: Final[tuple[Precision, ...]] = ("fp32", "fp16", "int8-weights", "int8")

USUAL_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "onnx": ("optimisation=basic",),
    "openvino": ("pinning=off",),
    "tflite": ("xnnpack=off",),
}
"""By target, what its runtime is tried with besides its defaults: what was seen to make a run faster (docs/tune.md)."""

ON_DEVICE: Final = ("tensorrt",)
"""Targets that no threads of the CPU run: one number of them is enough."""


@dataclass(frozen=True)
class TuneOptions:
    """What `dlconv tune` was asked for.

    export: of every export, in fp32; its labels are those of the wish, its output_dir is where the bundles stay.
    keeps_bundles: False for a folder that goes in the end. precisions: to try; fp32 is always made, since the others
    are held against it. threads: numbers of them, () for one, and one a physical core. calibration, preprocess and
    allow_random_calibration: of int8, as ExportOptions has them. wish: what the winner has to meet. budget_s: in
    seconds, for all; half of it for making. time_s: of blocks that a measurement takes, unless the budget is short.
    options: of runtimes, each tried by itself besides the defaults, by the targets whose runtimes have it; None for
    `USUAL_OPTIONS`. is_anew: what an earlier run measured is not used.
    """

    export: ExportOptions
    keeps_bundles: bool = True
    precisions: tuple[Precision, ...] = USUAL
    threads: tuple[int, ...] = ()
    calibration: str = ""
    preprocess: str = ""
    allow_random_calibration: bool = False
    wish: Wish = field(default_factory=Wish)
    budget_s: float = 600.0
    time_s: float = 15.0
    options: tuple[str, ...] | None = None
    is_anew: bool = False

    def __post_init__(self) -> None:
        """Raises RequestError, with all that is wrong at once."""
        problems = tuple(self._problems())
        if problems:
            raise RequestError("the search cannot be made so", problems=problems, mend="see dlconv tune --help")

    def _problems(self) -> list[str]:
        found = [
            f"unknown precision {name!r}: there are {', '.join(PRECISIONS)}"
            for name in self.precisions
            if name not in PRECISIONS
        ]
        found += [f"{count} threads are asked for: it must be 1 or more" for count in self.threads if count < 1]
        asked = (
            ("the budget", self.budget_s),
            ("time_s", self.time_s),
            ("the speedup", self.wish.min_speedup),
        )
        found += [
            f"{what} is {value}: it must be a number more than 0"
            for what, value in asked
            if value is not None and not 0 < value < math.inf
        ]
        if all(count >= 1 for count in self.threads):
            found += self._of_options()
        drop = self.wish.max_drop
        if drop is not None and not 0 <= drop <= 1:
            found.append(f"the largest drop is {drop}: it must be from 0 to 1, or 0% to 100%")
        if self.wish.metric:
            found += metric_problems(self.wish.metric, self.export.labels, self._bars)
        elif drop is not None and self.export.labels is None:
            found.append("a drop is of accuracy on labels, and none are given: --labels FILE.npz with --samples")
        export, bars = self.export, self.export.bars
        plain = ExportOptions(export.targets, export.output_dir)
        unsaid = ("precision", "metric", "boundary", "keep", "search", "edges", "tensorrt", "optima", "require")
        found += [
            f"{name} of the export is {getattr(export, name)!r}: a search leaves it at its default"
            for name in unsaid
            if getattr(export, name) != getattr(plain, name)
        ]
        said = {EVERY: OutputBars(), **bars.outputs}
        if Bars(None, {name: OutputBars(each.max_error) for name, each in said.items()}) != Bars(
            bars.factor, said, bars.latency
        ):
            found.append("of the bars of an export a search takes the largest errors alone")
        return found

    def _of_options(self) -> list[str]:
        targets, most = ", ".join(self.export.targets), self.thread_counts[0]
        found = []
        for text in self.options or ():
            own = [_options_of(target)[text] for target in self.export.targets if text in _options_of(target)]
            if not own:
                there = ", ".join(runtime_options.known())
                found.append(f"no runtime of {targets} has the option {text!r}: there are {there}")
            elif own[0].least_threads > most:
                found.append(f"the option {text} is nothing with {most} thread")
        return found

    @property
    def _bars(self) -> Bars:
        """Those of every export: a metric is judged there."""
        if not self.wish.metric:
            return self.export.bars
        bars = {EVERY: OutputBars(), **self.export.bars.outputs}
        asked = {name: replace(each, max_drop=self.wish.max_drop) for name, each in bars.items()}
        return replace(self.export.bars, outputs=asked)

    @property
    def in_order(self) -> tuple[Precision, ...]:
        """The precisions that are made, fp32 among them, the cheapest first."""
        return tuple(each for each in CHEAPEST_FIRST if each == "fp32" or each in self.precisions)

    @property
    def thread_counts(self) -> tuple[int, ...]:
        """The most first: it is what is used without a word."""
        return tuple(sorted({*(self.threads or (1, BenchSettings().threads_used))}, reverse=True))

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All contenders in the order of their measurement: other options of runtimes come last, since the same
        artifacts are run."""
        usual = [
            Setting(target, precision, threads)
            for threads in self.thread_counts
            for target in self.export.targets
            if target not in ON_DEVICE or threads == self.thread_counts[0]
            for precision in self.in_order
        ]
        others = [
            Setting(target, precision, self.thread_counts[0], option)
            for target in self.export.targets
            for option in self._tried(target)
            for precision in self.in_order
        ]
        return (*usual, *others)

    def _tried(self, target: str) -> list[str]:
        """The options of a target's runtime that are tried: not those that it has anyway."""
        runtime, own = find_runtime(target), _options_of(target)
        asked = USUAL_OPTIONS.get(target, ()) if self.options is None else self.options
        usual = {} if runtime is None else runtime.settings
        return [text for text in asked if text in own and not own[text].settings.items() <= usual.items()]

    def at(self, targets: tuple[str, ...], precision: Precision) -> ExportOptions:
        """The export of these targets at a precision."""
        provider = self.export.provider if "onnxruntime" in targets else ""
        asked = replace(
            self.export,
            targets=targets,
            precision=precision,
            provider=provider,
            metric=self.wish.metric,
            bars=self._bars,
        )
        if precision not in CALIBRATED:
            return asked
        return replace(
            asked,
            calibration=self.calibration,
            preprocess=self.preprocess,
            allow_random_calibration=self.allow_random_calibration,
        )

    def how(self, setting: Setting) -> str:
        """How a contender is run to be as fast: what its bundle does not hold."""
        told = f"{setting.threads} {'thread' if setting.threads == 1 else 'threads'}"
        if not setting.option:
            return told
        said = _options_of(setting.target)[setting.option].how.format(threads=setting.threads)
        return f"{told} and {setting.option}: {said}"

    def bench(self, model: Path, setting: Setting) -> str:
        """The `dlconv bench` that times the bundle which `command` leaves."""
        options = self.at((setting.target,), setting.precision)
        folder = options.output_dir if self.keeps_bundles else Path()
        place = place_of(model, setting.target, replace(options, output_dir=folder))
        words = ["dlconv", "bench", str(place), "--threads", str(setting.threads)]
        return shlex.join([*words, *(["--option", setting.option] if setting.option else [])])

    def command(self, model: Path, setting: Setting) -> str:
        """The `dlconv export` that makes a contender, as a shell takes it."""
        export = self.at((setting.target,), setting.precision)
        words = ["dlconv", "export", str(model), "--to", setting.target]
        words += [] if export.precision == "fp32" else ["--precision", export.precision]
        for text in (*map(_said, export.inputs), *map(_constant, export.constants)):
            words += ["--input", text]
        for flag, value, usual in (
            ("--samples", export.samples, None),
            ("--labels", export.labels, None),
            ("--metric", export.metric, ""),
            ("--max-drop", _share(self.wish.max_drop) if export.metric else "", ""),
            ("--calibration", export.calibration, ""),
            ("--preprocess", export.preprocess, ""),
            ("--draws", export.draws, 8),
            ("--seed", export.seed, 0),
            ("--opset", export.opset, None),
            ("--signature", export.entry, ""),
            ("--outputs", ",".join(export.outputs), ""),
            ("--via", export.via, ""),
            ("--keep-layout", export.layout, ""),
            ("--provider", export.provider, ""),
            ("--name", export.name, None),
            *(("--max-error", _bar(name, each), "") for name, each in export.bars.outputs.items()),
            ("-o", export.output_dir if self.keeps_bundles else None, None),
        ):
            words += [] if value == usual else [flag, str(value)]
        words += ["--trust"] * export.trust + ["--allow-random-calibration"] * export.allow_random_calibration
        return shlex.join(words)


def _options_of(target: str) -> Mapping[str, RuntimeOption]:
    runtime = find_runtime(target)
    return {} if runtime is None else runtime_options.OPTIONS.get(runtime.name, {})


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.12g}%"


def _bar(output: str, bars: OutputBars) -> str:
    if bars.max_error is None:
        return ""
    return f"{bars.max_error!r}" if output == EVERY else f"{output}={bars.max_error!r}"


def _said(spec: TensorSpec) -> str:
    """As `--input` takes it. A name that holds an "x" is joined by commas."""
    words = [_size(dim) for dim in spec.shape or ()]
    join = "," if len(words) > 1 and any("x" in word for word in words) else "x"
    return f"{spec.name}:{join.join(words) or 'scalar'}" + (f":{spec.dtype}" if spec.dtype else "")


def _size(dim: Dim) -> str:
    return f"{dim}={dim.least}..{dim.most}" if isinstance(dim, RangedDim) else str(dim)


def _constant(pair: tuple[str, Constant]) -> str:
    name, value = pair
    return f"{name}={value}"
