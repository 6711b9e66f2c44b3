from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from dlconv.errors import ConversionError, DlconvError, InternalError, OutputError, StepError
from dlconv.events import Event
from dlconv.records.outcome import Outcome, Report
from dlconv.records.recorded import read
from dlconv.reports import as_json, latency
from dlconv.reports.console import Lines, Running, progress
from dlconv.reports.table import duration, size, table
from dlconv.reports.verdicts import worst
from dlconv.validators.verdict import Verdict

RECORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("records.py")))


def output(error: float | str, bar: float, **further: Any) -> dict[str, Any]:
    return {"name": "y", "error": error, "floor": 1e-7, "bar": bar, **further}


def bundle(word: str | None = None, error: DlconvError | None = None, *outputs: dict[str, Any]) -> Outcome:
    receipt = {"evidence": {"outputs": list(outputs)}, "artifact": {"files": [{"size_bytes": 1500}]}}
    verdict = None if word is None else Verdict(word, ("the reason",) if word != "PASS" else ())  # type: ignore[arg-type]
    place = Path("out/m-onnx-fp32")
    body = receipt if word else {}
    return Outcome(place.name, "m.pt", "onnx", "fp32", place, verdict, error=error, seconds=2.5, body=body)


CASES = [
    ([bundle("PASS")], 0),
    ([bundle("PASS"), bundle("FAIL")], 1),
    ([bundle("PASS"), bundle("INCONCLUSIVE")], 3),
    ([bundle("SKIPPED")], 3),
    ([bundle("FAIL"), bundle("INCONCLUSIVE")], 1),
    ([bundle("PASS"), bundle(None, ConversionError("no route"))], 4),
    ([bundle("FAIL"), bundle(None, StepError("crashed"))], 4),
    ([bundle("PASS"), bundle(None, OutputError("disk full"))], 3),
    ([bundle("FAIL"), bundle(None, OutputError("disk full"))], 1),
    ([bundle(None, StepError("x")), bundle(None, InternalError("y"))], 70),
    ([bundle("PASS"), bundle(None)], 3),
    ([], 3),
]


@pytest.mark.parametrize(("bundles", "code"), CASES)
def test_exit_codes(bundles: list[Outcome], code: int) -> None:
    assert Report(tuple(bundles)).exit_code == code


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ([], ("-", "-")),
        ([output(1e-7, 4e-6), output(3e-6, 4e-6)], ("3.0e-06", "4.0e-06")),
        ([output(1e-3, 1e-1), output(3e-6, 4e-6)], ("3.0e-06", "4.0e-06")),
        ([output("nan", 4e-6), output(1.0, 1e-6)], ("nan", "4.0e-06")),
        ([output(1.0, 1e-6), output("nan", 4e-6)], ("nan", "4.0e-06")),
        ([output("inf", 4e-6)], ("inf", "4.0e-06")),
        ([output(0.0, 0.0)], ("0", "exact")),
        ([output(1.0, 0.0, mismatches=7), output(1e-7, 4e-6)], ("7 differ", "exact")),
    ],
)
def test_the_worst_output_is_the_nearest_to_its_bar(outputs: list[dict[str, Any]], told: tuple[str, str]) -> None:
    assert worst(outputs) == told


def test_events_are_lines_elsewhere_than_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(0) as listener:
        listener.on(Event("step-started", "onnx", "simplify"))
        listener.on(Event("step-ended", "onnx", "simplify", 1.25, {"notes": ["hidden"]}))
        listener.on(Event("step-failed", "tflite", "broken"))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line[10:] for line in err.splitlines()] == [
        " onnx         simplify (1.2 s)",
        " tflite       failed: broken",
    ]


def test_more_is_told_when_asked_for_and_nothing_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    event = Event("step-ended", "onnx", "simplify", 1.25, {"notes": ["10 nodes became 9"]})
    told: list[str] = []
    listener = Lines(1, told.append)
    listener.on(Event("step-started", "onnx", "simplify"))
    listener.on(event)
    assert [line[11:].strip() for line in told] == [
        "onnx         begins: simplify",
        "onnx         simplify (1.2 s)",
        "10 nodes became 9",
    ]
    with progress(-1) as silent:
        silent.on(event)
    assert capsys.readouterr() == ("", "")


