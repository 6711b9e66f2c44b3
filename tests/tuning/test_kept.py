"""Measurements that are kept: when they are used again, and when not. Bundles are real; the first test times them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dlconv
from dlconv.events import Silence
from dlconv.latency.sides import side_of_bundle
from dlconv.making.cache import Cache
from dlconv.records.bundle import open_bundle
from dlconv.tuning import kept
from dlconv.tuning.contender import Setting
from dlconv.tuning.kept import Measured, Shelf, identity
from dlconv.tuning.options import TuneOptions
from dlconv.tuning.stopwatch import Stopwatch
from dlconv.workers import toolchains
from tests.reports import records
from tests.tuning.test_tuning import spoilt

pytestmark = pytest.mark.onnx
Paths = dict[tuple[str, str], Path]
ASKED = {"time_s": 3.0, "seed": 0}
BASE, TWIN = (Setting("onnxruntime", name, 1) for name in ("fp32", "fp16"))
HERE = kept.conditions()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCONV_HOME", str(tmp_path / "home"))


def watch(*, is_anew: bool = False, cache: Cache | None = None, **asked: Any) -> Stopwatch:
    """As a new run has it. cache: without, that of the test's own home."""
    options = TuneOptions(dlconv.ExportOptions(("onnxruntime",), Path()), time_s=3.0)
    shelf = Shelf(cache or Cache(), {**ASKED, **asked}, is_anew=is_anew)
    return Stopwatch(options, time.monotonic() + 3000, Silence(), shelf)


def measured_by_hand(paths: Paths, *settings: Setting) -> None:
    """What an earlier run would have kept, with made figures: a ratio to BASE, which is the anchor too."""
    known = {
        each: identity(replace(side_of_bundle(open_bundle(paths[each.target, each.precision]), each.name), threads=1))
        for each in {BASE, *settings}
    }
    base, quick = (each for each in records.tuned().contenders if each.name in ("onnxruntime fp32, 2 threads",
                   "onnxruntime int8, 2 threads"))  # fmt: skip
    for setting in settings:
        timing = (base if setting == BASE else quick).timing
        assert timing is not None
        told = Measured("1", time.time(), timing, records.latency())
        assert Shelf(Cache(), ASKED, is_anew=False).put((known[setting], known[BASE], known[BASE]), told, "it") == ""


@pytest.fixture
def paths(digits_bundle: Callable[[str], Path], tmp_path: Path) -> Paths:
    """Two contenders that an earlier run measured; the files of both are float32's."""
    good = Path(shutil.copytree(digits_bundle("onnxruntime"), tmp_path / "good"))
    found = {("onnxruntime", "fp32"): good, ("onnxruntime", "fp16"): good}
    measured_by_hand(found, BASE, TWIN)
    return found


def recalled(paths: Paths, **how: Any) -> set[Setting]:
    return set(watch(**how).recalled(BASE, [TWIN, BASE], paths))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_later_run_has_what_an_earlier_one_measured_to_the_last_digit(digits_bundle: Callable[[str], Path]) -> None:
    bundle = digits_bundle("onnxruntime")
    paths = {("onnxruntime", "fp32"): bundle, ("onnxruntime", "fp16"): bundle}
    first = watch()
    assert first.recalled(BASE, [BASE, TWIN], paths) == {} and first.anchor is None
    measured = first.time(BASE, [TWIN], paths, 0.03)
    assert {timed.word for timed in measured.values()} == {"PASS"} and first.earlier == {}
    again = watch()
    assert again.recalled(BASE, [TWIN, BASE], paths) == measured
    assert (again.anchor, again.anchor_ms) == (BASE, first.anchor_ms)
    assert again.measurements == first.measurements and len(again.measurements) == 1, "one measurement, not two"
    assert again.earlier.keys() == {0} and 0 <= time.time() - again.earlier[0] < 600
    anew = watch(is_anew=True)
    assert anew.recalled(BASE, [TWIN, BASE], paths) == {}
    measured = anew.time(BASE, [], paths, 0.03)
    assert watch().recalled(BASE, [BASE], paths) == measured, "it took the place of what was kept"


