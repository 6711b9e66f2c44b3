"""How much less noise a target needs, as a search is told it."""

import pytest

from dlconv.records.outcome import Outcome
from dlconv.shortfall import shortfall
from dlconv.validators.verdict import Check, Verdict

FAIL, PASS = Verdict("FAIL", ("why",)), Verdict("PASS")


def missed(*checks: Check) -> float:
    return shortfall(Outcome("m-onnx-int8", "m", "onnx", "int8", checks=checks))


def parity(error: float | str | None, verdict: Verdict = FAIL, **more: object) -> Check:
    return Check("parity", verdict, "y", {"error": error, "bar": 0.1, **more})


def test_by_as_much_as_the_worst_output_lies_beyond_its_bar() -> None:
    assert missed(parity(0.15), parity(0.25), parity(0.05, PASS)) == pytest.approx(2.5)


def test_a_wild_element_does_not_ask_for_everything() -> None:
    assert missed(parity(90.0)) == missed(parity("inf")) == 4.0


@pytest.mark.parametrize(
    "check", [parity(0.05), parity(None), Check("metric", FAIL, "top1", {"drop": 0.3, "bar": 0.1})]
)
def test_where_no_figure_tells_it_is_halved(check: Check) -> None:
    assert missed(check) == 2.0


@pytest.mark.parametrize(
    "check",
    [parity(0.05, PASS), parity(0.2, problems=["y is missing"]), Check("precision", FAIL), Check("answers", FAIL)],
)
def test_what_no_keep_list_mends_asks_for_none(check: Check) -> None:
    assert missed(parity(0.2), check) == (2.0 if check.verdict.word == "PASS" else 0.0)
