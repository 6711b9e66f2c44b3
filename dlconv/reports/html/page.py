"""Pages: a report as one HTML file that needs no network, no script and no other file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlconv import __version__
from dlconv.errors import InternalError
from dlconv.reports import differences
from dlconv.reports.html import needs, plots, views
from dlconv.reports.html.comparison import compared
from dlconv.reports.inspection import ESTIMATED_BY, measured_by, shares
from dlconv.reports.table import duration, one_line, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from dlconv.diffing.difference import Difference
    from dlconv.inspection import Inspection
    from dlconv.records.outcome import Report
    from dlconv.records.recorded import Timing

TEMPLATES = Path(__file__).parent / "templates"
_MOST_OPERATORS = 25
_HEADLINES = {"PARTED": "They part", "TOGETHER": "They go together", "INCONCLUSIVE": "Nothing could be compared"}


def document(report: Report, timings: Sequence[Timing] = (), baseline: Report | None = None, command: str = "") -> str:
    """The page of a report, as HTML.

    timings: measurements of `dlconv bench` besides. baseline: an earlier report, what changed since is told. command:
    what made the page. Raises PackagesMissing without the extra `report`.
    """
    outcomes = [views.of_outcome(report, index) for index in range(len(report.outcomes))]
    rows = [
        (f"{outcome.name}: {check.subject}", check.figures)
        for outcome in report.outcomes
        for check in outcome.checks
        if check.name == "parity"
    ]
    return rendered(
        "report.html.j2",
        report=report,
        matrix=views.matrix(report),
        troubles=views.troubles(report),
        overview_svg=plots.overview(rows, "overview"),
        outputs=len(rows),
        most_rows=plots.MOST_ROWS,
        outcomes=outcomes,
        timings=[
            {"timing": timing, "id": f"t{index}", "latency": views.latency(timing.evidence, timing.checks, f"t{index}")}
            for index, timing in enumerate(timings)
        ],
        timings_hold=all(check.verdict.word == "PASS" for timing in timings for check in timing.checks),
        comparison=None if baseline is None else compared(baseline, report),
        command=command,
    )


def inspection(found: Inspection) -> str:
    """The page of a model: what it is, its signature, operators, sizes, where its time goes, and the way to Netron."""
    parameters = found.parameters or {}
    return rendered(
        "inspection.html.j2",
        found=found,
        operators_svg=plots.operators(found.operators or {}, "Operators", "nodes", "operators"),
        time=found.time or {},
        shares=shares(found.time or {}),
        estimated_by=ESTIMATED_BY,
        measured_by=measured_by(found.time) if found.time and "nodes" in found.time else "",
        time_svg=plots.operators(
            {one.operator: round(100 * one.share, 1) for one in shares(found.time or {})}, "Time", "% of a run", "time"
        ),
        dtypes=parameters.get("by_dtype") or {},
        operators=sorted((found.operators or {}).items(), key=lambda pair: (-pair[1], pair[0])),
    )


def difference(found: Difference, command: str = "") -> str:
    """The page of a comparison: where two models part, the noise along the graph, the operators by growth."""
    return rendered(
        "differences.html.j2",
        found=found,
        headline=_HEADLINES[found.word],
        sentences=differences.sentences(found),
        noise_svg=plots.noise(found, "noise"),
        ranked=found.ranked,
        most=_MOST_OPERATORS,
        command=command,
    )


def rendered(template: str, **known: Any) -> str:
    """A template of this folder with what it shows. Raises PackagesMissing without the extra `report`."""
    needs.check()
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    known |= {"version": __version__, "marks": views.MARKS, "meanings": views.MEANINGS, "style": style}
    return _environment().get_template(template).render(**known).rstrip()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    environment.filters |= {
        "number": views.number,
        "size": size,
        "duration": duration,
        "word": _known_word,
        "when": views.when,
    }
    return environment


def _plain(value: Any) -> Any:
    """Text that a model or a framework may have written, on one line: control characters are no HTML."""
    return one_line(value) if type(value) is str else value


def _known_word(word: str) -> str:
    """A verdict's word as the name of a CSS class."""
    if word not in views.MARKS:
        raise InternalError(f"{word!r} is no verdict")
    return word.lower()
