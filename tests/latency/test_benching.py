"""The procedure of a measurement, on planted delays and on real models. No time is asserted as such."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlconv import pipeline
from dlconv.asked.bars import LatencyBars
from dlconv.asked.options import ExportOptions, SourceOptions
from dlconv.candidate import TargetRuntime
from dlconv.errors import DlconvError, RequestError, StepError, ToolchainMissing, WorkerCrashed
from dlconv.events import Event
from dlconv.formats import Format
from dlconv.latency import benching
from dlconv.latency.benching import BenchSettings, Measurement, measure
from dlconv.latency.sides import Side, judge_answers, open_side, side_of_bundle
from dlconv.making.cache import Cache
from dlconv.model import Signature, TensorSpec
from dlconv.records.bundle import open_bundle
from dlconv.validators.latency import LatencyEvidence, judge
from dlconv.workers import toolchains
from dlconv.workers.crew import Crew

pytestmark = pytest.mark.onnx  # any toolchain would do for what is planted: this one is small

ADAPTER = """
import os, time
import numpy as np

def probe():
    return {"version": "1", "devices": ["CPU"]}

def open(path, signature, settings):
    return Session(settings)

class Session:
    def __init__(self, settings):
        self.settings, self.calls = settings, 0

    def run(self, inputs):
        self.calls += 1
        if self.settings.get("dies_at") == self.calls:
            os.abort()
        end = time.perf_counter() + self.settings["seconds"]
        while time.perf_counter() < end:
            pass
        answer = inputs["x"] * 2
        if self.calls > self.settings.get("wrong_after", 10**9):
            answer[0] = np.nan
        return {"y": answer}

    def placement(self):
        return {"device": "CPU", "threads": self.settings["threads"]}
