"""Markdown: the verdict matrix, what did not pass and what to do next, the figures, where it was run.

GitHub's flavour: tables, and `<details>` for what few will open.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dlconv import __version__
from dlconv.reports.findings import NOTHING, checks_of, error_lines
from dlconv.reports.table import duration, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dlconv.records.outcome import Outcome, Report
    from dlconv.validators.verdict import Check

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#&])")
_MOST = 8
"""Longer lists of figures are left to the JSON."""
_MARKS = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "❔", "SKIPPED": "⏭️", "ERROR": "💥"}
_PARITY = (
    *(("error", "error"), ("bar", "bar"), ("noise floor", "floor"), ("1 - cosine", "cosine")),
    *(("SQNR in dB", "sqnr_db"), ("max ulp", "max_ulp"), ("top-1", "top1"), ("accuracy", "accuracy")),
    ("elements", "elements"),
)


def document(report: Report, *, details: bool = True) -> str:
    """The report as Markdown. details: with all figures; without, what a page with a size limit has room for."""
    lines = [*_head(report), *_matrix(report)]
    for outcome in report.outcomes:
        if outcome.word != "PASS":
            lines += _trouble(outcome, may_lack=report.may_lack(outcome))
    if details:
        for outcome in report.outcomes:
            lines += _figures(outcome)
        lines += _environments(report)
    return "\n".join(lines).rstrip()


def _head(report: Report) -> Iterator[str]:
    counts = ", ".join(f"{count} {word}" for word, count in report.counts.items()) or "nothing was judged"
    yield f"# dlconv: {'passed' if report.exit_code == 0 else 'not passed'}"
    yield ""
    yield f"{counts}. Exit code {report.exit_code}, dlconv {__version__}."
    yield ""
    if report.exit_code != 0 and not any(outcome.word != "PASS" for outcome in report.outcomes):
        yield from (f"**{NOTHING}.**", "")
    if report.allowed:
        yield from (f"May be lacking on this machine: {text(', '.join(sorted(report.allowed)))}.", "")


def _matrix(report: Report) -> Iterator[str]:
    """A row for each model and precision, a column for each target."""
    if not report.outcomes:
        return
    targets = tuple(dict.fromkeys(outcome.target for outcome in report.outcomes))
    rows = dict.fromkeys((outcome.model, outcome.precision) for outcome in report.outcomes)
    yield from table(
        ("model", "precision", *targets),
        (
            (text(model), text(precision), *(_cell(report, model, precision, target) for target in targets))
            for model, precision in rows
        ),
    )
    yield ""


def _cell(report: Report, model: str, precision: str, target: str) -> str:
    words = [
        outcome.word
        for outcome in report.outcomes
        if (outcome.model, outcome.precision, outcome.target) == (model, precision, target)
    ]
    return "<br>".join(f"{_MARKS[word]} {word}" for word in words) or "-"


def _trouble(outcome: Outcome, *, may_lack: bool) -> Iterator[str]:
    yield f"## {text(outcome.name)}: {outcome.word}{' (allowed)' if may_lack else ''}"
    yield ""
    reasons = error_lines(outcome.error) if outcome.verdict is None and outcome.error is not None else outcome.reasons
    yield from (f"- {text(reason)}" for reason in reasons or ("no reason is told",))
    yield from (f"- note: {text(note)}" for note in outcome.notes)
    yield ""
    failed = [check for check in outcome.checks if check.verdict.word != "PASS" and "error" in check.figures]
    if failed:
        yield from table(("output", "error", "bar", "error / bar", "worst element"), map(_by_how_much, failed))
        yield ""
    if outcome.again:
        yield from ("Judge it again:", "", *fenced(outcome.again), "")


def _by_how_much(check: Check) -> tuple[str, ...]:
    error, bar = check.figures.get("error"), check.figures.get("bar")
    return (text(check.subject), _number(error), _number(bar), _times(error, bar), _worst(check.figures.get("worst")))


def _times(error: Any, bar: Any) -> str:
    try:
        return f"{float(error) / float(bar):.3g}"
    except (TypeError, ValueError, ZeroDivisionError):
        return "-"


def _worst(worst: Any) -> str:
    if not isinstance(worst, dict):
        return "-"
    index = ", ".join(map(str, worst["index"]))
    values = f"{_number(worst['candidate'])} for {_number(worst['reference'])}"
    return text(f"[{index}] of sample {worst['sample']}: {values}")


def _figures(outcome: Outcome) -> Iterator[str]:
    checks = checks_of(outcome)
    if not checks:
        return
    yield from _folded(f"Figures of {outcome.name}")
    parity = [check for check in checks if check.name == "parity"]
    if parity:
        shown = [(head, key) for head, key in _PARITY if any(check.figures.get(key) is not None for check in parity)]
        rows = (
            (text(check.subject), check.verdict.word, *(_figure(check, key) for _, key in shown)) for check in parity
        )
        yield from table(("output", "verdict", *(head for head, _ in shown)), rows)
        yield ""
    others = [check for check in checks if check.name != "parity"]
    if others:
        rows = ((text(check.title), check.verdict.word, _pairs(check.figures)) for check in others)
        yield from table(("check", "verdict", "figures"), rows)
        yield ""
    if outcome.word == "PASS":
        yield from (f"Note: {text(note)}.\n" for note in outcome.notes)
    yield from (f"Taken: {duration(outcome.seconds)}.", "", "</details>", "")


def _figure(check: Check, key: str) -> str:
    value = check.figures.get(key)
    if key == "accuracy" and isinstance(value, dict):
        return text(f"{value['candidate']} of {value['count']} right, the source {value['reference']}")
    # A cosine of 0.99999 is poor already: what it lacks to 1 is what tells.
    return _number(1 - value if key == "cosine" and isinstance(value, float) else value)


def _pairs(figures: Mapping[str, Any]) -> str:
    values = figures.values()
    if values and all(isinstance(value, bool) for value in values):
        missed = [key for key, value in figures.items() if not value]
        return text(f"{sum(values)} of {len(values)} hold" + (f", not: {', '.join(missed)}" if missed else ""))
    return text("; ".join(f"{key}: {_plain(value)}" for key, value in figures.items())) or "-"


def _environments(report: Report) -> Iterator[str]:
    """Each machine with the packages of all that ran on it: a worker has those of its toolchain alone."""
    machines: dict[tuple[str, ...], tuple[list[str], dict[str, None]]] = {}
    for outcome in report.outcomes:
        environment = outcome.body.get("environment")
        if environment:
            machine = tuple(str(environment.get(key)) for key in ("cpu", "cores", "os", "python"))
            names, packages = machines.setdefault(machine, ([], {}))
            names.append(outcome.name)
            packages |= {f"{name} {version}": None for name, version in (environment.get("packages") or {}).items()}
    if not machines:
        return
    yield from _folded("Environment")
    for (cpu, cores, system, python), (names, packages) in machines.items():
        if len(machines) > 1:
            yield from (f"{text(', '.join(names))}:", "")
        rows = (
            ("CPU", f"{cpu}, {cores} cores"),
            ("system", system),
            ("Python", python),
            ("packages", ", ".join(packages)),
        )
        yield from (f"- {name}: {text(value)}" for name, value in rows)
        yield ""
    yield from ("</details>", "")


def _folded(title: str) -> tuple[str, ...]:
    return ("<details>", f"<summary>{_html(title)}</summary>", "")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The cells are Markdown already; the heads are not."""
    yield "| " + " | ".join(text(head) for head in heads) + " |"
    yield "|" + "---|" * len(heads)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def fenced(command: str) -> tuple[str, ...]:
    """A command in a fence that it cannot end."""
    line = one_line(command)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return (f"{fence}sh", line, fence)


def text(value: str) -> str:
    """Plain text as Markdown, also in a cell of a table: one line, nothing in it has a meaning."""
    return _SPECIAL.sub(r"\\\1", one_line(value)).replace(r"\<", "&lt;").replace(r"\>", "&gt;").replace(r"\&", "&amp;")


def _html(value: str) -> str:
    return one_line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return text(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)) and len(value) > _MOST:
        return f"{len(value)} values"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return str(value)
