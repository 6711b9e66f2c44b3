"""Measurements that are kept: when they are used again, and when not. What is timed is real."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dlconv
from dlconv.events import Silence
from dlconv.making.cache import Cache
from dlconv.tuning import kept
from dlconv.tuning.contender import Setting
from dlconv.tuning.kept import Shelf
from dlconv.tuning.options import TuneOptions
from dlconv.tuning.stopwatch import Stopwatch
from dlconv.workers import toolchains

pytestmark = [pytest.mark.onnx, pytest.mark.slow, pytest.mark.timeout(900)]
ASKED = {"time_s": 3.0, "seed": 0}
BASE, TWIN = (Setting("onnxruntime", name, 1) for name in ("fp32", "fp16"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))


def exported(digits: Path, place: Path, precision: str) -> Path:
    options = dlconv.ExportOptions(("onnxruntime",), place, samples=digits / "samples.npz", precision=precision)  # type: ignore[arg-type]
    (outcome,) = dlconv.export(digits / "digits.onnx", options).outcomes
    assert outcome.path is not None and outcome.word == "PASS"
    return outcome.path


def watch(*, is_anew: bool = False, cache: bool = True, **asked: Any) -> Stopwatch:
    options = TuneOptions(dlconv.ExportOptions(("onnxruntime",), Path()), time_s=3.0)
    shelf = Shelf(Cache() if cache else None, {**ASKED, **asked}, is_anew=is_anew)
    return Stopwatch(options, time.monotonic() + 3000, Silence(), shelf)


def test_a_later_run_has_what_an_earlier_one_measured_and_only_that(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {("onnxruntime", name): exported(digits, tmp_path, name) for name in ("fp32", "fp16")}
    first = watch()
    assert first.recalled(BASE, [BASE, TWIN], paths) == {} and first.anchor is None
    measured = first.time(BASE, [TWIN], paths, 0.03)
    assert {timed.word for timed in measured.values()} == {"PASS"} and first.earlier == {}

    again = watch()
    began = time.monotonic()
    known = again.recalled(BASE, [TWIN, BASE], paths)
    assert time.monotonic() - began < 3, "nothing is measured"
    assert known == measured, "every figure, to the last digit"
    assert (again.anchor, again.anchor_ms) == (BASE, first.anchor_ms)
    assert again.measurements == first.measurements and len(again.measurements) == 1, "one measurement, not two"
    assert again.earlier.keys() == {0} and 0 <= time.time() - again.earlier[0] < 600
    assert again.recalled(BASE, [TWIN, BASE], paths) == {}, "each is told once"

    def is_refused(paths: dict[tuple[str, str], Path] = paths, **how: Any) -> bool:
        return watch(**how).recalled(BASE, [BASE, TWIN], paths) == {}

    assert not is_refused() and is_refused(is_anew=True) and is_refused(cache=False)
    assert is_refused(time_s=15.0) and is_refused(seed=1), "timed in another way"
    wide = [replace(each, threads=2) for each in (BASE, TWIN)]
    assert watch().recalled(wide[0], wide, paths) == {}, "other threads"

    with monkeypatch.context() as changed:  # another machine, or the same in another state
        for key, value in (("boot", "another"), ("cpu", "another"), ("governor", "powersave"), ("cpus", [0])):
            changed.setattr(kept, "conditions", lambda key=key, value=value: {**CONDITIONS, key: value})
            assert is_refused(), key
    with monkeypatch.context() as changed:  # an upgraded runtime
        real = toolchains.locate
        changed.setattr(toolchains, "locate", lambda chain: replace(real(chain), versions={"onnxruntime": "9.9"}))
        assert is_refused()
    with monkeypatch.context() as changed:  # another dlconv
        changed.setattr(kept, "digest_of_code", lambda _: "another")
        assert is_refused()
    for age_s in (kept.FRESH_S + 60, -3600):  # too long ago, or a clock that went back
        with monkeypatch.context() as changed:
            now = time.time() + age_s
            changed.setattr(kept.time, "time", lambda now=now: now)
            assert is_refused(), age_s

    receipt = paths["onnxruntime", "fp16"] / "dlconv.json"  # other bars: what passed them need not pass these
    told = json.loads(receipt.read_text())
    receipt.write_text(json.dumps({**told, "bars": {"factor": 1.0}}))
    assert watch().recalled(BASE, [BASE, TWIN], paths).keys() == {BASE}, "its baseline is what it was"

    for file in tmp_path.rglob("measurement.json"):
        file.write_text(file.read_text()[:100])
    assert is_refused(), "what is damaged is measured anew"
    measured = watch(is_anew=True).time(BASE, [], paths, 0.03)
    assert watch().recalled(BASE, [BASE], paths) == measured, "what is measured anew takes the place of what was kept"


CONDITIONS = kept.conditions()


def test_a_file_that_changed_is_measured_anew(digits: Path, tmp_path: Path) -> None:
    """Of another baseline nothing is used again: what was measured is a ratio to it."""
    from tests.tuning.test_tuning import spoilt

    good = exported(digits, tmp_path, "fp32")
    paths = {("onnxruntime", "fp32"): good, ("onnxruntime", "fp16"): good}
    assert watch().time(BASE, [TWIN], paths, 0.03)[TWIN].word == "PASS"
    other = spoilt(good, tmp_path / "other")
    assert watch().recalled(BASE, [BASE, TWIN], {**paths, ("onnxruntime", "fp16"): other}).keys() == {BASE}
    assert watch().recalled(BASE, [BASE, TWIN], {**paths, ("onnxruntime", "fp32"): other}) == {}
