"""What the statistics of `dlconv bench` say of ratios that are known, on simulated machines that misbehave.

    python benchmarks/latency_simulation.py [--runs N] [--page docs/latency.md]

Each simulated run goes through the very functions that judge a real one (`dlconv.validators.ratios`), with the same
number of rounds and blocks and the same rule for stopping. NumPy alone; seeded; 1000 runs a field take about a quarter
of an hour of a free core.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from runs import put_section

from dlconv.latency.benching import MOST_ROUNDS, ROUNDS
from dlconv.validators.percentiles import NEEDED, percentiles
from dlconv.validators.ratios import compare

Array = np.ndarray[Any, Any]
BLOCKS = 25
"""Blocks of a round of five seconds, at some 30 ms a burst."""
RUNS = 21
"""Runs of a burst of 20 ms, of a model of 1 ms."""
SIDES = 3
PROCESS_SD = 0.005
"""The spread of processes of one model: five of the digits model, 30 µs a run, differed by so much (once)."""


def quiet(_: np.random.Generator, count: int) -> Array:
    """A machine that does nothing else."""
    return np.zeros(count)


def drift(random: np.random.Generator, count: int) -> Array:
    """It becomes a third slower or faster while the run lasts, and breathes by 5%."""
    along = np.linspace(0, random.uniform(-0.3, 0.3), count)
    return along + 0.05 * np.sin(np.arange(count) * 2 * np.pi / random.uniform(20, 200) + random.uniform(0, 6))


def steps(random: np.random.Generator, count: int) -> Array:
    """Its clock, or a neighbour, changes now and then, and with it all times by half."""
    flips = random.random(count) < 1 / 60
    return 0.4 * ((np.cumsum(flips) + random.integers(2)) % 2)


def outliers(random: np.random.Generator, count: int) -> Array:
    """Every twentieth burst takes up to twice as long."""
    return np.where(random.random(count) < 0.05, random.uniform(0, 0.7, count), 0.0)


def autocorrelated(random: np.random.Generator, count: int) -> Array:
    """Each burst is much like the one before: an autoregressive process of 5%, with 0.95 kept."""
    shocks = random.normal(0, 0.05 * np.sqrt(1 - 0.95**2), count)
    series, value = np.empty(count), random.normal(0, 0.05)
    for index, shock in enumerate(shocks):
        value = 0.95 * value + shock
        series[index] = value
    return series


def processes(_: np.random.Generator, count: int) -> Array:
    """A quiet machine on which processes of one model differ twice as much."""
    return np.zeros(count)


def everything(random: np.random.Generator, count: int) -> Array:
    """All of these at once."""
    return np.sum([each(random, count) for each in (drift, steps, outliers, autocorrelated)], axis=0)


MACHINES: tuple[Callable[[np.random.Generator, int], Array], ...] = (
    quiet, drift, steps, outliers, autocorrelated, processes, everything,
)  # fmt: skip


def simulated(machine: Callable[..., Array], effect: float, seed: int) -> tuple[str, int, tuple[float, float]]:
    """One run: its word, its rounds, and its interval."""
    random = np.random.default_rng(seed)
    weather = machine(random, MOST_ROUNDS * BLOCKS * 2 * SIDES).reshape(MOST_ROUNDS, BLOCKS, 2 * SIDES)
    logs: list[list[Array]] = [[] for _ in range(SIDES)]
    for index in range(MOST_ROUNDS):
        spread = PROCESS_SD * (2 if machine is processes else 1)
        offsets = random.normal(0, spread, SIDES) + np.array([np.log1p(effect), 0, 0])
        order = np.argsort(random.random((BLOCKS, SIDES)), axis=1)
        places = np.concatenate([order, order[:, ::-1]], axis=1)
        runs = random.normal(0, 0.03, (BLOCKS, 2 * SIDES, RUNS))
        runs += np.where(random.random(runs.shape) < 0.05, random.exponential(0.5, runs.shape), 0)
        bursts = weather[index] + offsets[places] + np.median(runs, axis=2)
        for side in range(SIDES):
            logs[side].append(bursts[places == side].reshape(BLOCKS, 2).mean(axis=1))
        if index + 1 >= ROUNDS:
            found = compare(*logs, seed=seed)
            if found.is_narrow:
                break
    return found.word, index + 1, (found.low, found.high)


def sequential(effect: float, machine: Callable[..., Array], seed: int) -> bool:
    """What many scripts do: all runs of one, then all of the other; slower if the median is 5% more."""
    random = np.random.default_rng(seed)
    count = 2 * BLOCKS * ROUNDS
    weather = machine(random, 2 * count)
    times = weather[:, None] + random.normal(0, 0.03, (2 * count, RUNS))
    return bool(np.log1p(effect) + np.median(times[count:]) - np.median(times[:count]) > np.log(1.05))


def ratios(runs: int) -> list[str]:
    """The rows of the table of ratios."""
    rows = []
    for machine in MACHINES:
        cells, covered, rounds = [], [], []
        for effect, count in ((0.0, runs), (0.05, runs), (0.10, 2 * runs)):
            words: Counter[str] = Counter()
            for seed in range(count):
                word, used, (low, high) = simulated(machine, effect, seed)
                words[word] += 1
                covered.append(low <= 1 + effect <= high)
                rounds.append(used)
            wrong = words["slower"] + words["faster"] if effect == 0 else words["slower"]
            cells.append(f"{wrong} of {count}")
            print(machine.__name__, effect, dict(words), flush=True)
        naive = sum(sequential(0.0, machine, seed) for seed in range(runs))
        rows.append(
            f"| {machine.__name__} | {cells[0]} | {cells[1]} | {cells[2]} | {100 * np.mean(covered):.2f}% "
            f"| {np.mean(rounds):.1f} | {100 * naive / runs:.1f}% |"
        )
    return rows


def bounds(runs: int) -> list[str]:
    """The rows of the table of percentiles: how often the 99% upper bound was below the truth."""
    rows = []
    for kept in (0.0, 0.9):
        shocks = np.random.default_rng(1).normal(0, 1, (runs, 4000))
        series = np.empty_like(shocks)
        series[:, 0] = shocks[:, 0]
        for index in range(1, shocks.shape[1]):
            series[:, index] = kept * series[:, index - 1] + np.sqrt(1 - kept**2) * shocks[:, index]
        truth = {"p50": 0.0, "p90": 1.2815515655, "p95": 1.644853627, "p99": 2.326347874}
        cells = []
        for name, value in truth.items():
            found = [percentiles([1e6 * np.exp(row)])[name].high_ms for row in series]
            told = [high for high in found if high is not None]
            cells.append(f"{sum(high < np.exp(value) for high in told)} of {len(told)}")
        rows.append(f"| {kept} | " + " | ".join(cells) + " |")
    return rows


def main() -> None:
    """Simulate, and write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--page", type=Path)
    asked = parser.parse_args()
    start = time.perf_counter()
    lines = [
        f"{asked.runs} simulated runs a field ({2 * asked.runs} at 10%), {ROUNDS} to {MOST_ROUNDS} rounds of {BLOCKS} "
        f"blocks, processes of one model {100 * PROCESS_SD:.1f}% apart (standard deviation).",
        "",
        "| machine | no change, called slower or faster | 5% slower, found | 10% slower, found "
        "| interval holds the truth | rounds, mean | one after the other, median > 5%: false alarms |",
        "|---|---|---|---|---|---|---|",
        *ratios(asked.runs),
        "",
        *(f"- {machine.__name__}: {machine.__doc__}" for machine in MACHINES),
        "",
        "The 99% upper bound of a percentile, of 4,000 runs, was below the truth:",
        "",
        "| autocorrelation of runs | " + " | ".join(list(NEEDED)[:4]) + " |",
        "|---|---|---|---|---|",
        *bounds(asked.runs),
    ]
    print("\n".join(lines))
    print(f"{time.perf_counter() - start:.0f} s")
    if asked.page is not None:
        put_section(asked.page, "simulation", "\n".join(lines))


if __name__ == "__main__":
    main()
