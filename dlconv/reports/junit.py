"""JUnit XML: a test suite for each outcome, a test case for each check.

Valid by both schemas that CI servers check against: that of Jenkins' xUnit plugin, and the stricter one of Ant's JUnit
report. So a suite has its children in one order, a test case holds one result at most, and figures go to the suite's
`system-out`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from dlconv import __version__
from dlconv.reports.as_json import plain
from dlconv.reports.findings import checks_of, error_lines, findings
from dlconv.reports.table import one_line

if TYPE_CHECKING:
    from datetime import datetime

    from dlconv.records.outcome import Outcome, Report
    from dlconv.validators.verdict import Verdict

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2, Char) has no way to write, escaped or not."""


def document(report: Report, when: datetime) -> str:
    """The report as JUnit XML. when: the time of the run, in UTC.

    FAIL is a failure; INCONCLUSIVE is one too, with that as its type, for it fails the run; SKIPPED is skipped, with
    its reasons. A report that fails the run without a failure (all skipped, nothing judged) gets one of its own.
    """
    suites = ElementTree.Element("testsuites")
    for outcome in report.outcomes:
        _suite(suites, outcome, when)
    if report.exit_code != 0 and suites.find("*/testcase/failure") is None and suites.find("*/testcase/error") is None:
        _whole(suites, report, when)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode")


def _suite(suites: ElementTree.Element, outcome: Outcome, when: datetime) -> None:
    suite = _begin(suites, outcome.name, when, outcome.seconds, _properties(outcome))
    classname = f"{outcome.model}.{outcome.target}-{outcome.precision}"
    notes = [f"note: {one_line(note)}" for note in outcome.notes]
    if outcome.verdict is None and outcome.error is not None:
        case = _case(suite, classname, "error")
        _result(case, "error", outcome.error.code, error_lines(outcome.error), outcome.again)
    for check in checks_of(outcome):
        case = _case(suite, classname, check.title)
        _judged(case, check.verdict, outcome.again)
        if check.figures:
            notes.append(f"{one_line(check.title)}: {json.dumps(plain(dict(check.figures)), ensure_ascii=False)}")
    _end(suite, notes)


def _whole(suites: ElementTree.Element, report: Report, when: datetime) -> None:
    suite = _begin(suites, "dlconv", when, 0.0, {"dlconv": __version__})
    reasons = tuple(reason for finding in findings(report) for reason in finding.reasons)
    _result(_case(suite, "dlconv", "every target was judged"), "failure", "INCONCLUSIVE", reasons, "")
    _end(suite, [])


def _properties(outcome: Outcome) -> dict[str, str]:
    environment = outcome.body.get("environment") or {}
    versions = {f"version.{name}": version for name, version in (environment.get("packages") or {}).items()}
    machine = {key: environment[key] for key in ("cpu", "cores", "os", "python") if key in environment}
    told = {
        "model": outcome.model,
        "target": outcome.target,
        "precision": outcome.precision,
        "verdict": outcome.word,
        "path": "" if outcome.path is None else outcome.path,
        "again": outcome.again,
    }
    return {name: str(value) for name, value in (told | machine | {"version.dlconv": __version__} | versions).items()}


def _begin(
    suites: ElementTree.Element, name: str, when: datetime, seconds: float, properties: dict[str, str]
) -> ElementTree.Element:
    attributes = {
        "name": _text(name) or "-",
        "package": "dlconv",
        "id": str(len(suites)),
        "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S"),
        "hostname": "localhost",  # reports are published: whose machine it was is told by the CI server, if at all
        "time": f"{seconds:.3f}",
    }
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    listed = ElementTree.SubElement(suite, "properties")
    for key, value in properties.items():
        ElementTree.SubElement(listed, "property", name=_text(key), value=_text(value))
    return suite


def _end(suite: ElementTree.Element, notes: list[str]) -> None:
    ElementTree.SubElement(suite, "system-out").text = _ILLEGAL.sub("\ufffd", "\n".join(notes))
    ElementTree.SubElement(suite, "system-err").text = ""
    suite.set("tests", str(len(suite.findall("testcase"))))
    for count, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{kind}"))))


def _case(suite: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    # What a single check took is not measured; its time has to be told nonetheless.
    return ElementTree.SubElement(suite, "testcase", classname=_text(classname), name=_text(name), time="0")


def _judged(case: ElementTree.Element, verdict: Verdict, again: str) -> None:
    reasons = verdict.reasons or ("no reason is told",)
    if verdict.word == "SKIPPED":
        ElementTree.SubElement(case, "skipped", message=_text("; ".join(reasons)))
    elif verdict.word != "PASS":
        _result(case, "failure", verdict.word, reasons, again)


def _result(case: ElementTree.Element, tag: str, kind: str, reasons: tuple[str, ...], again: str) -> None:
    result = ElementTree.SubElement(case, tag, type=kind, message=_text(reasons[0]))
    lines = [*map(_text, reasons), *([f"again: {_text(again)}"] if again else [])]
    result.text = "\n".join(lines)


def _text(value: str) -> str:
    return one_line(_ILLEGAL.sub("\ufffd", value))
