"""What a tracker is given: an entry for each outcome, as names and values; and how trackers are found by name."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Protocol

from dlconv.errors import PackagesMissing, RequestError
from dlconv.records.bundle import RECEIPT, is_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dlconv.records.outcome import Outcome, Report

GROUP: Final = "dlconv.trackers"
"""The entry points of other packages' trackers: NAME = "module:attribute", the attribute a `Tracker`."""

BUILT_IN: Final = {
    "mlflow": "dlconv.trackers.to_mlflow:TRACKER",
    "tensorboard": "dlconv.trackers.to_tensorboard:TRACKER",
    "wandb": "dlconv.trackers.to_wandb:TRACKER",
}


@dataclass(frozen=True)
class Entry:
    """One outcome as trackers keep it.

    name: the outcome's, unique in the report. tags: what it is, text by name; "verdict" is PASS, FAIL, INCONCLUSIVE,
    SKIPPED or ERROR. metrics: finite numbers by name, `passed` (1 or 0) always among them; names are made of letters,
    digits and "_-./ ". files: of the bundle, by the path that each has in it. receipt: as JSON-able data.
    """

    name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    reasons: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    receipt: Mapping[str, Any] = field(default_factory=dict)


class Tracker(Protocol):
    """A way to log a release."""

    def check(self) -> None:
        """Raises PackagesMissing where its client is not installed."""

    def log(self, entries: Sequence[Entry], page: str, where: str) -> str:
        """Log the entries and the page (HTML) of them all; says where they are now.

        where: what follows the tracker's name in `--log-to NAME:WHERE`, "" for the client's own default. Raises
        TrackerError for what the client cannot do.
        """
        ...


def find(text: str) -> tuple[Tracker, str]:
    """The tracker of `NAME[:WHERE]`, and WHERE. Raises RequestError for an unknown name, PackagesMissing without its
    client."""
    name, _, where = text.partition(":")
    others = {point.name: point for point in metadata.entry_points(group=GROUP)}
    tracker: Tracker
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        tracker = getattr(importlib.import_module(module), attribute)
    elif name in others:
        try:
            tracker = others[name].load()
        except ImportError as error:
            met = f"the tracker {name} cannot be loaded: {error}"
            raise PackagesMissing(met, mend=f"install what {others[name].value} needs") from error
    else:
        known = ", ".join(sorted([*BUILT_IN, *others]))
        raise RequestError(f"there is no tracker {name!r}", wanted=f"one of {known}, as NAME or NAME:WHERE")
    tracker.check()
    return tracker, where


def entries_of(report: Report) -> tuple[Entry, ...]:
    """An entry for each outcome of the report."""
    return tuple(map(_entry, report.outcomes))


def _entry(outcome: Outcome) -> Entry:
    told = list(_numbers(outcome))
    tags = {
        "verdict": outcome.word,
        "model": outcome.model,
        "target": outcome.target,
        "precision": outcome.precision,
        "source_digest": str((outcome.body.get("source") or {}).get("digest", "")),
        "created": str(outcome.body.get("created", "")),
        "command": str(outcome.body.get("command", outcome.again)),
    }
    environment = outcome.body.get("environment") or {}
    tags |= {f"version.{name}": str(version) for name, version in (environment.get("packages") or {}).items()}
    # What is no number (an error of NaN or infinity) is told as text: a tracker that drops it would show nothing amiss.
    tags |= {name: str(value) for name, value in told if not math.isfinite(value)}
    metrics = {name: value for name, value in told if math.isfinite(value)}
    return Entry(
        outcome.name,
        {plain(name): value for name, value in tags.items() if value},
        metrics | {"passed": float(outcome.word == "PASS")},
        outcome.reasons,
        dict(_files(outcome)),
        outcome.body,
    )


def _numbers(outcome: Outcome) -> Iterator[tuple[str, float]]:
    for check in outcome.checks:
        if check.name == "parity":
            for key in ("error", "bar", "floor", "rms_error", "sqnr_db", "cosine", "max_ulp", "top1"):
                value = check.figures.get(key)
                if value is not None:
                    yield plain(f"{key}/{check.subject}"), float(value)
    artifact = outcome.body.get("artifact") or {}
    if "size_bytes" in artifact:
        yield "size_bytes", float(artifact["size_bytes"])
    if outcome.seconds:
        yield "seconds", outcome.seconds
    latency = outcome.body.get("latency") or {}
    for side in latency.get("sides", ()):
        for name, percentile in side["percentiles"].items():
            if percentile["value_ms"] is not None:
                yield plain(f"latency/{side['name']}/{name}_ms"), float(percentile["value_ms"])
    for name, ratio in (latency.get("ratios") or {}).items():
        yield plain(f"latency/{name}/ratio"), float(ratio["ratio"])


def _files(outcome: Outcome) -> Iterator[tuple[str, Path]]:
    if outcome.path is None or not is_bundle(outcome.path):
        return
    yield RECEIPT, outcome.path / RECEIPT
    for file in (outcome.body.get("artifact") or {}).get("files", ()):
        if (outcome.path / file["path"]).is_file():
            yield file["path"], outcome.path / file["path"]


def plain(name: str) -> str:
    """A name that every tracker takes: letters, digits and "_-./ "; anything else becomes "_"."""
    return "".join(char if (char.isascii() and char.isalnum()) or char in "_-./ " else "_" for char in name)
