"""The plots: errors against their bars, latency against the baseline, warm-up. Each takes what was recorded.

A plot is left out ("") where nothing was recorded for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from dlconv.reports.html.drawing import INK, MARKERS, SERIES, plain, svg
from dlconv.validators.spread import Spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.diffing.difference import Difference
    from dlconv.validators.latency import LatencyEvidence, SideEvidence

MOST_ROWS: Final = 20
"""Outputs in an overview: those nearest to their bars; the tables have all."""

MOST_HISTOGRAMS: Final = 4
_NAME: Final = 40
"""Letters of a name above a row: capitals too have room."""
_LEGEND: Final = 0.17
"""The height of a line of a legend, in inches."""
_ROW: Final = 0.38
"""The height of a row with its name above it, in inches."""
_LEAST_SHOWN: Final = 1e-6
"""An error that is this part of its bar, or less, is drawn at the left end."""


def nearness(error: Any, bar: Any) -> float:
    """An error in units of its bar: over 1 fails. Infinite where there is no number to tell."""
    try:
        error, bar = float(error), float(bar)
    except (TypeError, ValueError):
        return math.inf
    if bar > 0:
        ratio = error / bar
        return ratio if ratio == ratio else math.inf
    return 0.0 if error == 0 else math.inf


def logarithmic(axis: Any, steps: tuple[float, ...] = (1.0,)) -> None:
    """A logarithmic axis with ticks at the steps of a decade, written plainly."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axis.set_major_locator(LogLocator(subs=steps, numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _decade(value)))


def _decade(value: float) -> str:
    """ "1e-7", "0.01", "100"."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    return f"{value / 10**exponent:.0f}e{exponent}"


def overview(rows: Sequence[tuple[str, Mapping[str, Any]]], key: str) -> str:
    """Each output's error in units of its bar. rows: a label, and the figures of its parity."""
    known = [(label, figures) for label, figures in rows if "error" in figures and "bar" in figures]
    ranked = sorted(known, key=lambda row: -nearness(row[1]["error"], row[1]["bar"]))[:MOST_ROWS]
    if not ranked:
        return ""
    shown = [nearness(figures["error"], figures["bar"]) for _, figures in ranked]
    most = max([10.0, *(each * 3 for each in shown if math.isfinite(each))])

    height = 0.75 + _ROW * len(ranked)

    def draw(figure: Any) -> None:
        # No label is outside but those of the ticks: there is no need to measure them.
        axes = figure.add_axes((0.03, 0.5 / height, 0.94, 1 - 0.7 / height))
        axes.set_xscale("log")
        logarithmic(axes.xaxis)
        ends = [min(max(each, _LEAST_SHOWN), most) for each in shown]
        colours = [INK["bad"] if not each <= 1 else INK["good"] for each in shown]
        axes.hlines(range(len(ends)), _LEAST_SHOWN, ends, colors=colours, linewidth=3)
        for row, (end, each) in enumerate(zip(ends, shown, strict=True)):
            failed = not each <= 1
            axes.plot(end, row, "X" if failed else "o", color=colours[row], markersize=7 if failed else 5)
            if not math.isfinite(each):
                place = {"xytext": (-8, 0), "textcoords": "offset points", "ha": "right", "va": "bottom", "fontsize": 9}
                axes.annotate("no number", (end, row), **place)
        axes.axvline(1, color=INK["ink"], linewidth=1.2)
        top = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom", "annotation_clip": False}
        axes.annotate("bar", (1, 1), fontsize=9, **top)
        axes.set_xlim(_LEAST_SHOWN / 2, most * 2)
        _name_rows(axes, [label for label, _ in ranked])
        axes.set_xlabel("error / bar")

    beyond = sum(not each <= 1 for each in shown)
    told = f"{len(shown)} outputs, {beyond} beyond their bars. The nearest: {ranked[0][0]} at {shown[0]:.3g} of its bar"
    return svg(draw, "Errors in units of their bars", told, key, height=height, layout=None)


