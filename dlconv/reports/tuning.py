"""A search for the best artifact told to a person: the table, the front, what is of no use, and the winner."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from dlconv.reports.table import duration, one_line, size, table
from dlconv.tuning.front import judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.tuning.contender import Contender
    from dlconv.tuning.tuned import Tuned

HEADS = ("contender", "verdict", "ms", "x float32", "size", "error", "drop", "front")
RIGHT = ("ms", "x float32", "size", "error", "drop")
EARLIER = "*"
"""Beside a time that an earlier run measured."""

COLOURS = {"PASS": "green", "FAIL": "red", "ERROR": "red"}


def rows(tuned: Tuned) -> list[tuple[str, ...]]:
    """A row for each contender, the fastest of those that were measured first."""
    return [_row(tuned, each) for each in in_order(tuned)]


def in_order(tuned: Tuned) -> list[Contender]:
    """Those that were measured by time, then the others as they were to be measured."""
    measured = sorted((each for each in tuned.contenders if each.is_measured), key=lambda each: each.costs)
    return [*measured, *(each for each in tuned.contenders if not each.is_measured)]


def _row(tuned: Tuned, each: Contender) -> tuple[str, ...]:
    time_ms = tuned.time_ms(each)
    ratio = None if each.timing is None else each.timing.ratio
    known = each.error == each.error
    mark = "winner" if each == tuned.winner else "front" if each in tuned.front else ""
    return (
        one_line(each.name),
        each.word,
        "-" if time_ms is None else f"{time_ms:.3g}{'' if tuned.earlier_at(each) is None else EARLIER}",
        "-" if each.timing is None else "1" if ratio is None else f"{ratio.ratio:.3g} {ratio.word}",
        size(each.size_bytes) if each.size_bytes else "-",
        f"{each.error:.1e}" if known else "-",
        "-" if each.drop is None else f"{100 * each.drop:.2g}%",
        mark,
    )


def lines(tuned: Tuned, *, with_table: bool = True) -> Iterator[str]:
    """The lines, in order. with_table: else the table has been shown."""
    if with_table:
        yield from table(HEADS, rows(tuned), right=RIGHT)
    yield ""
    yield from remarks(tuned)
    yield ""
    yield from conclusion(tuned)


def remarks(tuned: Tuned) -> Iterator[str]:
    """What is to be said of the contenders besides: which were not measured and why, what is of no use, the noise."""
    for (word, reasons), contenders in not_measured(tuned).items():
        yield f"{word}: {one_line('; '.join(each.name for each in contenders))}"
        yield from (f"  {one_line(reason)}" for reason in reasons)
    yield from (one_line(use) for use in tuned.uses)
    if any(each.drop is not None for each in tuned.contenders):
        yield f"drops are of {one_line(metric_of(tuned))}, against the source's own"
    if tuned.measurements:
        noise = max(evidence.noise for evidence in tuned.measurements)
        yield f"noise floor: float32 differs from itself, in two processes, by up to {100 * noise:.1f}%"
        yield f"times are this machine's, on the scale of {one_line(tuned.anchor)}, which was in every measurement"
        busiest = max(tuned.measurements, key=lambda evidence: evidence.others or 0.0)
        if busiest.disturbance:
            yield f"a busy machine: {busiest.disturbance}"
    yield from earlier(tuned)


def earlier(tuned: Tuned) -> Iterator[str]:
    """What is to be known of times that an earlier run measured."""
    if tuned.earlier:
        oldest = min(tuned.earlier.values())
        when = f"{datetime.fromtimestamp(oldest, timezone.utc):%Y-%m-%d %H:%M} UTC"
        since = "" if max(tuned.earlier.values()) - oldest < 1 else " or later"
        yield f"{EARLIER} measured by an earlier run, on {when}{since}, {_age(tuned.at - oldest)} before this one"
        yield "  of the same files, samples, runtimes, threads and machine; to measure them now: --anew"


def _age(seconds: float) -> str:
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def conclusion(tuned: Tuned) -> Iterator[str]:
    """The front, and the winner with its command; or why there is none."""
    if tuned.front:
        yield f"front: {one_line('; '.join(each.name for each in tuned.front))}"
    winner = tuned.winner
    if winner is None:
        yield "no winner:"
        yield from (f"  {one_line(line)}" for line in tuned.why())
    else:
        yield f"winner: {one_line(winner.name)}"
        yield from (f"  {one_line(line)}" for line in tuned.why())
        yield f"  {winner.command}"
        yield f"  run it with {winner.how}"
        yield f"  time it so: {winner.bench}"
    counts = ", ".join(f"{count} {word}" for word, count in tuned.counts.items())
    ended = "interrupted after" if tuned.is_interrupted else "took"
    yield f"{counts}; {ended} {duration(tuned.seconds)} of {duration(tuned.budget_s)}"
    if tuned.goes_on:
        yield "what was measured is kept for a day: the same command again goes on from here"


def metric_of(tuned: Tuned) -> str:
    """What the drops are of, in words."""
    return f"{tuned.wish.metric or 'accuracy'} on the labels"


def shown(tuned: Tuned, width: int = 120) -> Any:
    """The table for a terminal of so many columns, as rich draws it. A narrow one has one column for verdict and front,
    and "?" for inconclusive; names go over several lines."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    whole = rows(tuned)
    is_narrow = sum(max(map(len, column)) + 3 for column in zip(HEADS, *whole, strict=True)) > width + 3
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0) if is_narrow else (0, 1))
    for head in _narrow(HEADS) if is_narrow else HEADS:
        drawn.add_column(head, justify="right" if head in RIGHT else "left", no_wrap=head != "contender")
    for row in whole:
        cells = [Text(cell) for cell in (_narrow(row) if is_narrow else row)]
        cells[-1 if is_narrow else 1].stylize(COLOURS.get(row[1], "yellow"))
        drawn.add_row(*cells, style="bold" if row[-1] == "winner" else "")
    return drawn


def _narrow(row: tuple[str, ...]) -> tuple[str, ...]:
    name, word, ms, ratio, *figures, mark = row
    return (name, ms, ratio.replace("inconclusive", "?"), *figures, mark if word == "PASS" and mark else word)


def not_measured(tuned: Tuned) -> dict[tuple[str, tuple[str, ...]], list[Contender]]:
    """Those of one word for one reason, together."""
    told: dict[tuple[str, tuple[str, ...]], list[Contender]] = {}
    for each in tuned.contenders:
        if not each.is_measured:
            told.setdefault((each.word, each.reasons), []).append(each)
    return told


def why_not(tuned: Tuned, contender: Contender) -> str:
    """Why a measured contender did not win; "" of the winner."""
    if missed := judged(contender, tuned.wish).reasons:
        return "; ".join(missed)
    winner = tuned.winner
    if winner is None or contender == winner:
        return ""
    times, size_times = (one / other for one, other in zip(contender.costs[:2], winner.costs[:2], strict=True))
    if contender.timing and winner.timing and not contender.timing.ties_with(winner.timing) and times > 1:
        return f"{times:.3g} times the winner's time"
    tied = "its time is within the noise of the winner's"
    if size_times > 1:
        return f"{tied}, its size {size_times:.3g} times"
    return f"{tied}, and it is no smaller and no more exact"
