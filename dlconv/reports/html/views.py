"""Views: what a page shows of an outcome, as plain data for the templates. Nothing is shown that was not recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dlconv.reports.findings import checks_of, error_lines, findings
from dlconv.reports.html import plots, routes
from dlconv.reports.table import duration, size
from dlconv.validators.latency import LatencyEvidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dlconv.records.outcome import Outcome, Report
    from dlconv.reports.findings import Finding
    from dlconv.validators.verdict import Check

MARKS: Final = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?", "SKIPPED": "-", "ERROR": "!"}
MEANINGS: Final = {
    "PASS": "judged, and the same model",
    "FAIL": "judged, and not the same model",
    "INCONCLUSIVE": "could not be judged: not passed",
    "SKIPPED": "not judged on this machine: not passed",
    "ERROR": "could not be made or run: not passed",
}

_FIGURES: Final = (("error", "error"), ("bar", "bar"), ("noise floor", "floor"))
_FURTHER: Final = (
    ("signal over error (SQNR)", "sqnr_db", "{} dB"),
    ("1 - cosine similarity", "cosine", "{}"),
    ("largest error in steps of the dtype", "max_ulp", "{} ulp"),
    ("same class as the source's (top-1)", "top1", "{:.2%} of the rows"),
    ("its class among the source's five (top-5)", "top5", "{:.2%} of the rows"),
    ("right labels", "accuracy", "{}"),
    ("elements", "elements", "{}"),
    ("worst element", "worst", "{}"),
)
"""Figures of an output by what they are, with their units."""

_METRIC: Final = (
    *(("candidate", "for the artifact"), ("reference", "for the source"), ("labels", "labels")),
    *(("drop", "less"), ("bar", "less allowed")),
)
"""Figures of a metric's check, and what is said after them."""

_PLACEMENT: Final = {
    "account": "counted in the precision",
    "precision": "coarsest float of an answer",
    "shares": "share of the nodes",
}
_ORIGINS: Final = {"user": "given by the user"}
_COUNTED: Final = (
    ("ran", "Sums of products that ran, by precision"),
    ("operators", "Sums of products in the file, by precision"),
)
"""Of the account, what tells most of a precision first. Besides them there are operators that only pass floats on."""