def _name_rows(axes: Any, names: Sequence[str]) -> None:
    """Names of rows 0, 1, ... above what is drawn in them: beside it there is no room on a phone."""
    axes.set_ylim(len(names) - 0.5, -0.9)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    for row, name in enumerate(names):
        place = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 9}
        axes.annotate(plain(name, _NAME), (0.01, row - 0.42), **place)


def errors(outputs: Sequence[Mapping[str, Any]], key: str) -> str:
    """How the errors of each output's elements spread, against its bar and its noise floor."""
    known = [figures for figures in outputs if figures.get("spread") and figures["spread"]["counts"]]
    ranked = sorted(known, key=lambda figures: -nearness(figures["error"], figures["bar"]))[:MOST_HISTOGRAMS]
    if not ranked:
        return ""

    height = 0.5 + 1.35 * len(ranked)

    def draw(figure: Any) -> None:
        # Labels are short and known: there is no need to measure them.
        room = {"left": 0.15, "right": 0.97, "bottom": 0.55 / height, "top": 1 - 0.4 / height, "hspace": 0.85}
        many = figure.subplots(len(ranked), 1, squeeze=False, gridspec_kw=room)[:, 0]
        for axes, figures in zip(many, ranked, strict=True):
            spread = Spread.from_dict(figures["spread"])
            axes.set_xscale("log")
            logarithmic(axes.xaxis)
            axes.stairs(spread.counts, spread.edges, fill=True, color=INK["first"])
            marks = ((float(figures["floor"]), "noise floor", "dotted"), (float(figures["bar"]), "bar", "solid"))
            _mark_sides(axes, sorted(mark for mark in marks if mark[0] > 0 and math.isfinite(mark[0])))
            if 0 < (largest := float(figures["error"])) < math.inf:
                is_beyond = not largest <= float(figures["bar"])
                look = {"color": INK["bad" if is_beyond else "first"], "clip_on": False, "markersize": 7}
                axes.plot(largest, 0, "X", **look)
            beside = [f"{spread.zeros:,} exact"] * bool(spread.zeros) + [f"{spread.endless:,} infinite or NaN"] * bool(
                spread.endless
            )
            axes.set_title(plain(", ".join([str(figures["name"]), *beside]), _NAME), pad=14)
            axes.set_ylabel("elements")
            axes.locator_params(axis="y", nbins=3)
        many[-1].set_xlabel("error of an element / scale of the output")

    parts = (
        f"{figures['name']}: largest {float(figures['error']):.3g}, bar {float(figures['bar']):.3g}, "
        f"noise floor {float(figures['floor']):.3g}"
        for figures in ranked
    )
    return svg(draw, "Distribution of errors", "; ".join(parts), key, height=height, layout=None)


def _mark_sides(axes: Any, marks: Sequence[tuple[float, str, str]]) -> None:
    """Lines with their names above, to the two sides, or they lie upon each other where the lines are near; the axis is
    made so long that the names have room."""
    for side, (place, name, style) in zip(("right", "left"), marks, strict=False):
        axes.axvline(place, color=INK["ink"], linestyle=style, linewidth=1.2)
        top = ("data", "axes fraction")
        axes.annotate(name, (place, 1), xycoords=top, ha=side, va="bottom", fontsize=9)
    low, high = (math.log10(end) for end in axes.get_xlim())
    letter = (high - low) / 36
    lefts = [math.log10(place) - letter * len(name) for place, name, _ in marks[:1]]
    rights = [math.log10(place) + letter * len(name) for place, name, _ in marks[1:]]
    axes.set_xlim(10 ** min([low, *lefts]), 10 ** max([high, *rights]))


def latencies(evidence: LatencyEvidence, key: str) -> str:
    """The distribution of each side's times with its percentiles and their bounds; of older records these alone."""
    sides = evidence.sides

    def draw(figure: Any) -> None:
        many = figure.subplots(len(sides), 1, squeeze=False, sharex=True)[:, 0]
        for number, (axes, side) in enumerate(zip(many, sides, strict=True)):
            axes.set_xscale("log")
            logarithmic(axes.xaxis, (1.0, 2.0, 5.0))
            colour = INK[SERIES[number % len(SERIES)]]
            if side.spread is not None and side.spread.counts:
                axes.stairs(side.spread.counts, side.spread.edges, fill=True, color=colour, alpha=0.45)
            _mark_percentiles(axes, side, colour)
            axes.set_title(plain(side.name, _NAME), pad=14)
            axes.set_yticks([])
            axes.margins(y=0.25)
        many[-1].set_xlim(*_most_of(sides))
        many[-1].set_xlabel("milliseconds a run")

    parts = (f"{side.name}: {_told_percentiles(side)}" for side in sides)
    return svg(draw, "Latency", "; ".join(parts), key, height=0.5 + 1.15 * len(sides))


