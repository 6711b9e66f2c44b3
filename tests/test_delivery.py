"""All forms of a report at once: files, the job summary, annotations, the terminal, and the JSON's schema."""

from __future__ import annotations

import copy
import json
import os
import re
import runpy
import urllib.parse
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import jsonschema
import pytest
from click.testing import CliRunner

from dlconv.cli.release_options import conclude, release_options
from dlconv.cli.reporting import Reporting, reported
from dlconv.delivery import SUMMARY_BYTES, ReportFiles, summary, workflow_commands, write
from dlconv.errors import OutputError, RequestError
from dlconv.reports import annotations, as_json, verdicts

if TYPE_CHECKING:
    from dlconv.records.outcome import Report

MADE = runpy.run_path(str(Path(__file__).parent / "reports" / "made.py"))
REPORTS: dict[str, tuple[Report, int]] = MADE["REPORTS"]
SCHEMA = json.loads(resources.files("dlconv").joinpath("report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def data_of(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_json.document("verify", report.to_dict()), parse_constant=pytest.fail)
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_the_json_follows_its_schema(name: str) -> None:
    VALIDATOR.check_schema(SCHEMA)
    problems = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(data_of(REPORTS[name][0]))]
    assert not problems


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("one of each", ("schema",), "dlconv.verify/2"),
        ("one of each", ("exit_code",), 0),
        ("one of each", ("exit_code",), 5),
        ("nothing at all", ("exit_code",), 0),
        ("all skipped and allowed", ("exit_code",), 0),
        ("one of each", ("surprise",), 1),
        ("one of each", ("outcomes", 0, "word"), "ERROR"),
        ("one of each", ("outcomes", 3, "word"), "PASS"),
        ("one of each", ("outcomes", 1, "checks", 1, "verdict", "reasons"), []),
        ("one of each", ("outcomes", 0, "verdict", "word"), "GOOD"),
        ("one of each", ("counts",), {"FINE": 1}),
    ],
)
def test_a_wrong_report_is_refused(name: str, path: tuple[str | int, ...], value: object) -> None:
    data: Any = copy.deepcopy(data_of(REPORTS[name][0]))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert list(VALIDATOR.iter_errors(data))


@pytest.mark.parametrize("name", REPORTS)
def test_the_terminal_tells_every_outcome_and_the_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    report, code = REPORTS[name]
    told = list(verdicts.lines(report))
    assert not any(char for line in told for char in line if not char.isprintable())
    assert told[-1].endswith(f"exit code {code}")
    assert ("nothing was judged" in told[-1]) == (
        "PASS" not in report.counts and not {"FAIL", "INCONCLUSIVE"} & set(report.counts)
    )
    for outcome in report.outcomes:
        assert any(outcome.target in line and outcome.word in line for line in told)


def test_a_row_tells_the_output_nearest_to_its_bar_and_the_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    passed, failed = REPORTS["one failed"][0].outcomes
    rows = list(verdicts.lines(REPORTS["one failed"][0]))
    assert rows[1].split() == ["model", "target", "precision", "verdict", "error", "bar", "size", "time", "path"]
    assert rows[4].split()[:6] == ["digits", "openvino", "fp32", "FAIL", "3.0e-03", "4.0e-06"]
    slower = MADE["Check"]("latency", MADE["Verdict"]("PASS"), figures={"word": "slower", "ratio": 1.25})
    report = REPORTS["one failed"][0]
    rows = list(verdicts.lines(replace(report, outcomes=(replace(passed, checks=(*passed.checks, slower)), failed))))
    assert rows[1].split()[6] == "latency" and "slower x1.25" in rows[3] and rows[4].split()[6] == "-"


def test_skipped_is_not_passed_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    told = "\n".join(verdicts.lines(REPORTS["one lacks"][0]))
    assert re.search(r"^digits +tflite +fp32 +SKIPPED ", told, re.MULTILINE)
    assert "digits-tflite-fp32: SKIPPED\n" in told and "next: pip install" in told
    assert "digits-tflite-fp32: SKIPPED (allowed)\n" in "\n".join(verdicts.lines(REPORTS["one may be lacking"][0]))


