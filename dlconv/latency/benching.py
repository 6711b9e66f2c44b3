"""Measuring latency: fresh processes in rounds, random blocks, until the answer is sharp enough or the cap is met.

Sides never run at the same time. The statistics and their reasons: `dlconv.validators.ratios` and `percentiles`; what
is timed: `dlconv.workers.timing`.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from dlconv.errors import RequestError, ToolchainMissing
from dlconv.events import Event, Silence
from dlconv.latency.timed import Lineup, Meter, Process, Tally
from dlconv.validators.latency import LatencyEvidence
from dlconv.validators.percentiles import NEEDED
from dlconv.validators.ratios import NARROW, compare, noise_of
from dlconv.workers import toolchains
from dlconv.workers.crew import logs_folder
from dlconv.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.events import Listener
    from dlconv.latency.sides import Side
    from dlconv.samples import Sample
    from dlconv.validators.ratios import Ratio
    from dlconv.workers.toolchains import Located

ROUNDS = 3
"""So many rounds at least: each has fresh processes, and processes of one model differ."""

MOST_ROUNDS = 12
"""The cap: a machine that is too restless by then is told as such."""

CAP = 8.0
LEAST_CAP_S = 60.0
"""The other cap: after so many times the time asked for, and at least this, no further round begins."""

BURST_S = 0.02
REWARM_S = 0.005
"""Before a burst's timed runs: the caches and the cores were another process's."""

SLOW_MS = 100.0
"""From here on a run takes so long that what its first microseconds find in the caches does not matter."""

LEAST_BLOCKS = 4
MOST_INPUTS = 16
AGREE = 0.02
WARM_UP_CAP_S = 10.0


@dataclass(frozen=True)
class BenchSettings:
    """How to measure.

    time_s: seconds of blocks at least; rounds go on to four times as many until the intervals are narrow. cap_s: no
    round begins after so many seconds, all included; 0 for eight times time_s, a minute at least. threads: of each
    runtime, 0 for one a physical core. cpus: the CPUs to pin the processes to, () for none. percentile: samples are
    taken until this one can be told. warm_up_s: of each process, at least. timeout_s and memory_limit_bytes: of each
    worker.
    """

    time_s: float = 15.0
    cap_s: float = 0.0
    threads: int = 0
    cpus: tuple[int, ...] = ()
    seed: int = 0
    percentile: str = "p90"
    warm_up_s: float = 1.0
    timeout_s: float = 1800.0
    memory_limit_bytes: int | None = None

    def __post_init__(self) -> None:
        """Raises RequestError for what cannot be served."""
        wrong = []
        if not (0 < self.time_s < float("inf")):
            wrong.append(f"time_s is {self.time_s}: it must be more than 0")
        if self.threads < 0 or self.seed < 0:
            wrong.append(f"threads is {self.threads} and seed {self.seed}: neither may be less than 0")
        if self.percentile not in NEEDED:
            wrong.append(f"the percentile is {self.percentile!r}: there are {', '.join(NEEDED)}")
        strange = set(self.cpus) - set(available_cpus())
        if self.cpus and not hasattr(os, "sched_setaffinity"):
            wrong.append("this system does not pin processes to CPUs")
        if strange:
            wrong.append(f"this process may not use CPU {', '.join(map(str, sorted(strange)))}")
        if wrong:
            raise RequestError("the measurement cannot be made so", problems=tuple(wrong))

    @property
    def threads_used(self) -> int:
        """The threads that each runtime is given."""
        mine = len(self.cpus) or len(available_cpus())
        return self.threads or min(mine, psutil.cpu_count(logical=False) or mine)


@dataclass(frozen=True)
class Measurement:
    """What was measured, and outputs of timed runs: by side, then by the number of the sample."""

    evidence: LatencyEvidence
    answers: dict[str, dict[int, Sample]] = field(default_factory=dict)


def measure(sides: Sequence[Side], settings: BenchSettings, listener: Listener | None = None) -> Measurement:
    """Time the sides against each other; the first is the baseline, and has a second process for the noise floor.

    Nothing else of the caller's may run meanwhile. Raises RequestError for sides that cannot be told apart,
    ToolchainMissing for what is not here, and StepError or its kin where a side does not run.
    """
    told = listener or Silence()
    names = [side.name for side in sides]
    if not sides or len(set(names)) < len(names):
        raise RequestError(f"there are {len(sides)} sides: {', '.join(names)}", wanted="at least one, each its name")
    lineup = Lineup(tuple(sides), MOST_INPUTS)
    located = _located(sides)
    tally = Tally(lineup, settings.threads_used)
    meter = Meter(settings.cpus or available_cpus())
    start = time.monotonic()
    while True:
        _round(lineup, located, settings, tally, meter)
        ratios, noise = _ratios(tally, settings.seed)
        lacking = _lacking(tally, ratios, settings)
        said = [f"{name} {ratio.ratio:.4g} ({ratio.low:.4g} to {ratio.high:.4g})" for name, ratio in ratios.items()]
        text = f"round {tally.rounds}: {', '.join([*said, f'noise floor {100 * noise:.1f}%'])}"
        told.on(Event("note", "", text, data={"round": tally.rounds, "lacking": lacking}))
        seconds = time.monotonic() - start
        capped = tally.rounds >= MOST_ROUNDS or seconds >= (settings.cap_s or max(CAP * settings.time_s, LEAST_CAP_S))
        if tally.rounds >= ROUNDS and (capped or not lacking):
            break
    reached = f"time, samples and interval were reached after {tally.rounds} rounds"
    evidence = LatencyEvidence(
        sides=tuple(
            tally.side(index, located[side.runtime.toolchain].versions, is_pinned=bool(settings.cpus))
            for index, side in enumerate(sides)
        ),
        ratios=ratios,
        noise=noise,
        others=meter.share,
        rounds=tally.rounds,
        blocks=tally.blocks,
        inputs=lineup.inputs,
        shapes=lineup.shapes,
        seed=settings.seed,
        seconds=time.monotonic() - start,
        stopped=f"the cap was met after {tally.rounds} rounds: {', '.join(lacking)}" if lacking else reached,
        is_complete=not lacking,
        problems=tuple(dict.fromkeys(tally.problems)),
    )
    return Measurement(evidence, {side.name: tally.answers[index] for index, side in enumerate(sides)})


def available_cpus() -> tuple[int, ...]:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _located(sides: Sequence[Side]) -> dict[str, Located]:
    """Where each side's toolchain is; all that are missing are told at once."""
    found = {name: toolchains.locate(toolchains.get(name)) for name in {side.runtime.toolchain for side in sides}}
    missing = [where for where in found.values() if isinstance(where, toolchains.Missing)]
    if len(missing) == 1:
        raise missing[0].error()
    if missing:
        problems = tuple(f"{each.toolchain}: {problem}" for each in missing for problem in each.problems)
        mend = "\n".join(each.mend for each in missing)
        raise ToolchainMissing("toolchains are not installed", problems=problems, mend=mend)
    return {name: where for name, where in found.items() if isinstance(where, toolchains.Located)}


