"""Sums that a softmax alone reads."""

import runpy
from pathlib import Path

import pytest

from dlconv.graphs.onnx_masks import before_softmax

pytestmark = pytest.mark.onnx
_node = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "onnx_files.py"))["_node"]


def test_the_sum_of_scores_and_mask() -> None:
    nodes = [_node("Add", ["scores", "mask"], ["masked"]), _node("Softmax", ["masked"], ["share"])]
    assert before_softmax(nodes) == {"masked"}


def test_and_what_the_mask_is_made_of_as_far_as_nothing_else_reads_it() -> None:
    nodes = [
        _node("Cast", ["seen"], ["shown"], to=1),
        _node("Sub", ["one", "shown"], ["hidden"]),
        _node("Mul", ["hidden", "low"], ["mask"]),
        _node("MatMul", ["q", "k"], ["product"]),
        _node("Mul", ["product", "eighth"], ["scores"]),
        _node("Add", ["scores", "mask"], ["masked"]),
        _node("Softmax", ["masked"], ["shares"]),
        _node("Mul", ["shares", "shown"], ["y"]),
    ]
    assert before_softmax(nodes) == {"hidden", "mask", "scores", "masked"}


@pytest.mark.parametrize(
    "nodes",
    [
        [_node("Add", ["a", "b"], ["s"]), _node("Softmax", ["s"], ["p"]), _node("Relu", ["s"], ["r"])],
        [_node("Mul", ["a", "b"], ["s"]), _node("Softmax", ["s"], ["p"])],
        [_node("Add", ["a", "b"], ["s"])],
    ],
    ids=["read by another too", "no sum", "no softmax"],
)
def test_no_other(nodes: list[object]) -> None:
    assert before_softmax(nodes) == set()