COMMAND = re.compile(r"::(error|warning) (?:file=([^,:]*),)?title=([^,:]*)::([^\r\n]*)")


@pytest.mark.parametrize("name", REPORTS)
def test_annotations_are_one_command_a_line(name: str) -> None:
    report, code = REPORTS[name]
    lines = annotations.lines(report, Path("/checkout")).split("\n")
    assert all(COMMAND.fullmatch(line) for line in lines if line)
    assert any(lines) == (code != 0)
    "\n".join(lines).encode()


def test_an_annotation_says_after_unescaping_what_was_said() -> None:
    commands = annotations.lines(REPORTS["ugly"][0], Path("/checkout")).split("\n")
    assert len(commands) == 1
    found = COMMAND.fullmatch(commands[0])
    assert found is not None
    kind, file, title, message = found.groups()
    assert (kind, urllib.parse.unquote(file)) == ("error", "out/a b,c:d%20")
    assert "::error::planted" in urllib.parse.unquote(title)
    assert urllib.parse.unquote(message).splitlines()[1].startswith("again: dlconv verify")


def test_an_annotation_of_a_path_that_is_no_unicode_can_be_printed() -> None:
    report = REPORTS["one failed"][0]
    odd = replace(report, outcomes=tuple(replace(o, path=Path("out/\udcff")) for o in report.outcomes))
    assert annotations.lines(odd, Path("/checkout")).encode().startswith(b"::error file=out/\\udcff,title=")


def test_no_more_annotations_than_github_shows() -> None:
    report, parity, outcome = REPORTS["all passed"][0], MADE["parity"], MADE["outcome"]
    many = replace(report, outcomes=(outcome(*(parity("FAIL", f"y{i}") for i in range(25))),))
    commands = annotations.lines(many, Path("/checkout")).split("\n")
    assert len(commands) == annotations.MOST
    assert commands[-1] == "::error title=dlconv::and 16 more: the report tells all"


def test_annotations_are_for_github_alone() -> None:
    report = REPORTS["one failed"][0]
    assert (
        workflow_commands(report, {}, Path("/")) == workflow_commands(report, {"GITHUB_ACTIONS": "no"}, Path("/")) == ""
    )
    assert workflow_commands(report, {"GITHUB_ACTIONS": "true"}, Path("/")).startswith("::error ")


def test_all_that_was_asked_for_is_written_and_the_summary_appended(tmp_path: Path) -> None:
    new = tmp_path / "reports"
    files = ReportFiles(new / "junit.xml", new / "report.md", new / "report.sarif")
    page = tmp_path / "summary.md"
    page.write_text("# before\n")
    for _ in range(2):
        write(REPORTS["ugly"][0], files, {"GITHUB_STEP_SUMMARY": str(page)}, tmp_path)
    assert sorted(path.name for path in new.iterdir()) == ["junit.xml", "report.md", "report.sarif"]
    assert json.loads((new / "report.sarif").read_text(encoding="utf-8"))["version"] == "2.1.0"
    told = page.read_text(encoding="utf-8")
    assert told.startswith("# before\n") and told.count("# dlconv: not passed\n") == 2


def test_what_cannot_be_written_is_told_after_all_else_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    files = ReportFiles(tmp_path / "folder", tmp_path / "report.md", tmp_path / "folder")
    with pytest.raises(OutputError, match="2 reports cannot be written") as caught:
        write(REPORTS["one failed"][0], files, {"GITHUB_STEP_SUMMARY": ""}, tmp_path)
    assert len(caught.value.problems) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "report.md"]
    with pytest.raises(OutputError, match="the job summary"):
        write(REPORTS["one failed"][0], ReportFiles(), {"GITHUB_STEP_SUMMARY": str(tmp_path / "folder")}, tmp_path)


