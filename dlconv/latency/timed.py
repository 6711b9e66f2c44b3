"""The processes of a measurement, as its procedure sees them, and the count of what they did."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from dlconv.asked.runtime_options import refusal
from dlconv.errors import InternalError
from dlconv.validators.latency import SideEvidence, WarmUp
from dlconv.validators.percentiles import percentiles
from dlconv.validators.spread import PER_DECADE_OF_TIMES, spread_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlconv.latency.sides import Side
    from dlconv.samples import Sample
    from dlconv.workers.worker import Worker

REPEATS = {"float64": 1e-3, "float32": 1e-3}
"""How far a timed answer may lie from an untimed one of the same process, of the output's largest value: threads sum in
any order. Of narrower floats ten times as much. It is parity that judges what is right; this finds what is broken."""


class Lineup:
    """The sides and their processes: slots 0 and 1 are the first side's, then one for each other side.

    samples: of each side the first of one size, at most `most`; numbers: theirs in the side's own set.
    """

    def __init__(self, sides: tuple[Side, ...], most: int) -> None:
        self.sides = sides
        self.slots = (0, *range(len(sides)))
        chosen = [_alike(side.samples)[:most] for side in sides]
        count = min(map(len, chosen))
        pairs = list(zip(sides, (places[:count] for places in chosen), strict=True))
        self.samples = [[side.samples[place] for place in places] for side, places in pairs]
        self.numbers = [[side.numbers[place] for place in places] for side, places in pairs]
        self.inputs = count
        self.shapes = "; ".join(dict.fromkeys(_shapes(samples[0]) for samples in self.samples))


@dataclass
class Process:
    """A process of a side. run_ms: what a run takes, once it is warm."""

    worker: Worker
    side: Side
    samples: list[Sample]
    run_ms: float = 0.0
    warmed: Mapping[str, Any] = field(default_factory=dict)
    _handle: int = 0

    def start(self) -> None:
        """Import the runtime."""
        self.worker.call(f"{self.side.runtime.adapter}:probe", what=f"starting {self.side.runtime.name}")

    def open(self, threads: int, cpus: tuple[int, ...]) -> None:
        """Load the model, and run it once on each sample."""
        self._handle = self.worker.call(
            "dlconv.workers.timing:opened",
            what=f"opening {self.side.name} in {self.side.runtime.name}",
            keep=True,
            cpus=list(cpus),
            samples=self.samples,
            **self._model({"threads": threads, "trace": False}),
        )

    def warm_up(self, least_s: float, cap_s: float, agree: float) -> None:
        """Run until it is steady."""
        self.warmed = self._call("warm_up", least_s=least_s, cap_s=cap_s, agree=agree)
        self.run_ms = float(self.warmed["run_ms"])

    def burst(self, runs: int, offset: int, kept: int, rewarm_s: float) -> np.ndarray[Any, Any]:
        """Times in nanoseconds."""
        times = self._call("burst", runs=runs, offset=offset, kept=kept, rewarm_s=rewarm_s)
        if not isinstance(times, np.ndarray) or times.shape != (runs,) or not (times > 0).all():
            raise InternalError(f"{self.side.name}: a burst of {runs} runs gave {times!r}")
        return times

    def facts(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._call("facts")
        return found

    def answers(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._call("answers")
        return found

    def placement(self, threads: int) -> Mapping[str, Any]:
        """What really runs, found out in a session of its own: a trace would cost time in the one that is timed."""
        self.worker.call("drop", handle=self._handle)
        told = self.worker.call(
            "dlconv.workers.tasks:answer",
            what=f"asking {self.side.runtime.name} what it runs",
            samples=self.samples[:1],
            **self._model({"threads": threads}),
        )
        found: Mapping[str, Any] = told["placement"]
        return found

    def _model(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "runtime": self.side.runtime.adapter,
            "path": str(self.side.path),
            "signature": self.side.signature.to_dict(),
            "settings": {**self.side.runtime.settings, **settings},
        }

    def _call(self, method: str, **args: Any) -> Any:
        return self.worker.call(f"#{self._handle}.{method}", what=f"timing {self.side.name}", **args)


class Meter:
    """How much of the CPUs' time other processes use while the blocks of a measurement run."""

    def __init__(self, cpus: tuple[int, ...]) -> None:
        self._cpus = cpus
        self._whole = self._foreign = 0.0
        self._began = (0.0, 0.0, 0.0)

    def begin(self, processes: list[Process]) -> None:
        """The blocks of a round begin, by these processes and this one."""
        self._began = self._read(processes)

    def end(self, processes: list[Process]) -> None:
        """They are over; the same processes still are there."""
        whole, busy, own = (now - then for now, then in zip(self._read(processes), self._began, strict=True))
        self._whole += whole
        self._foreign += max(0.0, busy - own)

    @property
    def share(self) -> float | None:
        """Of all the time of these CPUs, 0 to 1; None where the system does not tell."""
        return min(1.0, self._foreign / self._whole) if self._whole > 0 else None

    def _read(self, processes: list[Process]) -> tuple[float, float, float]:
        times = psutil.cpu_times(percpu=True)
        mine = [times[cpu] for cpu in self._cpus if cpu < len(times)]
        # What the machine below takes away (steal) is others' too; guests' time is in user's already.
        busy = sum(each.user + each.system + getattr(each, "nice", 0.0) + getattr(each, "steal", 0.0) for each in mine)
        idle = sum(each.idle + getattr(each, "iowait", 0.0) for each in mine)
        own = psutil.Process().cpu_times()
        used = own.user + own.system + sum(process.worker.cpu_seconds for process in processes)
        return busy + idle, busy, used


