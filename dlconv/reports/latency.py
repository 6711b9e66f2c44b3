"""A measurement told to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dlconv.reports.fitting import fitted, folded
from dlconv.reports.table import one_line, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dlconv.validators.latency import LatencyEvidence, SideEvidence
    from dlconv.validators.percentiles import Percentile
    from dlconv.validators.ratios import Ratio
    from dlconv.validators.verdict import Check

_HEADS = ("artifact", "runtime", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "p99.9 ms", "runs", "load ms", "first ms",
          "memory", "file")  # fmt: skip


def lines(evidence: LatencyEvidence, checks: Iterable[Check] = (), width: int | None = None) -> Iterator[str]:
    """The lines, in order: times, ratios, how it was measured, and what the bars say. width: the terminal's columns."""
    rows: list[Mapping[str, str]] = [dict(zip(_HEADS, _row(side), strict=True)) for side in evidence.sides]
    head, told = fitted(rows, width, right=_HEADS[2:], below=_HEADS[:0:-1], lead=_HEADS[0])
    yield from head
    for block in told:
        yield from block
    for line in _sentences(evidence, checks):
        yield from folded(line, width, after=2)


def _sentences(evidence: LatencyEvidence, checks: Iterable[Check]) -> Iterator[str]:
    if any(percentile.value_ms is None for side in evidence.sides for percentile in side.percentiles.values()):
        yield "-: insufficient samples (p50 needs 11, p90 64, p95 130, p99 662, p99.9 6,636)"
    yield ""
    baseline = one_line(evidence.sides[0].name)
    for name, ratio in evidence.ratios.items():
        yield f"{one_line(name)} against {baseline}: {ratio_text(ratio)}"
    yield f"noise floor: {baseline} differs from itself, in two processes, by up to {100 * evidence.noise:.1f}%"
    yield from _conditions(evidence)
    for problem in evidence.problems:
        yield f"WRONG: {one_line(problem)}"
    told = [(check.verdict.word, one_line(check.title), check.verdict.reasons) for check in checks]
    if told:
        yield ""
    for word, title, reasons in told:
        yield f"{word:12}  {title}"
        yield from (f"{'':14}{one_line(reason)}" for reason in reasons)


def ratio_text(ratio: Ratio) -> str:
    """The ratio with its interval and its word: "1.052 times the time (1.031 to 1.074): slower"."""
    return f"{ratio.ratio:.4g} times the time ({ratio.low:.4g} to {ratio.high:.4g}): {ratio.word}"


def _row(side: SideEvidence) -> tuple[str, ...]:
    return (
        one_line(side.name),
        side.runtime,
        *(_milliseconds(side.percentiles.get(head.removesuffix(" ms"))) for head in _HEADS[2:7]),
        f"{side.count:,}",
        _middle(side.load_ms),
        _middle(side.first_ms),
        size(side.peak_memory_bytes),
        size(side.size_bytes),
    )


def _conditions(evidence: LatencyEvidence) -> Iterator[str]:
    side = evidence.sides[0]
    cpus = ", ".join(map(str, side.cpus)) or "unknown"
    pinned = "pinned to" if side.is_pinned else "not pinned, free to use"
    threads = "1 thread" if side.threads == 1 else f"{side.threads} threads"
    yield f"conditions: {threads} a runtime; {pinned} CPU {cpus}; {evidence.inputs} distinct inputs ({evidence.shapes})"
    for each in evidence.sides:
        if each.compile_ms:
            yield f"compiling: {one_line(each.name)} {_middle(each.compile_ms)} ms of its load"
        if gpu := each.placement.get("times"):
            yield f"GPU: {one_line(each.name)} {_on_the_gpu(gpu)}"
        restless = sum(not warm_up.is_settled for warm_up in each.warm_ups)
        if restless:
            yield f"warm-up: {restless} of {len(each.warm_ups)} processes of {one_line(each.name)} did not settle"
    yield f"{evidence.rounds} rounds, {evidence.blocks} blocks, {evidence.seconds:.0f} s: {evidence.stopped}"
    if evidence.disturbance:
        yield f"a busy machine: {evidence.disturbance}"
    yield "times are this machine's; ratios are of sides that were measured side by side"


def _on_the_gpu(times: Mapping[str, float]) -> str:
    """What a runtime tells of its GPU's own clock, in milliseconds; the timed calls are without transfers."""
    apart = ", ".join(f"{word} {_figure(times[f'{word}_ms'])} ms" for word in ("compute", "upload", "download"))
    return f"{apart} by its own clock; {_figure(times['wall_ms'])} ms with transfers by the clock on the wall"


def _milliseconds(percentile: Percentile | None) -> str:
    return "-" if percentile is None or percentile.value_ms is None else _figure(percentile.value_ms)


def _middle(values: Sequence[float]) -> str:
    return _figure(float(np.median(values))) if values else "-"


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
