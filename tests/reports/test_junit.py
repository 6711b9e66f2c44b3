from __future__ import annotations

import runpy
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from dlconv.reports import junit

if TYPE_CHECKING:
    from dlconv.records.outcome import Report

MADE = runpy.run_path(str(Path(__file__).with_name("made.py")))
REPORTS: dict[str, tuple[Report, int]] = MADE["REPORTS"]
WHEN = datetime(2026, 11, 23, 4, 5, 6)

# What both schemas have in common: Jenkins' (junit-10.xsd) and Ant's, which is the stricter in nearly everything.
# An element: its required attributes, those besides, and its children in order ("*": any number of them).
GRAMMAR: dict[str, tuple[set[str], set[str], tuple[str, ...]]] = {
    "testsuites": (set(), set(), ("testsuite*",)),
    "testsuite": (
        {"name", "package", "id", "timestamp", "hostname", "time", "tests", "failures", "errors"},
        {"skipped"},
        ("properties", "testcase*", "system-out", "system-err"),
    ),
    "properties": (set(), set(), ("property*",)),
    "property": ({"name", "value"}, set(), ()),
    "testcase": ({"classname", "name", "time"}, set(), ("failure|error|skipped?",)),
    "failure": ({"type"}, {"message"}, ()),
    "error": ({"type"}, {"message"}, ()),
    "skipped": (set(), {"message"}, ()),
    "system-out": (set(), set(), ()),
    "system-err": (set(), set(), ()),
}


def wrong(element: ElementTree.Element) -> list[str]:
    """What the grammar says against the element, and against what is in it."""
    required, besides, order = GRAMMAR[element.tag]
    found = [f"{element.tag} lacks {name}" for name in required - element.attrib.keys()]
    found += [f"{element.tag} has {name}" for name in element.attrib.keys() - required - besides]
    tags = [child.tag for child in element]
    for part in order:
        if part.endswith("*"):
            while tags and tags[0] == part[:-1]:
                tags.pop(0)
        elif part.endswith("?"):
            tags = tags[1:] if tags and tags[0] in part[:-1].split("|") else tags
        elif tags[:1] == [part]:
            tags.pop(0)
        else:
            found.append(f"{element.tag}: wanted {part}, met {tags[:1]}")
    found += [f"{element.tag} has a {tag} too much" for tag in tags]
    return found + [line for child in element for line in wrong(child)]


def written(report: Report) -> ElementTree.Element:
    return ElementTree.fromstring(junit.document(report, WHEN).encode())


def test_the_grammar_finds_faults() -> None:
    suites = ElementTree.fromstring("<testsuites><testsuite name='x'><system-out/><testcase/></testsuite></testsuites>")
    assert {"testsuite lacks errors", "testsuite: wanted properties, met ['system-out']"} <= set(wrong(suites))


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_valid(name: str) -> None:
    suites = written(REPORTS[name][0])
    assert not wrong(suites)
    for suite in suites:
        assert suite.get("timestamp") == "2026-11-23T04:05:06"
        cases = suite.findall("testcase")
        assert len(cases) == int(suite.attrib["tests"])
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[count]) == len(suite.findall(f"testcase/{tag}"))
        assert len({case.get("name") for case in cases}) == len(cases)


@pytest.mark.parametrize("name", REPORTS)
def test_a_run_that_fails_has_a_failure_and_one_that_passes_has_none(name: str) -> None:
    report, code = REPORTS[name]
    suites = written(report)
    bad = suites.findall("*/testcase/failure") + suites.findall("*/testcase/error")
    assert report.exit_code == code
    assert bool(bad) == (code != 0)


def test_each_word_has_its_element() -> None:
    suites = written(REPORTS["one of each"][0])
    passed, failed, doubted, broken = suites
    assert passed.attrib["tests"] == "2" and passed.find("*/failure") is None
    failure = failed.find("testcase[@name='parity of z']/failure")
    assert failure is not None and failure.get("type") == "FAIL" and failure.get("message") == "y: too far"
    assert failure.text == "y: too far\nagain: dlconv verify out/digits-openvino-fp32"
    doubt = doubted.find("testcase[@name='controls']/failure")
    assert doubt is not None and doubt.get("type") == "INCONCLUSIVE"
    error = broken.find("testcase[@name='error']/error")
    assert error is not None and error.get("type") == "step" and "next: dlconv plan x" in (error.text or "")
    skipped = written(REPORTS["one may be lacking"][0]).find("*/testcase/skipped")
    assert skipped is not None
    assert skipped.get("message") == "the toolchain tflite is not installed; next: pip install 'dlconv[tflite]'"


def test_versions_and_figures_are_told() -> None:
    suite = written(REPORTS["all passed"][0])[0]
    told = {entry.get("name"): entry.get("value") for entry in suite.iter("property")}
    assert told["version.onnxruntime"] == "1.31.1" and told["verdict"] == "PASS" and told["cpu"] == "A CPU"
    assert '"cosine": 0.99999' in (suite.findtext("system-out") or "")


def test_what_xml_cannot_hold_is_replaced() -> None:
    suites = written(REPORTS["ugly"][0])  # the parser takes no illegal character, escaped or not
    name = suites[1].get("name") or ""
    assert name.startswith("a|b<c>&\"'`x`*_[z](u)\ufffd\ufffd\ufffd[31m\ufffd\ufffd,:%") and "\n" not in name
