"""Latency's statistics and judge: pure, and so tested by properties."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlconv.asked.bars import LatencyBars
from dlconv.files.jsonfile import write_json
from dlconv.reports.latency import lines
from dlconv.validators.latency import LatencyEvidence, SideEvidence, WarmUp, judge, percentile_wanted
from dlconv.validators.percentiles import NEEDED, Percentile, percentiles, ranks
from dlconv.validators.ratios import STUDENT, Ratio, compare, noise_of

POSITIVE = st.floats(1e-3, 1e3)
ANY = st.floats(allow_nan=True, allow_infinity=True)


def side(name: str, times_ms: Any = (1.0,) * 700) -> SideEvidence:
    times = np.asarray(times_ms, np.float64)
    return SideEvidence(
        name=name, runtime="onnxruntime", versions={"onnxruntime": "1"}, placement={"device": "CPU"}, size_bytes=10,
        threads=1, cpus=(0, 1), is_pinned=False, count=len(times), mean_ms=float(times.mean()),
        min_ms=float(times.min()), percentiles=percentiles([times * 1e6]), load_ms=(3.0, 4.0), compile_ms=(),
        first_ms=(2.0, 2.5), warm_ups=(WarmUp(20, 1.0, True, 2.0, 1.0),), peak_memory_bytes=1000,
    )  # fmt: skip


def evidence(ratio: Ratio | None, candidate: SideEvidence | None = None, **changes: Any) -> LatencyEvidence:
    sides = (side("base"),) if ratio is None else (side("base"), candidate or side("cand"))
    found = LatencyEvidence(
        sides=sides, ratios={} if ratio is None else {"cand": ratio}, noise=0.01, others=None, rounds=3, blocks=75,
        inputs=8, shapes="x 1x3", seed=0, seconds=30.0, stopped="reached", is_complete=True,
    )  # fmt: skip
    return replace(found, **changes)


def ratio_of(low: float, ratio: float, high: float, noise: float = 0.0) -> Ratio:
    return Ratio(ratio, low, high, noise, (ratio,), 10)


def word_of(found: LatencyEvidence, bars: LatencyBars) -> str:
    (check,) = judge(found, bars)
    assert check.name == "latency"
    return check.verdict.word


@given(st.tuples(POSITIVE, POSITIVE, POSITIVE).map(sorted), POSITIVE, POSITIVE)
def test_a_ratio_passes_only_where_the_whole_interval_does(ends: list[float], bar: float, wider: float) -> None:
    found = evidence(ratio_of(*ends))
    low, _, high = ends
    word = word_of(found, LatencyBars(max_ratio=bar))
    assert word == ("PASS" if high <= bar else "FAIL" if low > bar else "INCONCLUSIVE")
    # A wider bar never makes it worse, nor a slower candidate better.
    rank = ["FAIL", "INCONCLUSIVE", "PASS"].index
    assert rank(word_of(found, LatencyBars(max_ratio=bar + wider))) >= rank(word)
    slower = evidence(ratio_of(*(end * (1 + wider) for end in ends)))
    assert rank(word_of(slower, LatencyBars(max_ratio=bar))) <= rank(word)


@given(st.tuples(ANY, ANY, ANY, ANY), POSITIVE)
def test_nan_never_passes(figures: tuple[float, float, float, float], bar: float) -> None:
    low, ratio, high, noise = figures
    found = ratio_of(low, ratio, high, noise)
    if any(math.isnan(value) for value in (low, high)):
        assert word_of(evidence(found), LatencyBars(max_ratio=bar)) != "PASS"
    if any(math.isnan(value) for value in figures):
        assert found.word == "inconclusive"
        assert not math.isnan(ratio + low + high) or not found.is_narrow


@pytest.mark.parametrize("place", range(3))
def test_a_nan_among_the_blocks_concludes_nothing(place: int) -> None:
    logs = [[np.zeros(200) for _ in range(3)] for _ in range(3)]  # so many that resampling would trim it away
    logs[place][1][7] = math.nan
    found = compare(*logs)
    assert found.word == "inconclusive" and not found.is_narrow
    assert word_of(evidence(found), LatencyBars(max_ratio=1000.0)) == "INCONCLUSIVE"


@given(st.integers(1, 700), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_too_few_samples_never_give_a_percentile(count: int, seed: int) -> None:
    times = np.random.default_rng(seed).lognormal(size=count)
    for name, found in percentiles([times * 1e6]).items():
        share, needed = NEEDED[name]
        assert (found.value_ms is None) == (count < needed)
        if found.value_ms is not None:
            assert found.value_ms == pytest.approx(float(np.quantile(times, share, method="inverted_cdf")))
            assert found.low_ms is None or found.low_ms <= found.value_ms
            assert found.high_ms is None or found.value_ms <= found.high_ms < times.max() or count > needed
        else:
            assert found.low_ms is None and found.high_ms is None


@pytest.mark.parametrize("name", NEEDED)
def test_the_numbers_needed_are_the_least_at_which_a_bound_is_not_the_largest_sample(name: str) -> None:
    share, needed = NEEDED[name]
    assert ranks(needed, share)[1] == needed - 1
    assert ranks(needed - 1, share)[1] is None


@given(st.integers(11, 3000), st.sampled_from([share for share, _ in NEEDED.values()]))
@settings(max_examples=50, deadline=None)
def test_ranks_are_the_binomials_own(count: int, share: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    low, high = ranks(count, share)
    if high is not None:
        assert stats.binom.cdf(high - 1, count, share) >= 0.99 > stats.binom.cdf(high - 2, count, share)
    if low is not None:
        assert stats.binom.cdf(low - 1, count, share) <= 0.01 < stats.binom.cdf(low, count, share)


def test_students_table_is_students() -> None:
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.t.ppf(0.9975, np.arange(1, len(STUDENT) + 1))
    np.testing.assert_allclose(STUDENT, wanted, atol=6e-4)


def test_runs_that_are_alike_count_for_less() -> None:
    random = np.random.default_rng(3)
    free = random.lognormal(0, 0.2, 4000)
    steps = free * np.repeat(random.choice([1.0, 2.0], 20), 200)
    for times, is_bounded_closely in ((free, True), (steps, False)):
        found = percentiles([times * 1e6])["p50"]
        assert found.value_ms is not None and found.high_ms is not None
        assert (found.high_ms < 1.1 * found.value_ms) == is_bounded_closely


def machine(effect: float, seed: int, rounds: int = 3, noise: float = 0.02) -> list[list[np.ndarray[Any, Any]]]:
    random = np.random.default_rng(seed)
    drift = [np.linspace(0, 0.2, 25) + index for index in range(rounds)]
    return [[each + shift + random.normal(0, noise, 25) for each in drift] for shift in (math.log1p(effect), 0, 0)]


@given(st.floats(-0.5, 1.0), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_swapping_the_sides_inverts_the_ratio(effect: float, seed: int) -> None:
    one, other, _ = machine(effect, seed)
    ahead, back = compare(one, other, other), compare(other, one, one)
    assert ahead.ratio * back.ratio == pytest.approx(1)
    assert ahead.low <= ahead.ratio <= ahead.high
    # The resampled means are those of the negated series, so the ends trade places.
    assert ahead.low * back.high == pytest.approx(1, rel=1e-9)
    assert {ahead.word, back.word} in ({"slower", "faster"}, {"same"}, {"inconclusive"})


def test_what_both_sides_suffer_is_no_difference_and_what_one_has_is() -> None:
    assert [compare(*machine(effect, 1)).word for effect in (0.0, 0.06, -0.06)] == ["same", "slower", "faster"]


@given(st.lists(st.floats(-400, 400), min_size=6, max_size=24), st.integers(1, 2))
@settings(deadline=None)
def test_whatever_the_logarithms_are_the_interval_holds_the_ratio(values: list[float], rounds: int) -> None:
    each = len(values) // (3 * rounds)
    logs = np.array(values[: 3 * rounds * each]).reshape(3, rounds, each)
    found = compare(*map(list, logs))
    assert found.low <= found.ratio * (1 + 1e-9) and found.ratio <= found.high * (1 + 1e-9)
    assert found.noise >= 0 and len(found.rounds) == rounds


def test_processes_that_differ_widen_the_interval() -> None:
    candidate, baseline, again = machine(0.0, 2)
    calm = compare(candidate, baseline, again)
    shifted = [series + shift for series, shift in zip(again, (0.06, -0.06, 0.06), strict=True)]
    restless = compare(candidate, baseline, shifted)
    assert math.log(restless.high / restless.low) > 4 * math.log(calm.high / calm.low)
    assert noise_of(baseline, shifted) > noise_of(baseline, again)


def test_a_difference_less_than_the_noise_floor_is_not_called() -> None:
    found = ratio_of(1.02, 1.04, 1.06, noise=0.05)
    assert found.word == "inconclusive" and replace(found, noise=0.02).word == "slower"
    assert ratio_of(1.001, 1.005, 1.009).word == "same"  # beyond doubt, and nothing to speak of


@given(st.floats(1e-2, 1e2), st.integers(0, 800))
@settings(max_examples=50, deadline=None)
def test_absolute_bars_are_held_by_the_upper_bound_and_failed_by_the_lower(bar: float, count: int) -> None:
    times = np.random.default_rng(count).lognormal(size=max(count, 1))
    found = evidence(ratio_of(1, 1, 1), side("cand", times))
    percentile = found.sides[1].percentiles["p90"]
    word = word_of(found, LatencyBars(p90_ms=bar))
    if percentile.value_ms is None or percentile.high_ms is None:
        assert word == "INCONCLUSIVE" or (percentile.low_ms is not None and percentile.low_ms > bar)
    else:
        low = -math.inf if percentile.low_ms is None else percentile.low_ms
        assert word == ("PASS" if percentile.high_ms <= bar else "FAIL" if low > bar else "INCONCLUSIVE")


def test_insufficient_samples_are_told_and_absolute_bars_marked_as_this_machines() -> None:
    (check,) = judge(evidence(ratio_of(1, 1, 1), side("cand", [1.0] * 100)), LatencyBars(p99_ms=50))
    assert check.verdict.word == "INCONCLUSIVE"
    assert "insufficient samples for p99, 100 of 662" in check.verdict.reasons[0]
    assert check.figures["holds_for"] == "this machine"
    (check,) = judge(evidence(ratio_of(1, 1, 1), side("cand", [60.0] * 700)), LatencyBars(p99_ms=50))
    assert check.verdict.word == "FAIL" and "on this machine" in check.verdict.reasons[0]


def test_each_bar_and_each_candidate_is_a_check() -> None:
    found = evidence(ratio_of(0.9, 1.0, 1.1))
    assert judge(found, LatencyBars()) == ()
    checks = judge(found, LatencyBars(max_ratio=1.2, p50_ms=5, p99_ms=0.5))
    assert [(check.subject, check.verdict.word) for check in checks] == [
        ("cand, max_ratio", "PASS"), ("cand, p50_ms", "PASS"), ("cand, p99_ms", "FAIL"),
    ]  # fmt: skip


def test_what_was_not_measured_or_measured_wrongly_does_not_pass() -> None:
    alone = evidence(None)
    assert word_of(alone, LatencyBars(max_ratio=9.0)) == "INCONCLUSIVE"
    assert word_of(alone, LatencyBars(p50_ms=9.0)) == "PASS"
    assert word_of(replace(alone, sides=()), LatencyBars(p50_ms=9.0)) == "INCONCLUSIVE"
    assert word_of(replace(alone, problems=("wrong",)), LatencyBars(p50_ms=9.0)) == "FAIL"


def test_a_busy_machine_is_told_where_a_bar_does_not_hold() -> None:
    busy = evidence(ratio_of(1.3, 1.4, 1.5), others=0.6)
    (check,) = judge(busy, LatencyBars(max_ratio=1.1))
    assert any("60% of the CPUs" in reason for reason in check.verdict.reasons)
    (check,) = judge(busy, LatencyBars(max_ratio=2.0))
    assert check.verdict.word == "PASS" and not check.verdict.reasons


@given(ratio=ANY, noise=ANY)
def test_evidence_survives_json(tmp_path_factory: pytest.TempPathFactory, ratio: float, noise: float) -> None:
    found = evidence(ratio_of(0.9, ratio, 1.1, noise), side("cand", [1.0] * 20), noise=noise)
    path = tmp_path_factory.mktemp("json") / "evidence.json"
    write_json(path, found.to_dict())
    again = LatencyEvidence.from_dict(json.loads(path.read_text()))
    assert again.to_dict() == found.to_dict()
    assert again.sides == found.sides and again.ratios["cand"].word == found.ratios["cand"].word


def test_the_highest_percentile_asked_for_says_how_many_samples() -> None:
    assert percentile_wanted(LatencyBars()) == percentile_wanted(LatencyBars(max_ratio=1.0)) == "p90"
    assert percentile_wanted(LatencyBars(p50_ms=1, p99_ms=2)) == "p99"


def test_a_percentile_is_data() -> None:
    for value in (Percentile(1.0, 0.5, None, 11), Percentile(None, None, None, 662)):
        assert Percentile.from_dict(json.loads(json.dumps(value.to_dict()))) == value


def test_the_gpus_clock_is_told_beside_the_walls_transfers_apart() -> None:
    times = {"upload_ms": 0.02, "compute_ms": 1.234, "download_ms": 0.003, "wall_ms": 1.5}
    plan = replace(side("plan"), placement={"device": "Planted A", "times": times})
    told = [line for line in lines(evidence(ratio_of(1, 1, 1), plan)) if line.startswith("GPU")]
    assert told == [
        "GPU: plan compute 1.23 ms, upload 0.02 ms, download 0.003 ms by its own clock; 1.5 ms with transfers by the "
        "clock on the wall"
    ]
