"""The timing loop that runs in a worker."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.workers.timing import Timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.runtimes.base import Tensors


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class Doubler:
    """y = 2 x, after a while. Remembers which inputs it was called with."""

    def __init__(self, seconds: Callable[[], float] = lambda: 1e-4) -> None:
        self.seconds = seconds
        self.met: list[float] = []
        self.collecting: list[bool] = []

    def run(self, inputs: Tensors) -> Tensors:
        self.met.append(float(inputs["x"][0]))
        self.collecting.append(gc.isenabled())
        spin(self.seconds())
        return {"y": inputs["x"] * 2}

    def placement(self) -> dict[str, Any]:
        return {"device": "CPU"}


SAMPLES = [{"x": np.full(3, number, np.float32)} for number in range(3)]


def test_a_burst_goes_over_all_inputs_and_gives_a_time_a_run() -> None:
    session = Doubler()
    timed = Timed(session, SAMPLES, 1.0)
    session.met.clear()
    times = timed.burst(runs=7, offset=2, kept=-1, rewarm_s=0.0)
    assert times.dtype == np.int64 and times.shape == (7,) and (times >= 90_000).all()
    assert session.met == [2, 0, 1, 2, 0, 1, 2]
    assert timed.answers()["samples"] == []


def test_runs_before_a_burst_are_not_in_its_times() -> None:
    session = Doubler()
    timed = Timed(session, SAMPLES, 1.0)
    session.met.clear()
    assert len(timed.burst(runs=2, offset=1, kept=0, rewarm_s=0.002)) == 2
    assert len(session.met) > 2 and set(session.met[:-1]) == {1}


def test_the_kept_run_is_a_timed_one_and_stands_beside_an_untimed_one() -> None:
    timed = Timed(Doubler(), SAMPLES, 1.0)
    timed.burst(runs=4, offset=0, kept=2, rewarm_s=0.0)
    timed.burst(runs=4, offset=0, kept=0, rewarm_s=0.0)
    found = timed.answers()
    assert found["samples"] == [0, 2]
    assert [answer["y"][0] for answer in found["timed"]] == [0, 4]
    assert [answer["y"][0] for answer in found["untimed"]] == [0, 4]


def test_an_answer_that_the_runtime_writes_over_is_copied_in_time() -> None:
    class Reuses(Doubler):
        buffer = np.zeros(3, np.float32)

        def run(self, inputs: Tensors) -> Tensors:
            np.multiply(inputs["x"], 2, out=self.buffer)
            return {"y": self.buffer}

    timed = Timed(Reuses(), SAMPLES, 1.0)
    timed.burst(runs=3, offset=0, kept=1, rewarm_s=0.0)
    assert timed.answers()["timed"][0]["y"].tolist() == [2, 2, 2]


def test_no_garbage_is_collected_meanwhile() -> None:
    session = Doubler()
    timed = Timed(session, SAMPLES, 1.0)
    assert gc.isenabled() and session.collecting[-1]
    session.collecting.clear()
    timed.burst(runs=2, offset=0, kept=0, rewarm_s=0.0)
    assert session.collecting == [False, False] and gc.isenabled()


def test_warm_up_goes_on_until_windows_agree() -> None:
    begun = time.perf_counter()
    timed = Timed(Doubler(lambda: 5e-3 if time.perf_counter() - begun < 0.5 else 1e-3), SAMPLES, 1.0)
    found = timed.warm_up(least_s=0.1, cap_s=20.0, agree=0.5)
    # The three windows that agree may still be of the slow time; a restless one begins anew.
    assert found["is_settled"] and found["runs"] >= 10 and found["seconds"] >= 0.1
    assert found["windows_ms"][-1] == found["run_ms"] >= 1


def test_warm_up_that_never_settles_ends_at_its_cap() -> None:
    random = np.random.default_rng(0)
    timed = Timed(Doubler(lambda: float(random.uniform(1e-4, 2e-2))), SAMPLES, 1.0)
    found = timed.warm_up(least_s=0.05, cap_s=0.3, agree=1e-6)
    assert not found["is_settled"] and 0.3 <= found["seconds"] < 5


def test_slow_runs_are_not_kept_running_for_ten_windows() -> None:
    timed = Timed(Doubler(lambda: 0.05), SAMPLES, 1.0)
    found = timed.warm_up(least_s=0.01, cap_s=0.2, agree=0.02)
    assert found["runs"] <= 8 and found["seconds"] < 2


def test_facts_tell_the_first_run_apart() -> None:
    facts = Timed(Doubler(lambda: 2e-3), SAMPLES, 7.0).facts()
    assert facts["first_ms"] >= 2 and facts["compile_ms"] is None
    assert facts["load_ms"] == 7.0
