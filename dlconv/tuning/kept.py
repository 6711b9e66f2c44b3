"""Measurements that are kept: what an earlier run of a search timed here is used again, while it still is true.

Each contender is kept by itself, since what is measured beside it depends on the time that was left. Its key is a
digest of all that its time depends on: its files, samples and bars, the runtime with its settings and versions, the
threads; the same of its baseline and of the anchor; the machine with its conditions; how it was timed, and dlconv's
source text. Only what passed is kept.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dlconv.errors import InternalError
from dlconv.latency.conditions import conditions
from dlconv.making.cache import digest_of_code, key_of
from dlconv.tuning.contender import Timing
from dlconv.validators.latency import LatencyEvidence
from dlconv.workers import toolchains

if TYPE_CHECKING:
    from dlconv.latency.sides import Side
    from dlconv.making.cache import Cache

FRESH_S: Final = 24 * 3600.0
"""What was measured longer ago is measured anew: a machine changes in ways that it does not tell."""

Identities = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
"""By `identity`: of a side, of its baseline and of the anchor."""

_FILE: Final = "measurement.json"


@dataclass(frozen=True)
class Measured:
    """A contender's timing in one measurement.

    number: the measurement's own, unlike all others'. at: when it ended, in seconds since the epoch.
    """

    number: str
    at: float
    timing: Timing
    evidence: LatencyEvidence

    def to_dict(self) -> dict[str, Any]:
        evidence, timing = self.evidence.to_dict(), self.timing.to_dict()
        return {"number": self.number, "at": self.at, "timing": timing, "evidence": evidence}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Measured:
        timing, evidence = Timing.from_dict(data["timing"]), LatencyEvidence.from_dict(data["evidence"])
        return Measured(str(data["number"]), float(data["at"]), timing, evidence)


class Shelf:
    """Where measurements are kept: in the cache of steps; nowhere without one.

    asked: how contenders are timed, JSON-able. is_anew: what is kept is not used, and replaced.
    """

    def __init__(self, cache: Cache | None, asked: dict[str, Any], *, is_anew: bool) -> None:
        self._cache = cache
        self._is_anew = is_anew
        self._asked = asked

    @property
    def is_used(self) -> bool:
        """Whether what is measured now is kept."""
        return self._cache is not None

    @property
    def is_read(self) -> bool:
        """Whether what an earlier run measured is used."""
        return self._cache is not None and not self._is_anew

    def get(self, identities: Identities) -> Measured | None:
        """What an earlier run measured of a side against its baseline beside the anchor, if it still is to be used."""
        if self._cache is None or self._is_anew:
            return None
        kept = self._cache.get(self._key(identities))
        if kept is None:
            return None
        try:
            found = Measured.from_dict(json.loads((kept / _FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # damaged, or removed by another process: it is measured
        return found if 0 <= time.time() - found.at <= FRESH_S and found.timing.is_known else None

    def put(self, identities: Identities, measured: Measured, what: str) -> str:
        """Keep it in place of what is kept; why that is not possible, "" where it is. Then nothing further is kept."""
        if self._cache is None:
            return ""
        key = self._key(identities)
        try:
            filled = self._cache.begin()
            (filled / _FILE).write_text(json.dumps(measured.to_dict()), encoding="utf-8")
            self._cache.forget(key)
            self._cache.put(key, filled, f"{what}: timed")
        except OSError as error:
            told = f"what is measured is not kept: {self._cache.root} cannot be written: {error.strerror or error}"
            self._cache = None
            return told
        return ""

    def _key(self, identities: Identities) -> str:
        return key_of(
            timed=list(identities),
            asked=self._asked,
            machine=conditions(),
            procedure=digest_of_code(("hardware", "latency", "tuning", "validators")),
        )


def identity(side: Side) -> dict[str, Any]:
    """All that a side's time, and the verdict on its timed answers, depend on. InternalError for what is no bundle."""
    located = toolchains.locate(toolchains.get(side.runtime.toolchain))
    if side.bundle is None or isinstance(located, toolchains.Missing):
        raise InternalError(f"{side.name} is no bundle that can be run here")
    receipt = side.bundle.receipt
    return {
        "name": side.name,
        "target": side.bundle.target,
        "provider": side.bundle.provider,
        "precision": side.bundle.precision,
        "threads": side.threads,
        "runtime": [side.runtime.name, side.runtime.adapter, dict(side.runtime.settings)],
        "versions": located.versions,
        "interpreter": str(located.interpreter),
        "files": [[file["path"], file["digest"]] for file in receipt["artifact"]["files"]],
        "reference": [receipt["reference"]["digest"], receipt["reference"]["samples"]["digest"]],
        "bars": receipt["bars"],
    }
