"""What is told where no route made a candidate."""

from __future__ import annotations

from dlconv.attempts import Attempt, no_route
from dlconv.errors import StepError, Unsupported


def _failed(route: str, met: str) -> Attempt:
    return Attempt({"edges": route.split()}, None, StepError(met, mend=f"mend {met}"))


def test_one_routes_error_is_the_error() -> None:
    error = Unsupported("no such operator")
    assert no_route("openvino", [Attempt({"edges": ["a"]}, None, error)]) is error


def test_a_reason_that_all_routes_share_is_told_once() -> None:
    error = no_route("openvino", [_failed("a b", "no such operator"), _failed("c b", "no such operator")])
    assert error.met == "none of 2 routes to openvino succeeded: no such operator"
    assert error.problems == ()
    assert error.mend == "mend no such operator"


def test_of_several_reasons_each_is_told_with_its_routes() -> None:
    error = no_route("tflite", [_failed("a", "x"), _failed("b c", "y"), _failed("d", "x"), _failed("e", "x")])
    assert error.problems == ("a and 2 more: x", "b -> c: y")