class Tally:
    """What all processes of all rounds did. logs: of each slot, round and block the logarithm of the time."""

    def __init__(self, lineup: Lineup, threads: int) -> None:
        self.lineup = lineup
        self.threads = threads
        self.rounds = 0
        self.blocks = 0
        self.seconds = 0.0
        self.logs: list[list[list[float]]] = [[] for _ in lineup.slots]
        self.problems: list[str] = []
        self.answers: list[dict[int, Sample]] = [{} for _ in lineup.sides]
        self._times: list[list[np.ndarray[Any, Any]]] = [[] for _ in lineup.sides]
        self._facts: list[list[Mapping[str, Any]]] = [[] for _ in lineup.sides]
        self._warm_ups: list[list[WarmUp]] = [[] for _ in lineup.sides]
        self._placements: list[Mapping[str, Any]] = [{} for _ in lineup.sides]
        self._peaks = [0 for _ in lineup.sides]
        self._begun = 0.0

    def begin(self) -> None:
        """The processes of a round are warm: its blocks begin."""
        for series in self.logs:
            series.append([])
        self._begun = time.monotonic()

    def add(self, bursts: list[list[np.ndarray[Any, Any]]]) -> None:
        """A block: for each slot its bursts."""
        for slot, times in enumerate(bursts):
            self.logs[slot][-1].append(float(np.mean([np.log(np.median(burst)) for burst in times])))
            self._times[self.lineup.slots[slot]] += times
        self.blocks += 1

    def end_blocks(self) -> None:
        """The blocks of a round are over."""
        self.seconds += time.monotonic() - self._begun

    def end(self, slot: int, process: Process) -> None:
        """A process of the round has done its work."""
        index = self.lineup.slots[slot]
        self._facts[index].append(process.facts())
        windows = process.warmed["windows_ms"]
        warmed = (int(process.warmed["runs"]), float(process.warmed["seconds"]), bool(process.warmed["is_settled"]))
        self._warm_ups[index].append(WarmUp(*warmed, float(windows[0]), float(windows[-1]), tuple(windows)))
        self._peaks[index] = max(self._peaks[index], process.worker.peak_memory_bytes)
        self._compare(index, process.answers())
        if not self._placements[index]:
            self._placements[index] = process.placement(self.threads_of(index))
            side = self.lineup.sides[index]
            refused = [refusal(side.runtime.name, text, self._placements[index]) for text in side.options]
            self.problems += [f"{side.name}: {each}" for each in refused if each]

    def threads_of(self, index: int) -> int:
        """The threads that a side's runtime is given."""
        return self.lineup.sides[index].threads or self.threads

    def count(self, index: int) -> int:
        """The timed runs of a side so far."""
        return sum(map(len, self._times[index]))

    def side(self, index: int, versions: Mapping[str, str], *, is_pinned: bool) -> SideEvidence:
        """What was measured of a side."""
        side, facts = self.lineup.sides[index], self._facts[index]
        times = np.concatenate(self._times[index]) / 1e6
        return SideEvidence(
            name=side.name,
            runtime=side.runtime.name,
            versions=versions,
            placement=self._placements[index],
            size_bytes=side.size_bytes,
            threads=self.threads_of(index),
            cpus=tuple(facts[0]["cpus"]),
            is_pinned=is_pinned,
            count=len(times),
            mean_ms=float(times.mean()),
            min_ms=float(times.min()),
            percentiles=percentiles(self._times[index]),
            load_ms=tuple(float(fact["load_ms"]) for fact in facts),
            compile_ms=tuple(float(fact["compile_ms"]) for fact in facts if fact["compile_ms"] is not None),
            first_ms=tuple(float(fact["first_ms"]) for fact in facts),
            warm_ups=tuple(self._warm_ups[index]),
            peak_memory_bytes=self._peaks[index],
            spread=spread_of([times], PER_DECADE_OF_TIMES),
        )

    def _compare(self, index: int, answers: Mapping[str, Any]) -> None:
        name = self.lineup.sides[index].name
        for place, timed, untimed in zip(answers["samples"], answers["timed"], answers["untimed"], strict=True):
            number = self.lineup.numbers[index][place]
            self.answers[index][number] = timed
            strays = [output for output in {**untimed, **timed} if not _repeats(timed.get(output), untimed.get(output))]
            self.problems += [
                f"{name}: {output} of a timed run is not what an untimed run answers to the same sample"
                for output in strays
            ]


def _alike(samples: tuple[Sample, ...]) -> list[int]:
    """The places of the samples that are of the first one's size: times of others would be another model's."""
    return [place for place, sample in enumerate(samples) if _shapes(sample) == _shapes(samples[0])]


def _shapes(sample: Sample) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, array.shape)) or 'scalar'}" for name, array in sample.items())


def _repeats(timed: Any, untimed: Any) -> bool:
    if timed is None or untimed is None or timed.shape != untimed.shape or timed.dtype != untimed.dtype:
        return False
    if timed.dtype.kind not in "fc":
        return bool((timed == untimed).all())
    one, other = timed.astype(np.complex128), untimed.astype(np.complex128)
    finite = np.isfinite(other)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return False
    scale = float(np.abs(other[finite]).max(initial=0.0))
    distance = float(np.abs(one[finite] - other[finite]).max(initial=0.0))
    return distance <= REPEATS.get(timed.dtype.name, 1e-2) * scale
