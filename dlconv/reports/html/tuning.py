"""The page of a search for the best artifact: the front drawn, every contender, and the winner's command."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from dlconv.reports import tuning
from dlconv.reports.html import page, views
from dlconv.reports.html.drawing import INK, MARKERS, SERIES, plain, svg
from dlconv.reports.html.plots import legend, logarithmic

if TYPE_CHECKING:
    from dlconv.tuning.contender import Contender
    from dlconv.tuning.tuned import Tuned

MOST_NAMED: Final = 12
"""Points of the front that have their names beside them; the table has all."""


def document(tuned: Tuned, command: str = "") -> str:
    """The page, as HTML. command: what made it. Raises PackagesMissing without the extra `report`."""
    rows = [
        {
            "contender": each,
            "time_ms": tuned.time_ms(each),
            "why": tuning.why_not(tuned, each),
            "is_on_front": each in tuned.front,
            "is_earlier": tuned.earlier_at(each) is not None,
        }
        for each in tuning.in_order(tuned)
        if each.is_measured
    ]
    return page.rendered(
        "tuning.html.j2",
        tuned=tuned,
        rows=rows,
        others=tuning.not_measured(tuned),
        front_svg=front(tuned, "front"),
        metric=tuning.metric_of(tuned),
        earlier=list(tuning.earlier(tuned)),
        measurements=[
            {
                "name": _sides(tuned, index) + (", by an earlier run" if index in tuned.earlier else ""),
                "latency": views.latency(evidence, (), f"m{index}"),
            }
            for index, evidence in enumerate(tuned.measurements)
        ],
        command=command,
    )


def _sides(tuned: Tuned, index: int) -> str:
    """What a measurement is of: targets with their threads, and of each the precisions."""
    found: dict[str, dict[str, None]] = {}
    for each in (each.setting for each in tuned.contenders if each.timing and each.timing.measurement == index):
        words = f"{each.target}, {each.threads} thread{'s' if each.threads > 1 else ''}"
        found.setdefault(words, {})[each.precision] = None
    told = "; ".join(f"{words}: {', '.join(precisions)}" for words, precisions in found.items())
    return told or tuned.measurements[index].sides[-1].name


def front(tuned: Tuned, key: str) -> str:
    """Time against error, and time against size: the front filled, what it beats hollow. "" where nothing passed."""
    measured = [each for each in tuned.contenders if each.is_measured]
    if not measured:
        return ""
    targets = list(dict.fromkeys(each.setting.target for each in measured))

    def draw(figure: Any) -> None:
        by_error, by_size = figure.subplots(2, 1, sharex=True)
        least = min((each.error for each in measured if each.error > 0), default=1e-9) / 3
        _draw(by_error, tuned, measured, targets, [max(each.error, least) for each in measured], "error / scale")
        _draw(by_size, tuned, measured, targets, [each.size_bytes / 1000 for each in measured], "size, kB")
        by_size.set_xlabel("milliseconds a run")
        legend(by_error, handles=[_dot(target, targets) for target in targets], ncols=2)

    parts = (f"{each.name}: {views.number(tuned.time_ms(each))} ms, {each.size_bytes:,} bytes, error {each.error:.2g}"
             for each in tuned.front)  # fmt: skip
    told = f"{len(measured)} contenders were measured; {len(tuned.front)} are on the front: {'; '.join(parts)}"
    return svg(draw, "Latency, size and error", told, key, height=5.4)


def _draw(
    axes: Any, tuned: Tuned, measured: list[Contender], targets: list[str], heights: list[float], label: str
) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    logarithmic(axes.xaxis, (1.0, 2.0, 5.0))
    logarithmic(axes.yaxis, (1.0,) if max(heights) > 50 * min(heights) else (1.0, 2.0, 5.0))
    named = 0
    for each, height in zip(measured, heights, strict=True):
        time_ms = tuned.time_ms(each) or math.nan
        colour = _colour(each.setting.target, targets)
        is_on_front = each in tuned.front
        style = {"markerfacecolor": colour if is_on_front else "none", "markeredgecolor": colour}
        axes.plot(time_ms, height, MARKERS[_number(each.setting.target, targets)], markersize=7, **style)
        if each == tuned.winner:
            axes.plot(time_ms, height, "o", markersize=14, markerfacecolor="none", markeredgecolor=INK["ink"])
        if is_on_front and named < MOST_NAMED:
            named += 1
            place = {"xytext": (5, 4), "textcoords": "offset points", "fontsize": 9}
            text = f"{each.setting.precision}, {each.setting.threads}"
            axes.annotate(plain(text), (time_ms, height), **place)
    axes.margins(x=0.15, y=0.25)
    axes.set_ylabel(label)


def _dot(target: str, targets: list[str]) -> Any:
    from matplotlib.lines import Line2D

    marker = MARKERS[_number(target, targets)]
    return Line2D([], [], marker=marker, linestyle="none", color=_colour(target, targets), label=plain(target))


def _colour(target: str, targets: list[str]) -> str:
    return INK[SERIES[_number(target, targets)]]


def _number(target: str, targets: list[str]) -> int:
    return targets.index(target) % len(SERIES)