def _most_of(sides: Sequence[SideEvidence]) -> tuple[float, float]:
    """From the fastest run to well beyond the 99th percentile (else the highest known): the rest is in the table."""
    highest = [
        each.high_ms or each.value_ms for side in sides for name, each in side.percentiles.items() if name != "p99.9"
    ]
    known = [value for value in highest if value is not None] or [side.mean_ms for side in sides]
    return min(side.min_ms for side in sides) / 1.2, 1.5 * max(known)


def _mark_percentiles(axes: Any, side: SideEvidence, colour: str) -> None:
    for name, each in side.percentiles.items():
        if each.value_ms is None or name == "p99.9":
            continue
        axes.axvline(each.value_ms, color=colour, linewidth=1.2)
        if each.low_ms is not None and each.high_ms is not None:
            axes.axvspan(each.low_ms, each.high_ms, color=colour, alpha=0.18, linewidth=0)
        top = ("data", "axes fraction")
        if name in ("p50", "p99"):
            aside = "right" if name == "p50" else "left"  # of each other, where they are near
            axes.annotate(name, (each.value_ms, 1), xycoords=top, ha=aside, va="bottom", fontsize=9)


def _told_percentiles(side: SideEvidence) -> str:
    known = {name: each.value_ms for name, each in side.percentiles.items() if each.value_ms is not None}
    return ", ".join(f"{name} {value:.3g} ms" for name, value in known.items()) or "too few runs for a percentile"


def ratios(evidence: LatencyEvidence, bars: Mapping[str, float], key: str) -> str:
    """Each side's time over the baseline's: the interval, the rounds, and what the baseline is to itself.

    bars: the largest ratio that is allowed, by the side's name.
    """
    found = list(evidence.ratios.items())
    if not found:
        return ""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.axvspan(1 / (1 + evidence.noise), 1 + evidence.noise, color=INK["line"], alpha=0.6, linewidth=0)
        axes.axvline(1, color=INK["ink"], linewidth=1)
        for row, (name, ratio) in enumerate(found):
            colour = INK[SERIES[(row + 1) % len(SERIES)]]
            axes.plot(ratio.rounds, [row] * len(ratio.rounds), "|", color=INK["faint"], markersize=9)
            axes.plot([ratio.low, ratio.high], [row, row], color=colour, linewidth=4, solid_capstyle="butt", alpha=0.6)
            axes.plot(ratio.ratio, row, "D", color=colour, markersize=6)
            if name in bars:
                axes.plot([bars[name]] * 2, [row - 0.35, row + 0.35], color=INK["bad"], linewidth=2)
        _plain_ticks(axes, [value for _, ratio in found for value in (ratio.low, ratio.high, *ratio.rounds)])
        _name_rows(axes, [name for name, _ in found])
        axes.set_xlabel(plain(f"times the time of {evidence.sides[0].name}", _NAME))

    parts = (f"{name}: {each.ratio:.4g} times ({each.low:.4g} to {each.high:.4g}), {each.word}" for name, each in found)
    told = f"{'; '.join(parts)}; the baseline differs from itself by up to {100 * evidence.noise:.1f}%"
    return svg(draw, f"Time against {evidence.sides[0].name}", told, key, height=0.75 + _ROW * len(found))