def _round(lineup: Lineup, located: dict[str, Located], settings: BenchSettings, tally: Tally, meter: Meter) -> None:
    """Start a process for each slot, warm all up, and time them in blocks."""
    random = np.random.default_rng((settings.seed, tally.rounds))
    with ExitStack() as stack:
        processes: list[Process] = []
        for slot, index in enumerate(lineup.slots):
            side = lineup.sides[index]
            worker = Worker(
                located[side.runtime.toolchain].interpreter,
                side.name,
                logs_folder() / f"bench-{tally.rounds:02d}-{slot}.log",
                memory_limit_bytes=settings.memory_limit_bytes,
                timeout_s=settings.timeout_s,
            )
            stack.callback(worker.close)
            processes.append(Process(worker, side, lineup.samples[index]))
        with ThreadPoolExecutor(len(processes)) as pool:  # what is not timed may be done side by side
            list(pool.map(Process.start, processes))
        for slot in random.permutation(len(processes)):
            processes[slot].open(tally.threads_of(lineup.slots[slot]), settings.cpus)
            processes[slot].warm_up(settings.warm_up_s, WARM_UP_CAP_S, AGREE)
        meter.begin(processes)
        tally.begin()
        _blocks(processes, settings.time_s / ROUNDS, tally, random)
        tally.end_blocks()
        meter.end(processes)
        for slot, process in enumerate(processes):
            tally.end(slot, process)
        tally.rounds += 1


def _blocks(processes: list[Process], least_s: float, tally: Tally, random: np.random.Generator) -> None:
    runs = [_runs_of(process.run_ms, len(process.samples)) for process in processes]
    start, done = time.monotonic(), 0
    while True:
        order = [int(slot) for slot in random.permutation(len(processes))]
        offset = int(random.integers(len(processes[0].samples)))
        bursts: list[list[Any]] = [[] for _ in processes]
        for slot in [*order, *reversed(order)]:
            rewarm_s = REWARM_S if processes[slot].run_ms < SLOW_MS else 0.0
            bursts[slot].append(processes[slot].burst(runs[slot], offset, int(random.integers(runs[slot])), rewarm_s))
        tally.add(bursts)
        done += 1
        seconds = time.monotonic() - start
        if seconds >= least_s and (done >= LEAST_BLOCKS or seconds >= LEAST_BLOCKS * least_s):
            return


def _runs_of(run_ms: float, inputs: int) -> int:
    """The runs of a burst: as long as it should last, and every input as often as the others where that is possible."""
    runs = max(1, round(BURST_S * 1e3 / max(run_ms, 1e-3)))
    return runs - runs % inputs if runs > inputs else runs


def _ratios(tally: Tally, seed: int) -> tuple[dict[str, Ratio], float]:
    baseline, again, *others = tally.logs
    names = [side.name for side in tally.lineup.sides[1:]]
    ratios = {name: compare(logs, baseline, again, seed) for name, logs in zip(names, others, strict=True)}
    return ratios, noise_of(baseline, again, seed)


def _lacking(tally: Tally, ratios: dict[str, Ratio], settings: BenchSettings) -> list[str]:
    """What has to be reached yet, a phrase each."""
    wanted = NEEDED[settings.percentile][1]
    fewest = min(tally.count(index) for index in range(len(tally.lineup.sides)))
    wide = [name for name, ratio in ratios.items() if not ratio.is_narrow]
    lacking = [f"the interval of {name} is wider than {100 * NARROW:g}% to each side" for name in wide]
    if fewest < wanted:
        lacking.append(f"{fewest} samples are too few for {settings.percentile}")
    if tally.seconds < settings.time_s:
        lacking.append("the time asked for has not passed")
    return lacking