"""
QUICK = BenchSettings(time_s=0.6, cap_s=4.0, threads=1, warm_up_s=0.05)


@pytest.fixture(autouse=True)
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime whose model takes as long as its settings say."""
    (tmp_path / "planted_adapter.py").write_text(textwrap.dedent(ADAPTER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def planted(name: str, seconds: float, shapes: tuple[int, ...] = (2, 2, 2), **settings: Any) -> Side:
    runtime = TargetRuntime("planted", "onnx", "planted_adapter", {"seconds": seconds, **settings}, Format.ONNX)
    spec = TensorSpec("x", "float32", ("N",))
    samples = tuple({"x": np.full(size, number, np.float32)} for number, size in enumerate(shapes))
    numbers = tuple(range(10, 10 + len(shapes)))
    return Side(name, Path("nothing"), runtime, Signature((spec,)), samples, numbers, 123)


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        self.events.append(event)


@pytest.mark.slow
def test_a_planted_ratio_is_found_in_either_order() -> None:
    # A machine that does much else makes long runs longer still: what is planted is large.
    quick, slow = planted("quick", 5e-4), planted("slow", 5e-3)
    heard = Heard()
    found = measure([quick, slow], QUICK, heard).evidence
    ratio = found.ratios["slow"]
    assert ratio.word == "slower" and ratio.ratio > 3
    assert ratio.low < ratio.ratio < ratio.high
    assert found.others is None or 0 <= found.others <= 1
    swapped = measure([slow, quick], QUICK).evidence.ratios["quick"]
    assert swapped.word == "faster" and swapped.ratio < 1 / 3
    assert [event.data["round"] for event in heard.events] == list(range(1, found.rounds + 1))
    (check,) = judge(found, LatencyBars(max_ratio=1.1))
    assert check.verdict.word == "FAIL" and "slow" in check.verdict.reasons[0]
    (check,) = judge(found, LatencyBars(max_ratio=1e6))
    assert check.verdict.word == "PASS"


def test_one_artifact_has_times_and_a_noise_floor_and_no_ratio() -> None:
    found = measure([planted("alone", 1e-3)], QUICK).evidence
    (side,) = found.sides
    assert not found.ratios and found.noise >= 0 and found.rounds >= 3
    assert side.count >= 64 and side.min_ms >= 1
    p50, p999 = side.percentiles["p50"], side.percentiles["p99.9"]
    assert p50.value_ms is not None and p50.value_ms >= 1
    assert side.count < 6636 and p999.value_ms is None
    # Two processes a round; the second one's are the same model's, and count.
    assert len(side.load_ms) == len(side.first_ms) == len(side.warm_ups) == 2 * found.rounds
    assert side.compile_ms == () and side.size_bytes == 123 and side.peak_memory_bytes > 1e6
    assert side.placement == {"device": "CPU", "threads": 1} and side.threads == 1 and side.cpus
    assert [check.verdict.word for check in judge(found, LatencyBars(p50_ms=1e-3))] == ["FAIL"]
    assert LatencyEvidence.from_dict(found.to_dict()) == found


def test_samples_of_another_size_are_left_out_and_numbers_are_the_sets_own() -> None:
    found = measure([planted("mixed", 1e-4, shapes=(2, 5, 2))], QUICK)
    assert found.evidence.inputs == 2 and found.evidence.shapes == "x 2"
    assert set(found.answers["mixed"]) <= {10, 12} and found.answers["mixed"]
    for number, outputs in found.answers["mixed"].items():
        assert outputs["y"].tolist() == [2 * (number - 10)] * 2


def test_what_answers_otherwise_when_it_is_timed_fails() -> None:
    found = measure([planted("right", 1e-3), planted("hasty", 1e-4, wrong_after=20)], QUICK).evidence
    assert any("hasty: y of a timed run" in problem for problem in found.problems)
    assert not any("right" in problem for problem in found.problems)
    (check,) = judge(found, LatencyBars(max_ratio=100.0))
    assert check.verdict.word == "FAIL"


def test_a_process_that_dies_is_told_as_such() -> None:
    with pytest.raises(WorkerCrashed, match="dying"):
        measure([planted("right", 1e-3), planted("dying", 1e-3, dies_at=30)], QUICK)


def test_a_model_that_cannot_be_opened_is_a_failed_step(tmp_path: Path) -> None:
    side = planted("broken", 1e-3)
    runtime = TargetRuntime("onnxruntime", "onnx", "dlconv.runtimes.onnxruntime", {}, Format.ONNX)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    broken = Side("broken", tmp_path / "bad.onnx", runtime, side.signature, side.samples, side.numbers, 8)
    with pytest.raises(StepError, match="opening broken"):
        measure([broken], QUICK)


def test_all_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        toolchains, "locate", lambda toolchain: toolchains.Missing(toolchain.name, ("absent",), f"get {toolchain.name}")
    )
    other = planted("other", 1e-3)
    runtime = TargetRuntime("tflite", "tflite", "dlconv.runtimes.tflite", {}, Format.TFLITE)
    sides = [planted("one", 1e-3), Side("two", Path("x"), runtime, other.signature, other.samples, other.numbers, 1)]
    with pytest.raises(ToolchainMissing) as caught:
        measure(sides, QUICK)
    assert {"get onnx", "get tflite"} == set(caught.value.mend.splitlines())


def test_sides_that_cannot_be_told_apart_and_settings_that_cannot_be_served() -> None:
    with pytest.raises(RequestError):
        measure([], QUICK)
    with pytest.raises(RequestError):
        measure([planted("same", 1e-3), planted("same", 1e-3)], QUICK)
    with pytest.raises(RequestError) as caught:
        BenchSettings(time_s=float("nan"), threads=-1, percentile="p42", cpus=(10**6,))
    assert len(caught.value.problems) == 4


def opened(path: Path, name: str, samples: Path, crew: Crew, cache: Cache) -> Side:
    return open_side(path, name, SourceOptions(samples=samples), crew, cache)


@pytest.mark.torch
@pytest.mark.slow
def test_real_models_in_two_frameworks(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benching, "ROUNDS", 1)
    samples, cache = digits / "samples.npz", Cache(tmp_path / "cache")
    with Crew(tmp_path / "logs", slots=1, memory_limit_bytes=None, timeout_s=100) as crew:
        sides = [opened(digits / f"digits.{end}", end, samples, crew, cache) for end in ("onnx", "pt")]
    found = measure(sides, QUICK)
    assert [side.runtime for side in found.evidence.sides] == ["onnxruntime", "torch"]
    assert [side.placement["threads"] for side in found.evidence.sides] == [1, 1]
    assert [side.placement["precision"] for side in found.evidence.sides] == ["float32"] * 2
    assert set(found.evidence.ratios) == {"pt"} and not found.evidence.problems
    one, other = (answers_of(found, name) for name in ("onnx", "pt"))
    assert one and other
    for number in set(one) & set(other):
        np.testing.assert_allclose(one[number], other[number], atol=1e-4)


def answers_of(found: Measurement, name: str) -> dict[int, Any]:
    return {number: next(iter(outputs.values())) for number, outputs in found.answers[name].items()}


@pytest.mark.slow
def test_a_bundles_timed_answers_go_through_the_parity_judge(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benching, "ROUNDS", 1)
    options = ExportOptions(("onnx",), tmp_path / "out", samples=digits / "samples.npz", use_cache=False)
    report = pipeline.export(digits / "digits.onnx", options)
    place = report.outcomes[0].path
    assert report.exit_code == 0 and place is not None
    side = side_of_bundle(open_bundle(place), "bundle")
    found = measure([side], QUICK)
    answers = found.answers["bundle"]
    assert answers and {check.verdict.word for check in judge_answers(side, answers)} == {"PASS"}
    number = min(answers)
    spoiled = {name: array + np.float32(0.5) for name, array in answers[number].items()}
    assert "FAIL" in {check.verdict.word for check in judge_answers(side, {**answers, number: spoiled})}
    with side.path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DlconvError, match="not what was exported"):
        side_of_bundle(open_bundle(place), "bundle")