def _plain_ticks(axes: Any, values: Sequence[float]) -> None:
    """Ticks of a logarithmic axis that spans less than a decade or two, as plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    low, high = min([0.95, *values]) / 1.05, max([1.05, *values]) * 1.05
    shown = [1.0]  # and what else there is room for
    for step in (0.5, 2, 0.1, 10, 0.9, 1.1, 0.8, 1.25, 1.5, 0.2, 3, 5, 20, 50, 100):
        if low <= step <= high and all(abs(math.log(step / each)) > math.log(high / low) / 8 for each in shown):
            shown.append(step)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def warm_ups(evidence: LatencyEvidence, key: str) -> str:
    """The medians of each process's windows before anything was timed, until they agreed."""
    traced = [side for side in evidence.sides if any(len(each.windows_ms) > 1 for each in side.warm_ups)]
    if not traced:
        return ""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for number, side in enumerate(traced):
            colour = INK[SERIES[number % len(SERIES)]]
            look = {"marker": MARKERS[number % len(MARKERS)], "markersize": 3}
            for index, each in enumerate(side.warm_ups):
                label = plain(side.name, _NAME - 4) if index == 0 else None
                style = "solid" if each.is_settled else "dotted"
                windows = range(1, len(each.windows_ms) + 1)
                axes.plot(windows, each.windows_ms, color=colour, linestyle=style, linewidth=1, label=label, **look)
        axes.set_yscale("log")
        logarithmic(axes.yaxis, (1.0, 2.0, 5.0))
        axes.set_xlabel("window")
        axes.set_ylabel("median, ms")
        legend(axes)

    restless = sum(not each.is_settled for side in traced for each in side.warm_ups)
    count = sum(len(side.warm_ups) for side in traced)
    return svg(
        draw, "Warm-up", f"{count} processes, of which {restless} did not settle", key, height=2 + _LEGEND * len(traced)
    )


def legend(axes: Any, **further: Any) -> None:
    """A legend above the axes, an entry a line: beside them there is no room on a phone."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, borderaxespad=0.3, labelspacing=0.2, **further)


def operators(counts: Mapping[str, float], title: str, label: str, key: str, most: int = 15) -> str:
    """The largest of what has a name and a number, as bars."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    if not ranked:
        return ""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.barh(
            [plain(name, 22) for name, _ in ranked], [count for _, count in ranked], color=INK["first"], height=0.7
        )
        axes.invert_yaxis()
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)

    told = ", ".join(f"{name} {count:,.6g}" for name, count in ranked)
    return svg(draw, title, told, key, height=0.7 + 0.2 * len(ranked))


def noise(found: Difference, key: str) -> str:
    """The noise of every compared operator in the order of the graph, against the factor beyond which it is parted."""
    if not found.partings:
        return ""
    finite = [each.tensor.noise for each in found.partings if 0 < each.tensor.noise < math.inf]
    most, least = max([found.factor, *finite]) * 4, min([1.0, *finite]) / 4

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.set_yscale("log")
        logarithmic(axes.yaxis)
        heights = [min(max(each.tensor.noise, least), most) for each in found.partings]
        places = [each.place for each in found.partings]
        axes.plot(places, heights, color=INK["first"], linewidth=1.2, marker=".", markersize=4)
        endless = [place for place, each in zip(places, found.partings, strict=True) if math.isinf(each.tensor.noise)]
        axes.plot(endless, [most] * len(endless), "X", color=INK["bad"], markersize=6)
        axes.axhline(found.factor, color=INK["ink"], linewidth=1.2)
        right = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "fontsize": 9}
        axes.annotate(f"parted beyond {found.factor:g}", (1, found.factor), **right)
        top = found.ranked[0]
        if found.first is not None:
            height = min(max(top.tensor.noise, least), most)
            place = {"xytext": (6, 4), "textcoords": "offset points", "fontsize": 9}
            axes.annotate(plain(top.operator.kind), (top.place, height), **place)
        axes.set_ylim(least / 2, most * 3)
        axes.set_xlabel("operator, in the order of the graph")
        axes.set_ylabel("noise")

    beyond = sum(each.tensor.noise > found.factor for each in found.partings)
    told = (
        f"{len(found.partings)} operators, {beyond} beyond {found.factor:g}; growth up to {found.ranked[0].growth:.3g}"
    )
    return svg(draw, "Noise along the graph", told, key)