def test_a_summary_keeps_below_githubs_limit() -> None:
    report, parity, outcome = REPORTS["all passed"][0], MADE["parity"], MADE["outcome"]
    assert "<details>" in summary(report)
    wide = replace(report, outcomes=(outcome(*(parity("PASS", "y" * 1000 + str(i)) for i in range(1100))),))
    assert "<details>" not in summary(wide) and "PASS" in summary(wide)
    long = replace(report, outcomes=(outcome(parity("FAIL", "y", "ü" * SUMMARY_BYTES)),))
    told = summary(long)
    assert len(told.encode()) < SUMMARY_BYTES and told.startswith("# dlconv: not passed") and "left out" in told


@click.command()
@release_options
@reported
def answering(reporting: Reporting, files: ReportFiles) -> int:
    if "STUB_FAULT" in os.environ:
        raise KeyError("a fault")
    if "STUB_ERROR" in os.environ:
        raise RequestError("dlconv.toml cannot be understood", mend="mend it", problems=("line 3",))
    return conclude(reporting, REPORTS[os.environ.get("STUB_REPORT", "one failed")][0], files)


def run(*words: str, **environment: str) -> tuple[Any, str, str]:
    unset = {"GITHUB_ACTIONS": None, "GITHUB_STEP_SUMMARY": None, "NO_COLOR": "1"}
    result = CliRunner().invoke(answering, words, env={**unset, **environment}, standalone_mode=False)
    return result.return_value if result.exception is None else result.exception, result.stdout, result.stderr


def test_a_command_ends_in_all_its_reports(tmp_path: Path) -> None:
    junit, page = tmp_path / "junit.xml", tmp_path / "page.md"
    code, out, err = run("--junit", str(junit), "--json", "-", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(page))
    assert code == 1
    assert json.loads(out)["exit_code"] == 1  # nothing but JSON
    assert "digits-openvino-fp32: FAIL" in err and "\n::error file=out/digits-openvino-fp32,title=" in err
    assert junit.exists() and page.exists()
    code, out, err = run("-qq")
    assert (code, out, err) == (1, "", "")


@pytest.mark.parametrize(("name", "code"), [("all passed", 3), ("one failed", 1), ("one of each", 4)])
def test_what_cannot_be_written_keeps_a_run_from_passing(name: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    folder, written = str(tmp_path / "folder"), tmp_path / "a.sarif"
    told, _, err = run("--json", folder, "--sarif", str(written), STUB_REPORT=name)
    assert (told, written.exists()) == (code, True) and "error: the report" in err
    written.unlink()
    told, out, err = run("--json", "-", "--sarif", str(written), STUB_REPORT=name, GITHUB_STEP_SUMMARY=folder)
    assert (told, written.exists()) == (code, True) and "error: the job summary" in err
    assert json.loads(out)["exit_code"] == REPORTS[name][1]


def test_a_run_that_comes_to_no_outcome_is_reported_too(tmp_path: Path) -> None:
    junit, page, notes = (tmp_path / name for name in ("junit.xml", "page.md", "report.md"))
    words = ("--junit", str(junit), "--markdown", str(notes))
    error, out, _ = run(*words, STUB_ERROR="1", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(page))
    assert isinstance(error, RequestError)
    assert '<error type="request" message="dlconv.toml cannot be understood">' in junit.read_text()
    assert page.read_text() == notes.read_text() and "- line 3\n- next: mend it" in notes.read_text()
    assert "Exit code 2" in notes.read_text()
    assert out.startswith("::error file=-,title=dlconv answering%3A ERROR")
    error, _, _ = run(*words, STUB_FAULT="1")
    assert isinstance(error, KeyError)
    assert "Exit code 70" in notes.read_text() and "KeyError" in junit.read_text()
    _, out, err = run("--json", "-", STUB_ERROR="1", GITHUB_ACTIONS="true")
    assert json.loads(out)["error"]["code"] == "request" and "::error" in err