def number(value: Any) -> str:
    """A figure as text, to three digits; "-" for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value + 0.0:.3g}"  # a zero has no sign to a reader
    if isinstance(value, dict):
        return ", ".join(f"{key} {number(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(number, value)) if len(value) <= 8 else f"{len(value)} values"
    return f"{value:,}" if isinstance(value, int) else str(value)


def when(created: str) -> str:
    """ "2026-11-01 10:00 UTC"."""
    return f"{created[:10]} {created[11:16]} UTC" if created.endswith("+00:00") else created


def times_bar(figures: Mapping[str, Any]) -> str:
    """By how much an output missed its bar: "750 x its bar"; for exact ones how many elements differ."""
    if figures.get("mismatches"):
        return f"{figures['mismatches']:,} elements differ"
    if "error" not in figures or "bar" not in figures:
        return ""
    nearness = plots.nearness(figures["error"], figures["bar"])
    return f"{nearness:.3g} x its bar" if nearness < float("inf") else f"error {number(figures['error'])}"


def matrix(report: Report) -> dict[str, Any]:
    """The verdicts as rows (model and precision) and columns (target); a cell has all outcomes that are there."""
    targets = tuple(dict.fromkeys(outcome.target for outcome in report.outcomes))
    rows: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for index, outcome in enumerate(report.outcomes):
        cells = rows.setdefault((outcome.model, outcome.precision), {})
        cell = {
            "id": f"o{index}",
            "name": outcome.name,
            "word": outcome.word,
            "about": _about(outcome),
            "allowed": report.may_lack(outcome),
        }
        cells.setdefault(outcome.target, []).append(cell)
    return {
        "targets": targets,
        "rows": [
            {"model": model, "precision": precision, "cells": [(target, cells.get(target, [])) for target in targets]}
            for (model, precision), cells in rows.items()
        ],
    }


def _about(outcome: Outcome) -> str:
    """What there is to say of a verdict in a few words: how near, by how much, or why not."""
    parity = [check for check in outcome.checks if check.name == "parity"]
    wrong = next((check for check in outcome.checks if check.verdict.word == outcome.word != "PASS"), None)
    if outcome.word == "PASS" and parity:
        return times_bar(_nearest(parity).figures)
    if outcome.word == "FAIL" and wrong is not None and wrong.name == "parity":
        check = _nearest([check for check in parity if check.verdict.word == "FAIL"])
        return f"{check.subject}: {times_bar(check.figures)}"
    if outcome.word == "SKIPPED":
        return "not judged"
    if wrong is not None:
        return wrong.title
    return "" if outcome.error is None else outcome.error.code


def _nearest(parity: Sequence[Check]) -> Check:
    return max(parity, key=lambda check: plots.nearness(check.figures.get("error"), check.figures.get("bar")))


def troubles(report: Report) -> list[dict[str, Any]]:
    """All that did not pass, worst first: what, by how much, why, and the next command. Outcomes of which the same is
    to be said are told of together."""
    index = {outcome.name: place for place, outcome in enumerate(report.outcomes)}
    by_outcome: dict[str, list[Finding]] = {}
    for finding in findings(report):
        by_outcome.setdefault("" if finding.outcome is None else finding.outcome.name, []).append(finding)
    told: dict[str, dict[str, Any]] = {}
    for name, found in by_outcome.items():
        reasons = [reason for finding in found for reason in finding.reasons]
        points = [_point(finding) for finding in found]
        mends = _next(reasons, "" if found[0].outcome is None else found[0].outcome.again)
        entry = {"word": found[0].word, "points": points, "next": mends, "names": []}
        names = told.setdefault(repr(entry), entry)["names"]
        names.append((f"o{index[name]}" if name else "", name or "dlconv"))
    return list(told.values())


def _point(finding: Finding) -> dict[str, Any]:
    check = None if finding.outcome is None else _check_of(finding.outcome, finding.title)
    return {
        "word": finding.word,
        "title": "" if finding.rule == "verdict" else finding.title,  # the word says it
        "by": "" if check is None or check.verdict.word != "FAIL" else times_bar(check.figures),
        "reasons": [reason for reason in finding.reasons if not reason.startswith("next: ")],
    }


def _check_of(outcome: Outcome, title: str) -> Check | None:
    return next((check for check in outcome.checks if check.title == title), None)


def _next(reasons: Iterable[str], again: str) -> list[str]:
    mends = [reason.removeprefix("next: ") for reason in reasons if reason.startswith("next: ")]
    return list(dict.fromkeys(mends)) or ([again] if again else [])


def of_outcome(report: Report, index: int) -> dict[str, Any]:
    """All sections of an outcome; those for which nothing was recorded are empty."""
    outcome = report.outcomes[index]
    key = f"o{index}"
    body = outcome.body
    told = checks_of(outcome)
    parity = [check for check in told if check.name == "parity"]
    reasons = error_lines(outcome.error) if outcome.verdict is None and outcome.error is not None else outcome.reasons
    return {
        "id": key,
        "outcome": outcome,
        "allowed": report.may_lack(outcome),
        "is_told": outcome.word != "PASS" and not report.may_lack(outcome),
        "reasons": [reason for reason in reasons if not reason.startswith("next: ")],
        "next": _next(reasons, ""),
        "outputs": [_output(check) for check in parity],
        "heads": [(head, name) for head, name in _FIGURES if any(c.figures.get(name) is not None for c in parity)],
        "errors_svg": plots.errors([check.figures for check in parity], f"{key}-errors"),
        "controls": _controls(told),
        "checks": [_check(check) for check in told if check.name not in ("parity", "controls", "verdict")],
        "routes": routes.of_body(body),
        "latency": latency(LatencyEvidence.from_dict(body["latency"]), outcome.checks, key)
        if "latency" in body
        else None,
        "placement": _placement(body.get("evidence", {}).get("placement", {})),
        "artifact": body.get("artifact", {}),
        "facts": _facts(body, outcome),
        "environment": environment(body),
        "command": body.get("command", ""),
    }


def _output(check: Check) -> dict[str, Any]:
    return {"check": check, "figures": check.figures, "by": times_bar(check.figures), "further": list(_further(check))}


def _further(check: Check) -> Iterator[tuple[str, str]]:
    figures = dict(check.figures)
    if isinstance(figures.get("cosine"), float):
        figures["cosine"] = 1 - figures["cosine"]  # what it lacks to 1 is what tells
    if isinstance(score := figures.get("accuracy"), dict):
        figures["accuracy"] = f"{score['candidate']} of {score['count']}, the source {score['reference']}"
    if isinstance(worst := figures.get("worst"), dict):
        at = ", ".join(map(str, worst["index"]))
        right, given = (_exactly(worst[side]) for side in ("reference", "candidate"))
        figures["worst"] = f"[{at}] of sample {worst['sample']}: {given} for {right}"
    for title, name, form in _FURTHER:
        value = figures.get(name)
        if value is not None:
            yield title, form.format(value if "%" in form and isinstance(value, float) else number(value))


def _exactly(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _controls(checks: Iterable[Check]) -> list[tuple[str, bool]]:
    figures = [check.figures for check in checks if check.name == "controls"]
    return [(name, found) for each in figures for name, found in each.items() if isinstance(found, bool)]


def _check(check: Check) -> dict[str, str]:
    """A check as a row of a table: its figures as a sentence."""
    figures = {name: value for name, value in check.figures.items() if value not in ("", None, {}, [])}
    if check.name == "metric":
        told = _metric(figures)
    elif check.name == "determinism":
        told = f"largest difference of two runs: {number(figures)}" if figures else ""
    else:
        told = "; ".join(_figure(*pair) for pair in figures.items())
    why = "; ".join(check.verdict.reasons)
    return {"title": check.title, "word": check.verdict.word, "figures": told, "why": why}


def _figure(name: str, value: Any) -> str:
    if name.endswith("_share") and isinstance(value, (int, float)):
        return f"{name.removesuffix('_share')} {100 * value:.3g}%"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{name.removesuffix('_bytes').replace('_', ' ')}: {size(value)}"
    return f"{name.replace('_', ' ')}: {number(value)}"


def _metric(figures: Mapping[str, Any]) -> str:
    """The metric of the artifact and of the source, the drop with its interval, and its bar."""
    parts = [f"{number(figures[name])} {words}" for name, words in _METRIC if name in figures]
    parts += [f"95% interval {' to '.join(map(number, figures['interval']))}"] if "interval" in figures else []
    parts += [f"by {figures['method']}"] if "method" in figures else []
    return ", ".join([*parts, *([str(figures["problem"])] if "problem" in figures else [])])


def _placement(placement: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where it ran, and in which precisions: how many of the artifact's operators in each."""
    if not placement:
        return None
    account = placement.get("account") or {}
    title, counts = next(
        ((title, account[key]) for key, title in _COUNTED if account.get(key)),
        ("Operators by precision, as far as the runtime tells", placement.get("precisions") or {}),
    )
    total = sum(counts.values()) or 1
    return {
        "pairs": [
            (_PLACEMENT.get(name, name.replace("_", " ")), _shares(value) if name == "shares" else number(value))
            for name, value in placement.items()
            if name != "precisions" and value not in ({}, [], "", None)
        ],
        "title": title,
        "shares": [
            (name, count, 100 * count / total) for name, count in sorted(counts.items(), key=lambda each: -each[1])
        ],
    }


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.3g}%" for name, share in shares.items())


