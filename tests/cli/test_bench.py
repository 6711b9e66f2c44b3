from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlconv.asked.runtime_options import OPTIONS, RuntimeOption
from dlconv.cli import main as door
from dlconv.errors import WorkerCrashed
from dlconv.latency import benching
from dlconv.validators.latency import LatencyEvidence
from dlconv.workers import toolchains


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One round is enough to see what the command does; a home of the test's own."""
    monkeypatch.setattr(benching, "ROUNDS", 1)
    monkeypatch.setattr(benching, "LEAST_CAP_S", 1.0)
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))


def words(digits: Path, *more: str) -> list[str]:
    model = str(digits / "digits.onnx")
    return ["bench", model, "--samples", str(digits / "samples.npz"), "--time", "0.2", "--threads", "1", *more]


@pytest.mark.onnx
def test_times_are_told_and_a_bar_that_holds_passes(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run(words(digits, "--p50-ms", "60000", "--json", "-")) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["schema"], told["exit_code"], told["verdict"]["word"]) == ("dlconv.bench/1", 0, "PASS")
    (check,) = told["checks"]
    assert (check["name"], check["subject"]) == ("latency", "digits.onnx, p50_ms")
    (side,) = LatencyEvidence.from_dict(told["evidence"]).sides
    assert side.runtime == "onnxruntime" and side.placement["threads"] == 1 and side.percentiles["p50"].value_ms
    assert "digits.onnx" in err and "noise floor" in err and "PASS" in err and "distinct inputs" in err


@pytest.mark.onnx
def test_an_artifact_is_timed_with_an_option_beside_itself_without(
    digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(digits / "digits.onnx")
    assert door.run(words(digits, "--against", model, "--option", "optimisation=basic", "--json", "-")) == 0
    told = json.loads(capsys.readouterr().out)["evidence"]["sides"]
    assert [side["name"] for side in told] == [f"{model} (1)", f"{model} (2), optimisation=basic"]
    assert [side["placement"]["optimisation"] for side in told] == ["all", "basic"]


@pytest.mark.onnx
def test_an_option_that_the_runtime_does_not_take_is_exit_1(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted: an option of which the runtime hears nothing."""
    deaf = RuntimeOption({}, {"optimisation": "basic"}, "")
    monkeypatch.setitem(OPTIONS["onnxruntime"], "optimisation=basic", deaf)  # type: ignore[arg-type]
    assert door.run(words(digits, "--option", "optimisation=basic", "--json", "-")) == 1
    (problem,) = json.loads(capsys.readouterr().out)["evidence"]["problems"]
    assert problem.endswith("onnxruntime did not take optimisation=basic: optimisation is 'all'")


@pytest.mark.onnx
def test_a_bar_that_does_not_hold_fails(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run(words(digits, "--p50-ms", "0.000001")) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out and "bar 1e-06 ms" in out


@pytest.mark.onnx
def test_too_few_samples_for_a_bar_is_exit_3(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benching, "BURST_S", 0.0)  # a run a burst: as of a model that takes long
    monkeypatch.setattr(benching, "LEAST_BLOCKS", 1)
    assert door.run([*words(digits, "--p99-ms", "60000"), "--time", "0.01"]) == 3
    assert "insufficient samples for p99" in capsys.readouterr().out


@pytest.mark.onnx
@pytest.mark.torch
@pytest.mark.slow
def test_two_artifacts_have_a_ratio(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--against", str(digits / "digits.pt"), "--max-ratio", "1e30", "--json", "-")
    assert door.run(words(digits, *more)) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [side["name"] for side in told["evidence"]["sides"]] == ["digits.pt", "digits.onnx"]
    assert told["checks"][0]["figures"]["baseline"] == "digits.pt"
    assert "digits.onnx against digits.pt: " in err and "times the time" in err


def test_a_ratio_needs_two_artifacts(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.run(words(digits, "--max-ratio", "1.1")) == 2
    assert "next: --against ARTIFACT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "met"),
    [
        (("--max-ratio", "-1"), "max_ratio is -1.0"),
        (("--time", "0"), "time_s is 0.0"),
        (("--cpus", "a,b"), "no list of CPUs"),
        (("--option", "xnnpack=off"), "onnxruntime has no option 'xnnpack=off'"),
        (("--option", "execution=parallel"), "execution=parallel is nothing with 1 thread"),
        (("--option", "optimisation=all", "--option", "optimisation=none"), "optimisation is said more than once"),
    ],
)
def test_wrong_requests_are_exit_2(
    digits: Path, more: tuple[str, ...], met: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door.run(words(digits, *more)) == 2
    assert met in capsys.readouterr().err


def test_what_nothing_runs_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    assert door.run(["bench", str(tmp_path / "notes.txt")]) == 2
    assert "which nothing here runs" in capsys.readouterr().err


@pytest.mark.onnx
def test_a_missing_runtime_is_exit_3(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        toolchains,
        "locate",
        lambda toolchain: toolchains.Missing(toolchain.name, ("absent",), toolchains.mend_of(toolchain)),
    )
    assert door.run(words(digits)) == 3
    assert "next: dlconv toolchain install onnx" in capsys.readouterr().err


@pytest.mark.onnx
def test_an_artifact_that_does_not_run_is_exit_1(
    digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crashed(*_: object) -> None:
        raise WorkerCrashed("timing digits.onnx: the process was ended by SIGSEGV")

    monkeypatch.setattr(benching, "measure", crashed)
    assert door.run(words(digits, "--json", "-")) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "crash" and "SIGSEGV" in err
