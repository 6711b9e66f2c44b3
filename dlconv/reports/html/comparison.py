"""What changed between two records of the same model: verdicts, versions, routes, errors, sizes, latencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlconv.reports.html import views
from dlconv.reports.table import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlconv.records.outcome import Outcome, Report

_EVEN = 1.05
"""Errors and times whose ratio lies within this of 1 are called even: the runs of one model differ by as much."""


def compared(before: Report, now: Report) -> list[dict[str, Any]]:
    """A comparison for each outcome of either report; those that one of the two lacks are told as such."""
    old = {_key(outcome): outcome for outcome in before.outcomes}
    new = {_key(outcome): outcome for outcome in now.outcomes}
    keys = dict.fromkeys([*new, *old])
    return [{"key": key, "old": old.get(key), "new": new.get(key), **_rows(old.get(key), new.get(key))} for key in keys]


def _key(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.model, outcome.target, outcome.precision


def _rows(old: Outcome | None, new: Outcome | None) -> dict[str, list[tuple[str, str, str, str]]]:
    """Each row is a name, the figure before, the figure now, and a word on the change: those that changed, and others.
    Even: the runs of one model differ by as much."""
    if old is None or new is None:
        return {"changed": [], "kept": []}
    rows = [
        *_verdict(old, new),
        *_errors(old, new),
        *_figures(old.body, new.body),
        *_environment(old.body, new.body),
        *_source(old.body, new.body),
    ]
    kept = [row for row in rows if row[3].partition(" (")[0] in ("same", "even", "")]
    return {"changed": [row for row in rows if row not in kept], "kept": kept}


def _verdict(old: Outcome, new: Outcome) -> Iterator[tuple[str, str, str, str]]:
    yield "verdict", old.word, new.word, _changed(old.word, new.word)


def _errors(old: Outcome, new: Outcome) -> Iterator[tuple[str, str, str, str]]:
    before, now = _parity(old), _parity(new)
    for name in dict.fromkeys([*now, *before]):
        one, two = before.get(name, {}), now.get(name, {})
        for title, key in (("error", "error"), ("bar", "bar"), ("noise floor", "floor")):
            change = _ratio(one.get(key), two.get(key), ("larger", "smaller"))
            if key == "error" or change != "same":
                yield f"{name}: {title}", views.number(one.get(key)), views.number(two.get(key)), change


def _parity(outcome: Outcome) -> dict[str, Mapping[str, Any]]:
    return {check.subject: check.figures for check in outcome.checks if check.name == "parity"}


def _figures(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    sizes: list[Any] = [(body.get("artifact") or {}).get("size_bytes") for body in (old, new)]
    if None not in sizes:
        yield "size", size(sizes[0]), size(sizes[1]), _ratio(sizes[0], sizes[1], ("larger", "smaller"), even=1.0)
    before, now = (_p50s(body) for body in (old, new))
    for name in now:
        if name in before:
            told = (f"{name}: p50", f"{before[name]:.3g} ms", f"{now[name]:.3g} ms")
            yield *told, _ratio(before[name], now[name], ("slower", "faster")) + " (not measured side by side)"


def _p50s(body: Mapping[str, Any]) -> dict[str, float]:
    sides = (body.get("latency") or {}).get("sides", ())
    told = {side["name"]: (side["percentiles"].get("p50") or {}).get("value_ms") for side in sides}
    return {name: value for name, value in told.items() if isinstance(value, (int, float))}


def _environment(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """What differs; that nothing does is told too."""
    before, now = dict(views.environment(old)), dict(views.environment(new))
    names = [name for name in dict.fromkeys([*now, *before]) if before.get(name) != now.get(name)]
    for name in names:
        yield name, before.get(name, "-"), now.get(name, "-"), _changed(before.get(name), now.get(name))
    if not names and now:
        yield "all packages and the machine", "the same", "the same", "same"


def _source(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name, part, key in (
        ("source", "source", "digest"),
        ("samples", "reference", "samples"),
        ("asked for", "", "request"),
    ):
        one, two = ((body.get(part) or {} if part else body).get(key) for body in (old, new))
        one, two = (each.get("digest") if isinstance(each, dict) else each for each in (one, two))
        if one or two:
            yield name, _short(one), _short(two), _changed(one, two)
    one, two = (" → ".join(_taken(body)) for body in (old, new))
    if one or two:
        yield "route", one or "-", two or "-", _changed(one, two)


def _taken(body: Mapping[str, Any]) -> list[str]:
    return next((route["edges"] for route in body.get("routes", ()) if route["outcome"] == "taken"), [])


def _short(digest: Any) -> str:
    return str(digest).removeprefix("sha256:")[:12] if digest else "-"


def _changed(one: Any, two: Any) -> str:
    return "same" if one == two else "changed"


def _ratio(one: Any, two: Any, words: tuple[str, str], even: float = _EVEN) -> str:
    """ "1.3 times, larger"; "same" where it is even; "" where there is nothing to compare."""
    try:
        before, now = float(one), float(two)
    except (TypeError, ValueError):
        return ""
    if before == now:
        return "same"
    if not (before > 0 and now > 0 and now / before < float("inf")):
        return "changed"
    ratio = now / before
    if 1 / even <= ratio <= even:
        return "even"
    return f"{ratio:.3g} times, {words[0] if ratio > 1 else words[1]}"
