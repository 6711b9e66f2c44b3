from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlconv.validators.answers import Answers
from dlconv.validators.parity import measure
from dlconv.validators.spread import MOST_BINS, Spread, spread_of

FIGURES = st.lists(st.floats(0, 1e12) | st.just(math.inf) | st.just(math.nan), max_size=60)


@given(FIGURES, FIGURES)
def test_every_figure_is_counted_once_in_its_own_bin(one: list[float], two: list[float]) -> None:
    spread = spread_of([np.array(one), np.array(two)])
    figures = [*one, *two]
    assert spread.total == len(figures)
    assert spread.zeros == sum(figure == 0 for figure in figures)
    assert spread.endless == sum(not math.isfinite(figure) for figure in figures)
    edges = spread.edges
    if spread.counts and len(spread.counts) < MOST_BINS:
        positive = [figure for figure in figures if 0 < figure < math.inf]
        assert edges[0] <= min(positive) * (1 + 1e-9) and max(positive) <= edges[-1] * (1 + 1e-9)
        assert spread.counts[0] and spread.counts[-1], "no empty bins at the ends"


def test_a_bin_holds_what_lies_in_it() -> None:
    spread = spread_of([np.array([1e-7, 1.1e-7, 2e-6, 0.0])])
    counted = {round(math.log10(low), 1): n for low, n in zip(spread.edges, spread.counts, strict=False) if n}
    assert counted == {-7.0: 2, -5.8: 1} and spread.zeros == 1


def test_it_comes_back_from_json() -> None:
    spread = spread_of([np.array([1e-300, 1.0, 0.0, math.nan])])
    assert len(spread.counts) == MOST_BINS and spread.total == 4
    assert Spread.from_dict(json.loads(json.dumps(spread.to_dict()))) == spread


@pytest.mark.parametrize("key", ["per_decade", "counts", "endless"])
def test_what_is_none_is_refused(key: str) -> None:
    told = spread_of([np.array([1.0])]).to_dict()
    del told[key]
    with pytest.raises(KeyError):
        Spread.from_dict(told)


def test_the_largest_error_lies_in_the_last_bin_of_an_output() -> None:
    y64 = ({"y": np.array([1.0, 2.0, -4.0])}, {"y": np.array([1.0, 3.0, 4.0])})
    y = ({"y": np.array([1.0, 2.0 + 4e-3, -4.0], np.float32)}, {"y": np.array([1.0, 3.0, 4.0], np.float32)})
    y32 = tuple({"y": sample["y"].astype(np.float32)} for sample in y64)
    (output,) = measure(Answers(y32, y64), y, 40.0, {"y": 1e-7}).outputs
    assert output.spread is not None and output.spread.total == output.elements == 6
    assert output.spread.edges[-2] <= output.error < output.spread.edges[-1]
    assert output.spread.zeros == 5
