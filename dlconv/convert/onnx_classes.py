"""What operators of ai.onnx.ml share when they are written in ONNX's own: numbers taken, and classes given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlconv.convert.onnx_rewriting import Rewriting
    from dlconv.graphs.onnx_graph import Proto

FLOAT = 1
AFTER = {b"NONE": "Identity", b"LOGISTIC": "Sigmoid", b"SOFTMAX": "Softmax"}
"""The post-transforms that have an operator."""


def numbers(node: Proto, known: Rewriting, made: list[Proto]) -> str:
    """The node's input in float32: the domain's operators take whatever numbers there are."""
    name = known.name("numbers")
    made.append(known.node("Cast", [node.input[0]], [name], to=FLOAT))
    return name


def classified(
    known: Rewriting, scores: str, labels: Sequence[int], after: bytes, outputs: Sequence[str]
) -> list[Proto]:
    """The label of the largest of `scores` (float32 [N, classes]) as int64 [N], and what comes of the scores after."""
    best = known.name("best")
    axis = {"axis": 1} if after == b"SOFTMAX" else {}
    return [
        known.node("ArgMax", [scores], [best], axis=1, keepdims=0),
        known.node("Gather", [known.tensor(np.array(labels, np.int64), "labels"), best], [outputs[0]]),
        known.node(AFTER[after], [scores], [outputs[1]], **axis),
    ]


def one_scored(
    known: Rewriting, score: str, labels: Sequence[int], after: bytes, is_share: bool, outputs: Sequence[str]
) -> list[Proto]:
    """Two classes by one score, float32 [N, 1]: of the second class the share, or how much speaks for it."""
    bound, chosen = known.tensor(np.array(0.5 if is_share else 0.0, np.float32), "bound"), known.name("chosen")
    whether, other = known.name("whether"), known.name("other")
    made = [
        known.node("Greater", [score, bound], [whether]),
        known.node("Cast", [whether], [chosen], to=7),
        known.reshape(chosen, (-1,))[0],
    ]
    flat = made[-1].output[0]
    made.append(known.node("Gather", [known.tensor(np.array(labels, np.int64), "labels"), flat], [outputs[0]]))
    if is_share:
        made.append(known.node("Sub", [known.tensor(np.ones((), np.float32), "one"), score], [other]))
    else:
        made.append(known.node("Neg", [score], [other]))
    both = known.name("both")
    made.append(known.node("Concat", [other, score], [both], axis=1))
    return [*made, known.node(AFTER[after], [both], [outputs[1]])]