def _facts(body: Mapping[str, Any], outcome: Outcome) -> list[tuple[str, str]]:
    """Source, reference and sizes, those that are told."""
    source, reference, artifact = (body.get(name) or {} for name in ("source", "reference", "artifact"))
    samples = reference.get("samples") or {}
    seed = f", seed {samples['seed']}" if samples.get("seed") is not None else ""
    pairs = (
        ("made", when(body.get("created", ""))),
        ("by", f"dlconv {body['dlconv']}" if "dlconv" in body else ""),
        ("source", f"{source['name']}, {source['format']}" if source else ""),
        ("digest of the source", source.get("digest", "")),
        ("reference", f"{reference['runtime']} in {reference['precision']}" if reference else ""),
        ("why not in float64", reference.get("reason", "")),
        (
            "samples",
            f"{samples['count']}, {_ORIGINS.get(samples['origin'], samples['origin'])}{seed}" if samples else "",
        ),
        ("size", size(artifact["size_bytes"]) if "size_bytes" in artifact else ""),
        ("it took", duration(outcome.seconds) if outcome.seconds else ""),
    )
    return [(name, value) for name, value in pairs if value]


def environment(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The machine and the packages, as names and values."""
    known = body.get("environment") or {}
    pairs = (
        [("CPU", f"{known.get('cpu')}, {known.get('cores')} cores"), ("system", str(known.get("os")))] if known else []
    )
    pairs += [("Python", str(known["python"]))] if "python" in known else []
    pairs += [("features", " ".join(known["cpu_features"]))] if known.get("cpu_features") else []
    return pairs + [(name, version) for name, version in (known.get("packages") or {}).items()]


def latency(evidence: LatencyEvidence, checks: Iterable[Check], key: str) -> dict[str, Any]:
    """A measurement: its plots, and what they are drawn from."""
    bars = {
        check.subject.removesuffix(", max_ratio"): float(check.figures["bar"])
        for check in checks
        if check.name == "latency" and check.subject.endswith(", max_ratio") and "bar" in check.figures
    }
    return {
        "evidence": evidence,
        "has_bar": bool(bars),
        "percentiles": tuple(evidence.sides[0].percentiles) if evidence.sides else (),
        "times_svg": plots.latencies(evidence, f"{key}-times"),
        "ratios_svg": plots.ratios(evidence, bars, f"{key}-ratios"),
        "warm_svg": plots.warm_ups(evidence, f"{key}-warm"),
    }
