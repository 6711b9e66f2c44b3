"""Ensembles of decision trees (forests, boosted trees) as look-ups in tables: all trees go down a level at a time.

At each level every tree of every row stands at a node: its feature is picked from the row, compared with its
threshold, and the next node looked up. Leaves lead to themselves, so that short trees wait for deep ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.convert.onnx_classes import AFTER, classified, numbers, one_scored
from dlconv.convert.onnx_rewriting import attributes_of

if TYPE_CHECKING:
    from dlconv.convert.onnx_rewriting import Array, Rewriting
    from dlconv.graphs.onnx_graph import Proto

TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
DEEPEST = 64
_COMPARISONS = {b"BRANCH_LEQ": "LessOrEqual", b"BRANCH_LT": "Less", b"BRANCH_GTE": "GreaterOrEqual",
                b"BRANCH_GT": "Greater"}  # fmt: skip


@dataclass(frozen=True)
class _Forest:
    """Tables by node: feature, threshold, the next node where the comparison holds and where not, whether a missing
    number counts as holding, and what the leaf gives to each of the targets. roots: of the trees. is_certain: whether
    each target has a tree all of whose leaves give to it."""

    roots: Array
    features: Array
    thresholds: Array
    held: Array
    unheld: Array
    missing: Array
    weights: Array
    comparison: str
    depth: int
    is_certain: bool


def spell_out_trees(node: Proto, known: Rewriting) -> list[Proto]:
    """TreeEnsembleRegressor and TreeEnsembleClassifier of labels that are numbers; none for what else there is."""
    told = attributes_of(node)
    after = told.get("post_transform", b"NONE")
    if node.op_type == "TreeEnsembleRegressor":
        how = told.get("aggregate_function", b"SUM")
        forest = _forest(told, "target", int(told.get("n_targets", 1)))
        if forest is None or how not in (b"SUM", b"AVERAGE") or after not in (b"NONE", b"LOGISTIC"):
            return []
        sums = known.name("sums")
        base = _base(told, forest.weights.shape[1])
        if base.any() and not forest.is_certain:
            return []  # ONNX Runtime adds it to what some leaf gave, and to nothing else
        share = len(forest.roots) if how == b"AVERAGE" else 1
        made = _summed(node, known, forest, base, sums, share)
        return [*made, known.node(AFTER[after], [sums], [node.output[0]])]
    labels = told.get("classlabels_int64s")
    if node.op_type != "TreeEnsembleClassifier" or labels is None or after not in AFTER:
        return []
    return _classifier(node, known, told, labels, after)


def _classifier(node: Proto, known: Rewriting, told: dict[str, Any], labels: list[int], after: bytes) -> list[Proto]:
    forest = _forest(told, "class", len(labels))
    if forest is None or len(labels) < 2:
        return []
    scores, base = known.name("scores"), _base(told, len(labels))
    scored = set(told["class_ids"])
    if len(labels) > 2 or len(scored) > 1:
        if base.any() and not forest.is_certain:
            return []
        return [*_summed(node, known, forest, base, scores), *classified(known, scores, labels, after, node.output)]
    # Scores of the first of two classes alone are of the second: its share where none is negative, else how much
    # speaks for it.
    is_share = bool((forest.weights >= 0).all())
    if scored != {0} or after == b"SOFTMAX" or (is_share and after != b"NONE"):
        return []
    values = told.get("base_values") or [0.0]
    single = replace(forest, weights=forest.weights[:, :1])
    made = _summed(node, known, single, np.array([values[-1]], np.float32), scores)
    return [*made, *one_scored(known, scores, labels, after, is_share, node.output)]


def _base(told: dict[str, Any], count: int) -> Array:
    values = told.get("base_values") or [0.0]
    return np.array(values if len(values) == count else values[:1] * count, np.float32)


def _forest(told: dict[str, Any], kind: str, targets: int) -> _Forest | None:
    """The ensemble that the attributes write, None for one that compares in more ways than one, or in others."""
    needed = ("nodes_treeids", "nodes_nodeids", "nodes_values", "nodes_modes", f"{kind}_weights")
    if not all(told.get(name) for name in needed):
        return None
    names = list(zip(told["nodes_treeids"], told["nodes_nodeids"], strict=True))
    place = {name: number for number, name in enumerate(names)}
    modes = set(told["nodes_modes"]) - {b"LEAF"}
    comparison = _COMPARISONS.get(next(iter(modes), b"BRANCH_LEQ"))
    if len(modes) > 1 or comparison is None:
        return None
    own, is_leaf = np.arange(len(names)), np.array([mode == b"LEAF" for mode in told["nodes_modes"]])

    def followers(which: str) -> Array:
        ids = zip(told["nodes_treeids"], told[which], is_leaf, own, strict=True)
        return np.array([here if leaf else place[tree, number] for tree, number, leaf, here in ids], np.int64)

    held, unheld = followers("nodes_truenodeids"), followers("nodes_falsenodeids")
    weights, gives = np.zeros((len(names), targets), np.float32), np.zeros((len(names), targets), bool)
    parts = (told[f"{kind}_{what}"] for what in ("treeids", "nodeids", "ids", "weights"))
    for tree, number, target, weight in zip(*parts, strict=True):
        weights[place[tree, number], target] += weight
        gives[place[tree, number], target] = True
    followed = set(held[~is_leaf]) | set(unheld[~is_leaf])
    roots = np.array([number for number in own if number not in followed], np.int64)
    missing = np.array(told.get("nodes_missing_value_tracks_true") or [0] * len(names), bool)
    depth = _depth(roots, held, unheld, is_leaf)
    # Runtimes take the first node of a tree for its root.
    firsts = list({tree: number for number, (tree, _) in reversed(list(enumerate(names)))}.values())
    if depth > DEEPEST or sorted(firsts) != roots.tolist():
        return None
    features = np.where(is_leaf, 0, np.array(told["nodes_featureids"], np.int64))
    thresholds = np.array(told["nodes_values"], np.float32)
    trees = np.array(told["nodes_treeids"])
    always = np.array([gives[is_leaf & (trees == tree)].all(0) for tree in np.unique(trees)]).any(0)
    return _Forest(
        roots, features, thresholds, held, unheld, missing & ~is_leaf, weights, comparison, depth, bool(always.all())
    )


def _depth(roots: Array, held: Array, unheld: Array, is_leaf: Array) -> int:
    level, depth = roots, 0
    while depth <= DEEPEST and len(level := level[~is_leaf[level]]):
        level, depth = np.concatenate([held[level], unheld[level]]), depth + 1
    return depth


def _summed(node: Proto, known: Rewriting, forest: _Forest, base: Array, target: str, share: int = 1) -> list[Proto]:
    """What the leaves give, summed over the trees and divided by `share`: float32 [N, targets]."""
    made: list[Proto] = []
    x = numbers(node, known, made)
    at = ""
    tables = {name: known.tensor(getattr(forest, name), name) for name in ("features", "thresholds", "held", "unheld")}
    tables["missing"] = known.tensor(forest.missing, "missing") if forest.missing.any() else ""
    for _ in range(max(forest.depth, 1)):
        at = _level(known, forest, tables, x, at, made)
    given = known.name("given")
    weights = (forest.weights.astype(np.float64) / share).astype(np.float32)
    made.append(known.node("Gather", [known.tensor(weights, "weights"), at], [given], axis=0))
    total, summed = known.sum(given, [1])
    made.append(total)
    made.append(known.node("Add", [summed, known.tensor(base, "base")], [target]))
    return made


def _level(known: Rewriting, forest: _Forest, tables: dict[str, str], x: str, at: str, made: list[Proto]) -> str:
    """The nodes [N, trees] that follow those at `at`; "": the roots, which are the same for every row."""

    def looked_up(table: str) -> str:
        if not at:
            return known.tensor(getattr(forest, table)[forest.roots][None], table)
        name = known.name(table)
        made.append(known.node("Gather", [tables[table], at], [name], axis=0))
        return name

    seen, holds, following = known.name("seen"), known.name("holds"), known.name("node")
    if at:
        made.append(known.node("GatherElements", [x, looked_up("features")], [seen], axis=1))
    else:
        features = known.tensor(forest.features[forest.roots], "features")
        made.append(known.node("Gather", [x, features], [seen], axis=1))
    made.append(known.node(forest.comparison, [seen, looked_up("thresholds")], [holds]))
    if tables["missing"]:  # a NaN alone is not itself
        itself, is_missing, counts, either = (known.name(word) for word in ("itself", "nan", "counts", "either"))
        made += [
            known.node("Equal", [seen, seen], [itself]),
            known.node("Not", [itself], [is_missing]),
            known.node("And", [is_missing, looked_up("missing")], [counts]),
            known.node("Or", [holds, counts], [either]),
        ]
        holds = either
    made.append(known.node("Where", [holds, looked_up("held"), looked_up("unheld")], [following]))
    return following