def test_what_runs_now() -> None:
    running = Running()
    assert [text for _, text, _ in running.now()] == ["starting"]
    running.on(Event("step-started", "onnx", "export[x]"))
    running.on(Event("step-started", "tflite", "convert"))
    assert [(target, text) for target, text, _ in running.now()] == [("onnx", "export[x]"), ("tflite", "convert")]
    running.on(Event("step-ended", "onnx", "export[x]"))
    running.on(Event("step-failed", "tflite", "convert"))
    assert [(target, text) for target, text, _ in running.now()] == [("onnx", "going on after export[x]")]
    assert "onnx         going on after export[x]" in str(running.render())
    running.on(Event("published", "onnx", "there"))
    assert [(target, text) for target, text, _ in running.now()] == [("", "going on after there")]
    running.on(Event("step-started", "", "shared by all"))
    assert [(target, text) for target, text, _ in running.now()] == [("", "shared by all")]
    running.on(Event("step-ended", "", "shared by all"))
    running.on(Event("note", "", "measured"))
    assert [(target, text) for target, text, _ in running.now()] == [("", "going on after measured")]


def at_sample(done: int, work: str = "convert") -> Event:
    return Event("progress", "", work, data={"phase": "sample", "done": done, "of": 64})


def test_how_far_it_has_come_stands_beside_what_runs() -> None:
    running = Running()
    running.on(at_sample(1, "the reference in float64"))
    assert [(target, text) for target, text, _ in running.now()] == [("", "the reference in float64: sample 1 of 64")]
    running.on(Event("step-started", "tflite", "convert"))
    running.on(at_sample(3))
    assert [(target, text) for target, text, _ in running.now()] == [
        ("tflite", "convert: sample 3 of 64"),
        ("", "the reference in float64: sample 1 of 64"),
    ]
    for work in ("convert", "the reference in float64"):
        running.on(Event("progress", "", work))
    assert [(target, text) for target, text, _ in running.now()] == [("tflite", "convert")]


def test_a_log_tells_of_progress_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    loud, usual = Lines(1, told.append), Lines(0, told.append)
    for done in range(60):  # in the first seconds
        loud.on(at_sample(done))
    assert told == []
    monkeypatch.setattr(Lines, "EVERY_S", 0.0)
    for listener in (usual, loud):
        listener.on(at_sample(60))
        listener.on(Event("progress", "", "convert"))
    assert [line[11:].strip() for line in told] == ["convert: sample 60 of 64"]


def test_the_json_of_an_export_is_strict_and_versioned() -> None:
    result = Report((bundle("FAIL", None, output(float("nan"), 1e-6)), bundle(None, StepError("x", log="l"))))
    told = json.loads(as_json.document("export", result.to_dict()), parse_constant=pytest.fail)
    assert (told["schema"], told["exit_code"]) == ("dlconv.export/1", 4)
    first, second = told["outcomes"]
    assert (first["verdict"], first["path"]) == ({"word": "FAIL", "reasons": ["the reason"]}, "out/m-onnx-fp32")
    assert first["receipt"]["evidence"]["outputs"][0]["error"] == "nan"
    assert (second["verdict"], second["error"]["code"]) == (None, "step")


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    as_json.write(path, "{}")
    assert path.read_text() == "{}\n"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        as_json.write(tmp_path / "folder", "{}")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "x.json"]


def test_a_measurement_fits_a_narrow_terminal(tmp_path: Path) -> None:
    (timing,) = read([RECORDS["bench"](tmp_path)]).timings
    wide, narrow = (list(latency.lines(timing.evidence, timing.checks, width)) for width in (None, 40))
    assert max(map(len, narrow)) <= 40 < max(map(len, wide))
    assert set(wide[2].split()) <= set(" ".join(narrow).split()), "no figure is left out"


def test_tables_and_figures() -> None:
    assert table(("a", "bb"), [("xyz", "1")], right=("bb",)) == ["a    bb", "---  --", "xyz   1"]
    assert table(("a",), []) == ["a", "-"]
    assert [size(count) for count in (0, 999, 1500, 2_300_000, 2.5e9)] == ["0 B", "999 B", "1.5 kB", "2.3 MB", "2.5 GB"]
    assert [duration(seconds) for seconds in (0.04, 99.9, 200)] == ["0.0 s", "99.9 s", "3 min 20 s"]
