"""Bars: what has to hold for a PASS, where the user says more than the model's own noise does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dlconv.errors import RequestError

EVERY = "*"
"""Stands for every output that has no bar of its own."""


@dataclass(frozen=True)
class OutputBars:
    """Bars of one output; None where nothing is asked beyond the model's own bar.

    max_error: largest error relative to the output's scale; it takes the place of the model's own bar.
    The others are asked besides: min_cosine, min_sqnr_db, max_ulp (float32 outputs), min_top1 and min_top5 (agreement
    of the best one and five classes with the reference's, 0 to 1), max_drop (of accuracy on
    labels, 0 to 1; of every output also of the task metric, where one is measured).
    """

    max_error: float | None = None
    min_cosine: float | None = None
    min_sqnr_db: float | None = None
    max_ulp: float | None = None
    min_top1: float | None = None
    min_top5: float | None = None
    max_drop: float | None = None


@dataclass(frozen=True)
class LatencyBars:
    """Bars of latency. max_ratio: candidate / baseline, measured side by side in one run. The others are absolute, in
    milliseconds, and hold for this machine alone."""

    max_ratio: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None

    @property
    def is_asked(self) -> bool:
        return any(value is not None for value in vars(self).values())


@dataclass(frozen=True)
class Bars:
    """All bars of a target. factor: the bar in units of the model's noise floor, None for the runtime's own.

    Raises RequestError for a bar that is no number, not finite, or negative: such a bar would let everything pass.
    """

    factor: float | None = None
    outputs: Mapping[str, OutputBars] = field(default_factory=dict)
    latency: LatencyBars = LatencyBars()

    def __post_init__(self) -> None:
        told: list[tuple[str, Any]] = [("factor", self.factor)]  # a table may say anything
        told += [(f"{name}.{key}", value) for name, bars in self.outputs.items() for key, value in vars(bars).items()]
        told += [(f"latency.{key}", value) for key, value in vars(self.latency).items()]
        wrong = [
            f"{name} is {value!r}"
            for name, value in told
            if value is not None
            and (
                not isinstance(value, (int, float))
                or isinstance(value, bool)
                or not math.isfinite(value)
                or (value < 0 and "sqnr" not in name and "cosine" not in name)
            )
        ]
        if wrong:
            raise RequestError(
                "a bar is no number that could judge", wanted="finite, not negative", problems=tuple(wrong)
            )

    def of(self, output: str) -> OutputBars:
        """The bars of an output: its own, else those of every output."""
        return self.outputs.get(output, self.outputs.get(EVERY, OutputBars()))

    def without_labels(self) -> Bars:
        """The same without what only labels can tell."""
        return replace(self, outputs={name: replace(bars, max_drop=None) for name, bars in self.outputs.items()})

    def words(self) -> list[str]:
        """The options of a command line that say the bars of parity; those that only a project file can say are not
        among them."""
        said = [] if self.factor is None else ["--factor", repr(self.factor)]
        own = {name: bars.max_error for name, bars in self.outputs.items() if name != EVERY}
        said += [word for name, bar in own.items() if bar is not None for word in ("--max-error", f"{name}={bar!r}")]
        for key in ("max_error", "min_cosine", "min_sqnr_db", "min_top1", "max_drop"):
            bar = getattr(self.outputs.get(EVERY, OutputBars()), key)
            said += [] if bar is None else [f"--{key.replace('_', '-')}", repr(bar)]
        return said

    def to_dict(self) -> dict[str, Any]:
        """What was asked, without what was not."""
        told: dict[str, Any] = {} if self.factor is None else {"factor": self.factor}
        outputs = {name: _asked(bars) for name, bars in self.outputs.items()}
        latency = _asked(self.latency)
        return told | ({"outputs": outputs} if outputs else {}) | ({"latency": latency} if latency else {})

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Bars:
        """The bars in a table of `dlconv.toml` or of a receipt. RequestError for a word that is none."""
        _known(data, ("factor", "outputs", "latency"), "bars")
        outputs = {name: OutputBars(**_table(OutputBars, bars, name)) for name, bars in data.get("outputs", {}).items()}
        return Bars(data.get("factor"), outputs, LatencyBars(**_table(LatencyBars, data.get("latency", {}), "latency")))


def _asked(bars: OutputBars | LatencyBars) -> dict[str, float]:
    return {key: value for key, value in vars(bars).items() if value is not None}


def _table(kind: type[OutputBars] | type[LatencyBars], data: Any, where: str) -> dict[str, Any]:
    names = tuple(known.name for known in fields(kind))
    if not isinstance(data, Mapping):
        raise RequestError(f"the bars of {where} are {data!r}", wanted=f"a table of {', '.join(names)}")
    _known(data, names, where)
    return dict(data)


def _known(data: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    unknown = [key for key in data if key not in names]
    if unknown:
        raise RequestError(f"unknown bar {', '.join(map(repr, unknown))} in {where}", wanted=f"of {', '.join(names)}")
