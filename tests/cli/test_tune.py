"""The command `dlconv tune`: what it says, how it exits, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from dlconv.asked.precisions import PRECISIONS
from dlconv.cli import main as door

SCHEMA = json.loads(resources.files("dlconv").joinpath("tune.schema.json").read_text(encoding="utf-8"))
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))


def words(digits: Path, model: str = "digits.onnx", to: str = "onnxruntime") -> list[str]:
    return [
        *("tune", str(digits / model), "--to", to, "--samples", str(digits / "samples.npz")),
        *("--labels", str(digits / "labels.npz"), "--threads", "1", "--time", "3"),
    ]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$defs"]["contender"]["properties"]["precision"]["enum"] == list(PRECISIONS)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.onnx
@pytest.mark.openvino
@pytest.mark.timeout(900)
def test_a_search_of_the_trained_model(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "tuned.html"
    asked = [*words(digits, "digits.pt", "onnxruntime,openvino"), "--precision", "int8-weights", "--budget", "1h"]
    asked += ["--metric", "top5", "--option", "none"]
    assert door.run([*asked, "--max-drop", "2%", "--json", "-", "--html", str(page)]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    jsonschema.validate(told, SCHEMA)
    by_name = {each["name"]: each for each in told["contenders"]}
    assert by_name[told["winner"]]["word"] == "PASS" and set(told["front"]) <= set(by_name)
    assert told["command"] == by_name[told["winner"]]["command"]
    assert f"winner: {told['winner']}" in err and told["command"] in err and "noise floor" in err
    measured = [each for each in told["contenders"] if each["measurement"] is not None]
    assert {each["target"] for each in measured} == {"onnxruntime", "openvino"}
    for each in measured:
        assert each["drop"] == 0 and each["size_bytes"] > 0, "of the best five of ten classes nothing is lost"
        assert "--metric top5 --max-drop 2%" in each["command"]
        assert (each["against_float32"] is None) == (each["precision"] == "fp32")
        word = each["against_float32"]["word"] if each["against_float32"] else "faster"
        assert bool(each["use"]) == (word != "faster") and (each["use"] in err)
    assert f"run it with {by_name[told['winner']]['how']}" in err and by_name[told["winner"]]["bench"] in err
    assert told["asked"]["metric"] == "top5" and "drops are of top5 on the labels" in err and "-0%" not in err
    assert told["earlier"] == [] and all(each["measured_earlier"] is None for each in measured)
    text = page.read_text(encoding="utf-8")
    assert told["winner"] in text and "Latency, size and error" in text and "<svg" in text
    assert "https://" not in text and "src=" not in text


@pytest.mark.onnx
def test_a_budget_that_is_over_is_exit_3(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run([*words(digits), "--budget", "1s", "--json", "-"]) == 3
    out, err = capsys.readouterr()
    told = json.loads(out)
    jsonschema.validate(told, SCHEMA)
    assert told["front"] == [] and told["winner"] is None and told["counts"] == {"NOT REACHED": 4}
    assert "no winner" in err and "nothing passed and was measured" in err


@pytest.mark.onnx
@pytest.mark.parametrize(
    "wrong",
    [
        ["--budget", "soon"],
        ["--max-drop", "half"],
        ["--max-drop", "0.5%%"],
        ["--threads", "1,x"],
        ["--precision", "fp17"],
        ["--min-speedup", "0"],
        ["--to", "nowhere"],
        ["--metric", "top5"],
        ["--metric", "top9", "--max-drop", "1%"],
        ["--option", "xnnpack=off"],
    ],
    ids=" ".join,
)
def test_wrong_requests_are_exit_2(digits: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run([*words(digits), *wrong]) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.onnx
def test_a_drop_without_labels_is_exit_2_and_told_as_json(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(digits / "digits.onnx")
    assert door.run(["tune", model, "--to", "onnx", "--max-drop", "1%", "--json", "-"]) == 2
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, SCHEMA)
    assert "--labels" in told["error"]["problems"][0]


@pytest.mark.slow
@pytest.mark.onnx
@pytest.mark.skipif(os.name != "posix", reason="SIGINT is sent to a process")
@pytest.mark.timeout(900)
def test_ctrl_c_leaves_what_was_measured_and_the_same_command_goes_on_from_there(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = tmp_path / "tuned.json"
    command = [sys.executable, "-m", "dlconv", *words(digits), "--threads", "1,2", "--precision", "fp16"]
    with subprocess.Popen(
        [*command, "--budget", "20m", "--json", str(answer)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as running:
        assert running.stderr is not None and running.stdout is not None
        lines = []
        for line in running.stderr:
            lines.append(line)
            if "(anchor)" in line:  # the second group is under way: the first was measured
                running.send_signal(signal.SIGINT)
                break
        rest = running.stderr.read()
        out = running.stdout.read()
        assert running.wait(timeout=60) == 130, "".join(lines) + rest
    told = json.loads(answer.read_text(encoding="utf-8"))
    jsonschema.validate(told, SCHEMA)
    assert told["exit_code"] == 130 and told["is_interrupted"]
    measured = [each for each in told["contenders"] if each["measurement"] is not None]
    assert {each["threads"] for each in measured} == {2} and len(measured) == 2
    assert told["winner"] is not None and "the run was interrupted" in out
    assert "interrupted" in rest and "the same command again goes on from here" in out
    assert door.run([*command[3:], "--budget", "20m", "--json", "-"]) == 0
    again_out, again_err = capsys.readouterr()
    again = json.loads(again_out)
    jsonschema.validate(again, SCHEMA)
    by_name = {each["name"]: each for each in again["contenders"]}
    for each in measured:  # every figure as it was
        same = by_name[each["name"]]
        assert {**same, "measured_earlier": None, "is_on_front": None} == {**each, "is_on_front": None}
        assert same["measured_earlier"] == again["earlier"][0]["at"]
    new = [each for each in again["contenders"] if each["measured_earlier"] is None]
    assert {each["threads"] for each in new} == {1} and all(each["measurement"] is not None for each in new)
    assert len(again["earlier"]) == 1 and again["measurements"][0] == told["measurements"][0]
    assert again["anchor"] == told["anchor"] == again["measurements"][1]["sides"][-1]["name"].removesuffix(" (anchor)")
    assert again_err.count("* measured by an earlier run") == 1 and again_err.count("* ") >= 3


def test_the_table_is_plain_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    from dlconv.reports import tuning
    from dlconv.tuning.contender import Contender, Setting
    from dlconv.tuning.front import Wish
    from dlconv.tuning.tuned import Tuned

    lost = Contender(Setting("tflite", "int8", 2), "SKIPPED", ("no \x1b[31mruntime",))
    found = Tuned("net\n.onnx", (lost,), Wish(), (), "", None, 60.0, time.monotonic() * 0)
    text = "\n".join(tuning.lines(found))
    assert "\x1b" not in text and "SKIPPED: tflite int8, 2 threads" in text and "no winner" in text
    from rich.console import Console

    console = Console(width=120, force_terminal=True, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(tuning.shown(found))
    assert "tflite int8, 2 threads" in console.export_text()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_fits_the_terminal_and_every_word_of_a_name_stands_in_it(width: int) -> None:
    from rich.console import Console

    from dlconv.reports import tuning
    from tests.reports.records import tuned

    found = tuned()
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=width, force_terminal=True, record=True, file=nowhere)
        console.print(tuning.shown(found, width))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    assert all(word in text for each in found.contenders for word in (*each.name.split(), *each.word.split()))
    assert "2.98*" in text and "winner" in text and "front" in text