def test_what_is_kept_is_used_once_and_only_with_its_scale(paths: Paths) -> None:
    again = watch()
    assert set(again.recalled(BASE, [TWIN, BASE], paths)) == {BASE, TWIN} and again.anchor == BASE
    assert again.recalled(BASE, [TWIN, BASE], paths) == {}
    alone = watch()
    assert alone.recalled(BASE, [TWIN], paths) == {} and alone.anchor is None, "a ratio to what has no time"


def test_it_is_measured_anew_where_that_is_asked_or_it_is_timed_in_another_way(paths: Paths, tmp_path: Path) -> None:
    assert recalled(paths) == {BASE, TWIN}
    assert recalled(paths, is_anew=True) == recalled(paths, cache=Cache(tmp_path / "another")) == set()
    assert recalled(paths, time_s=15.0) == recalled(paths, seed=1) == set()
    wide = [replace(each, threads=2) for each in (BASE, TWIN)]
    assert watch().recalled(wide[0], wide, paths) == {}, "other threads"
    other = replace(TWIN, option="optimisation=basic")
    assert watch().recalled(BASE, [BASE, other], paths).keys() == {BASE}, "another option of the runtime"


@pytest.mark.parametrize("what", sorted(HERE))
def test_another_machine_or_the_same_in_another_state_is_another(
    what: str, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "conditions", lambda: {**HERE, what: "another"})
    assert recalled(paths) == set()


def test_another_runtime_or_dlconv_is_another(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    real = toolchains.locate
    with monkeypatch.context() as changed:
        changed.setattr(toolchains, "locate", lambda of: replace(real(of), versions={"onnxruntime": "9.9"}))  # type: ignore[type-var]
        assert recalled(paths) == set()
    monkeypatch.setattr(kept, "digest_of_code", lambda _: "another")
    assert recalled(paths) == set()


@pytest.mark.parametrize(("age_s", "is_used"), [(kept.FRESH_S - 60, True), (kept.FRESH_S + 60, False), (-60, False)])
def test_what_is_too_old_is_measured_anew_and_what_a_clock_calls_future_too(
    age_s: float, is_used: bool, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time() + age_s
    monkeypatch.setattr("dlconv.tuning.kept.time.time", lambda: now)
    assert recalled(paths) == ({BASE, TWIN} if is_used else set())


def test_another_file_or_another_baseline_is_measured_anew(paths: Paths, tmp_path: Path) -> None:
    """Of another baseline nothing is used again: what was measured is a ratio to it."""
    other = spoilt(paths["onnxruntime", "fp32"], tmp_path / "other")
    assert recalled({**paths, ("onnxruntime", "fp16"): other}) == {BASE}
    assert recalled({**paths, ("onnxruntime", "fp32"): other}) == set()


def test_each_of_a_side_its_baseline_and_the_anchor_has_to_be_the_same(tmp_path: Path) -> None:
    shelf = Shelf(Cache(tmp_path), ASKED, is_anew=False)
    timing = records.tuned().contenders[2].timing
    assert timing is not None
    own, base, anchor, other = ({"files": name} for name in ("own", "base", "anchor", "other"))
    assert shelf.put((own, base, anchor), Measured("1", time.time(), timing, records.latency()), "it") == ""
    assert shelf.get((own, base, anchor)) is not None
    for strange in ((other, base, anchor), (own, other, anchor), (own, base, other)):
        assert shelf.get(strange) is None


def test_what_passed_other_bars_is_measured_anew(paths: Paths) -> None:
    receipt = paths["onnxruntime", "fp32"] / "dlconv.json"
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), "bars": {"factor": 1.0}}))
    assert recalled(paths) == set()


def test_what_is_damaged_is_measured_anew(paths: Paths, tmp_path: Path) -> None:
    for file in tmp_path.rglob("measurement.json"):
        file.write_text(file.read_text()[:100])
    assert recalled(paths) == set()


def test_a_cache_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("no folder")
    shelf = Shelf(Cache(tmp_path / "full"), ASKED, is_anew=False)
    timing = records.tuned().contenders[2].timing
    assert timing is not None and shelf.is_used
    measured = Measured("1", time.time(), timing, records.latency())
    assert "what is measured is not kept: " in shelf.put(({}, {}, {}), measured, "it")
    assert not shelf.is_used and shelf.put(({}, {}, {}), measured, "it") == ""
