"""Pages as text: what is told, what is not, and that nothing that a model says becomes part of the page."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dlconv.records.outcome import Report
from dlconv.records.recorded import read
from dlconv.reports.html import tuning
from dlconv.reports.html.page import document
from dlconv.reports.tuning import why_not

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parents[1]
MADE: dict[str, Any] = runpy.run_path(str(HERE / "made.py"))
RECORDS: dict[str, Any] = runpy.run_path(str(HERE / "records.py"))
REPORTS: dict[str, tuple[Report, int]] = MADE["REPORTS"]
receipt, write = RECORDS["receipt"], RECORDS["write"]
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page, in order, and its text. Raises where one is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        self.text += " " * (tag in ("td", "th"))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def rich(tmp_path: Path) -> Callable[..., str]:
    """A page of a right and of a wrong artifact and a measurement."""

    def make(**further: Any) -> str:
        good = write(tmp_path, "net-openvino-fp32", receipt())
        bad = write(tmp_path, "net-tflite-fp32", receipt("tflite", wrong_by=2e-3))
        recorded = read([good, bad, RECORDS["bench"](tmp_path)])
        return document(recorded.report, recorded.timings, **further)

    return make


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_has_a_page_that_tells_its_end(name: str) -> None:
    report, code = REPORTS[name]
    page = Page(document(report))
    assert f"Exit code {code}" in page.text
    assert ("Not passed" in page.text) == (code != 0)
    assert ("dlconv: passed" in page.text) == (code == 0)
    for outcome in report.outcomes:
        assert outcome.word in page.text


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_needs_nothing_but_itself(name: str) -> None:
    text = document(REPORTS[name][0], command="dlconv verify x")
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "embed", "form"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for tag, attributes in page.elements:
        for place in ("href", "xlink:href", "src"):
            assert attributes.get(place, "#").startswith("#"), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("name", REPORTS)
def test_ids_are_unique_and_every_link_leads_to_one(name: str) -> None:
    page = Page(document(REPORTS[name][0]))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        for place in ("href", "xlink:href", "aria-labelledby"):
            for goal in attributes.get(place, "").split():
                assert goal.removeprefix("#") in ids, (tag, attributes)


def test_what_a_model_says_is_text_and_no_more() -> None:
    page = Page(document(REPORTS["ugly"][0]))
    assert "a|b<c>&\"'`x`*_[z](u)" in page.text
    assert not page.all("c")
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", document(REPORTS["ugly"][0]))


def test_what_failed_is_told_by_how_much_with_the_next_command(rich: Callable[..., str]) -> None:
    page = Page(rich())
    text = " ".join(page.text.split())
    assert re.search(r"FAIL net-tflite-fp32: parity of logits, [\d.e+]+ x its bar", text)
    assert re.search(r"\[1, 7\] of sample 3: -?[\d.]+ for -?[\d.]+", text), "the worst element"
    assert "dlconv verify" in text and "dlconv export net.pt --to tflite" in text
    assert "made for 8x8 images alone" in text


def test_skipped_is_not_told_as_passed() -> None:
    report, _ = REPORTS["one may be lacking"]
    page = Page(document(report))
    (skipped,) = [a for a in page.all("span") if a.get("class") == "word skipped"][:1]
    assert skipped and "SKIPPED: not judged on this machine: not passed" in " ".join(page.text.split())
    assert "may be lacking here" in page.text
    lacks, _ = REPORTS["one lacks"]
    assert "pip install 'dlconv[tflite]'" in Page(document(lacks)).text


def test_all_that_was_recorded_has_its_section(rich: Callable[..., str]) -> None:
    page = Page(rich())
    text = " ".join(page.text.split())
    for told in (
        *(
            "3 planted faults, all found",
            "a NaN in logits: ✓ found",
            "Steps of the routes that were tried",
            "100% of the error",
        ),
        *(
            "What really ran",
            "f32",
            "75%",
            "Environment",
            "avx2",
            "itself differ by up to 2.0%: the noise floor",
            "this release",
            "slower",
        ),
        *("Distribution of errors", "Warm-up", "Errors in units of their bars", "1 route not tried"),
    ):
        assert told in text, told
    assert len(page.all("svg")) == 1 + 2 + 3, "an overview, errors of each, and three of latency"
    for drawn in page.all("svg"):
        assert drawn["role"] == "img" and drawn["aria-labelledby"]


def test_the_share_of_int8_is_of_what_multiplied(tmp_path: Path) -> None:
    """Floats alone are counted by `precisions`: an int8 artifact whose Softmax is float32 would be 100% float32."""
    told = receipt("onnxruntime")
    told["evidence"]["placement"] |= {"account": {"operators": {"int8": 4}, "ran": {"int8": 3, "float32": 1}}}
    text = " ".join(Page(document(read([write(tmp_path, "net-onnxruntime-int8", told)]).report)).text.split())
    assert "Sums of products that ran, by precision" in text and "int8 3 75%" in text
    assert "as far as the runtime tells" not in text


def test_what_was_not_recorded_is_not_told() -> None:
    told = " ".join(Page(document(REPORTS["all passed"][0])).text.split())
    for absent in ("Negative controls", "What really ran", "Latency", "What changed", "Distribution", "tried"):
        assert absent not in told


def test_colours_are_the_pages_own(rich: Callable[..., str]) -> None:
    """No colour of a plot is fixed, or it could not be read in the dark."""
    drawn = "".join(re.findall(r"<svg.*?</svg>", rich(), re.DOTALL))
    assert "var(--first," in drawn
    assert not re.search(r"#0[0-9a]0[0-9a]0[0-9a]\b", drawn), "a stand-in is left"
    assert not re.search(r"(?:fill|stroke): #", drawn)


def test_ten_targets_are_small(tmp_path: Path) -> None:
    targets = ["onnx", "onnxruntime", "openvino", "tflite", "saved-model"]
    paths = [
        write(tmp_path / str(round_), f"net-{target}-fp32", receipt(target, wrong_by=2e-3 * (target == "tflite")))
        for round_ in range(2)
        for target in targets
    ]
    recorded = read([*paths, RECORDS["bench"](tmp_path)])
    text = document(recorded.report, recorded.timings, recorded.report)
    assert len(recorded.report.outcomes) == 10
    assert len(text.encode()) < 2_000_000


def test_two_releases_are_compared(tmp_path: Path) -> None:
    before = read([write(tmp_path / "old", "net", receipt(version="2025.4.0"))]).report
    old_only = read([write(tmp_path / "old", "gone", receipt("tflite"))]).report
    now = read([write(tmp_path / "new", "net", receipt(wrong_by=2e-3))]).report
    text = " ".join(Page(document(now, baseline=Report((*before.outcomes, *old_only.outcomes)))).text.split())
    assert "What changed" in text
    assert "verdict PASS FAIL changed" in text
    assert re.search(r"openvino 2025\.4\.0 2026\.4\.1 changed", text)
    assert re.search(r"logits: error [\d.e-]+ [\d.e-]+ [\d.e+]+ times, larger", text)
    assert "It was in the earlier record, and is not in this one" in text
    same = " ".join(Page(document(now, baseline=now)).text.split())
    assert "verdict FAIL FAIL same" in same and "all packages and the machine the same the same same" in same


def test_a_measurement_alone_is_a_page_of_latency(tmp_path: Path) -> None:
    recorded = read([RECORDS["bench"](tmp_path)])
    text = " ".join(Page(document(recorded.report, recorded.timings)).text.split())
    assert "Latency" in text and "assed" not in text and "other processes used 30% of the CPUs" in text


def test_old_records_without_spreads_have_a_page(tmp_path: Path) -> None:
    told = receipt()
    for output in told["evidence"]["outputs"]:
        del output["spread"]
    recorded = read([write(tmp_path, "net", told)])
    page = Page(document(recorded.report))
    assert "Distribution of errors" not in page.text and "logits" in page.text


def test_a_search_tells_the_winner_the_front_and_why_the_others_are_not_on_it() -> None:
    found = RECORDS["tuned"]("<b>net</b>.onnx")
    page = Page(tuning.document(found, "dlconv tune <b>net</b>.onnx"))
    assert not page.all("b"), "a model's name is text"
    assert found.winner is not None and found.winner.name == "onnxruntime int8, 2 threads"
    assert found.winner.command in page.text and "run it with 2 threads" in page.text
    assert "fp16 is of no use on onnxruntime here" in page.text and "<b>net</b>.onnx: it is so" in page.text
    for word in ("FAIL", "INCONCLUSIVE", "SKIPPED", "ERROR", "NOT REACHED"):
        assert word in page.text
    assert "dlconv bench net-onnxruntime --threads 2" in page.text and "drops are of top5 on the labels" in page.text
    assert "* measured by an earlier run, on 2027-01-15 07:48 UTC, 12 min before this one" in page.text
    assert [each.name for each in found.contenders if found.earlier_at(each)] == ["openvino fp32, 2 threads"]
    assert "2.98*" in page.text and len(re.findall(r"\d\*", page.text)) == 1, "it alone is marked"
    assert "4 contenders were measured; 3 are on the front" in page.text


def test_a_search_that_found_nothing_is_a_page_too() -> None:
    found = RECORDS["tuned"]()
    nothing = replace(found, contenders=found.contenders[4:], measurements=(), anchor="", anchor_ms=None)
    page = Page(tuning.document(nothing))
    assert "No winner" in page.text and "nothing passed and was measured" in page.text and not page.all("svg")


def test_the_page_of_a_search_has_no_two_titles_alike_and_no_empty_column() -> None:
    found = RECORDS["tuned"]()
    assert found.winner is not None
    text = tuning.document(found)
    titles = re.findall(r"<(?:h[12]|summary)\b[^>]*>(.*?)</(?:h[12]|summary)>", text)
    assert len(titles) == len(set(titles)), titles
    (body,) = re.findall(r"why it did not win</th></tr></thead>\s*<tbody>(.*?)</tbody>", text, re.DOTALL)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]
    assert [(row[-2], row[-1]) for row in rows] == [
        ("winner", ""),
        ("front", "1.82 times the winner&#39;s time"),
        ("front", "2.72 times the winner&#39;s time"),
        ("behind the front", "3.67 times the winner&#39;s time"),
    ]
    like_the_winner = replace(found.winner, setting=replace(found.winner.setting, option="pinning=off"))
    larger = replace(like_the_winner, size_bytes=2 * found.winner.size_bytes)
    assert why_not(found, like_the_winner).endswith(
        "within the noise of the winner's, and it is no smaller and no more exact"
    )
    assert why_not(found, larger).endswith("within the noise of the winner's, its size 2 times")
    missed = replace(found, wish=replace(found.wish, max_drop=0.001))
    assert why_not(missed, found.contenders[0]) == "a drop of top5 of 0.5%, at most 0.1% is wanted"
    alone = replace(found, contenders=found.contenders[:1], measurements=found.measurements[:1])
    assert "why it did not win" not in tuning.document(alone)


def test_what_is_to_be_said_of_several_is_said_once() -> None:
    lacks, several = MADE["lacking"](), [MADE["lacking"](), replace(MADE["lacking"](), name="second-tflite-fp32")]
    once, of_two = (Page(document(Report(tuple(each)))).text for each in ([lacks], several))
    mend = "pip install 'dlconv[tflite]'"
    assert once.count(mend) == of_two.count(mend) == 1
    assert "SKIPPED digits-tflite-fp32, second-tflite-fp32 the toolchain" in " ".join(of_two.split())


def test_a_bar_of_latency_that_does_not_hold_stands_in_the_title(tmp_path: Path) -> None:
    written = RECORDS["bench"](tmp_path)
    told = json.loads(written.read_text())
    verdict = {"word": "FAIL", "reasons": ["1.2 times the time, bar 1.1"]}
    told["checks"] = [{"name": "latency", "subject": "this release, max_ratio", "verdict": verdict, "figures": {}}]
    written.write_text(json.dumps(told))
    recorded = read([written])
    text = " ".join(Page(document(recorded.report, recorded.timings)).text.split())
    assert "Latency: not passed" in text and "1.2 times the time, bar 1.1" in text


def test_ten_targets_make_a_page_below_two_megabytes(tmp_path: Path) -> None:
    """How long it takes is measured by benchmarks/report_page.py."""
    for number in range(10):
        write(tmp_path / "out", f"net-openvino-{number}", receipt(seed=number))
    words = [sys.executable, "-m", "dlconv", "report", "out", "-o", "page.html", "-q"]
    subprocess.run(words, cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(HERE.parents[1])})
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<h3>Errors</h3>") == 10
    assert len(page.encode()) < 2_000_000
