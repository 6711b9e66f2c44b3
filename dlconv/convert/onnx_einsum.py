"""Einsum written as sums, transpositions and one matrix product, for converters that lack it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from dlconv.convert.onnx_rewriting import attributes_of

if TYPE_CHECKING:
    from dlconv.convert.onnx_rewriting import Rewriting
    from dlconv.graphs.onnx_graph import Proto

_SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def spell_out_einsum(node: Proto, known: Rewriting) -> list[Proto]:
    """An Einsum of one operand or two whose sizes are known, without a label twice in one operand."""
    shapes = [known.shapes.get(name) for name in node.input] if node.op_type == "Einsum" else []
    if not 1 <= len(shapes) <= 2 or None in shapes:
        return []
    sizes = [shape or () for shape in shapes]
    words = labels_of(attributes_of(node)["equation"].decode(), [len(shape) for shape in sizes])
    if words is None:
        return []
    *operands, result = words
    size = {label: number for word, shape in zip(operands, sizes, strict=True)
            for label, number in zip(word, shape, strict=True)}  # fmt: skip
    stretched = any(size[label] != number for word, shape in zip(operands, sizes, strict=True)
                    for label, number in zip(word, shape, strict=True))  # fmt: skip
    if stretched or any(len(set(word)) < len(word) for word in words) or not set(result) <= set(size):
        return []
    made: list[Proto] = []
    names = list(node.input)
    for place, word in enumerate(operands):
        elsewhere = {*result, *(label for other in (*operands[:place], *operands[place + 1 :]) for label in other)}
        lone = [axis for axis, label in enumerate(word) if label not in elsewhere]
        if lone:
            reduced, names[place] = known.sum(names[place], lone)
            made.append(reduced)
            operands[place] = "".join(label for label in word if label in elsewhere)
    if len(names) == 1:
        return [*made, _turned(known, names[0], operands[0], result, node.output[0])]
    return [*made, *_product(known, names, operands, result, size, node.output[0])]


def labels_of(equation: str, ranks: list[int]) -> list[str] | None:
    """The labels of each operand and of the result, an ellipsis spelled out in capitals; None where that cannot be.

    Labels of an ellipsis are counted from its end, as broadcasting does.
    """
    text = equation.replace(" ", "")
    left, arrow, result = text.partition("->")
    operands = left.split(",")
    spare = [label for label in _SPARE if label not in text]
    hidden = [rank - len(word.replace("...", "")) for word, rank in zip(operands, ranks, strict=True)]
    if any(count < 0 or (count and "..." not in word) for word, count in zip(operands, hidden, strict=True)):
        return None
    widest = max((count for word, count in zip(operands, hidden, strict=True) if "..." in word), default=0)
    if widest > len(spare):
        return None
    spelled = "".join(spare[:widest])
    if not arrow:
        once = sorted(label for label in set(re.sub(r"[.,]", "", left)) if left.count(label) == 1)
        result = ("..." if "..." in left else "") + "".join(once)
    words = [word.replace("...", spelled[widest - count :]) for word, count in zip(operands, hidden, strict=True)]
    words.append(result.replace("...", spelled))
    return words if all(re.fullmatch("[A-Za-z]*", word) for word in words) else None


def _turned(known: Rewriting, source: str, has: str, wants: str, target: str) -> Proto:
    return known.node("Transpose", [source], [target], perm=[has.index(label) for label in wants])


def _product(
    known: Rewriting, names: list[str], operands: list[str], result: str, size: dict[str, int], target: str
) -> list[Proto]:
    """Both operands as stacks of matrices, multiplied; the product with its axes apart and in order."""
    left, right = operands
    both = [label for label in left if label in right]
    batch, summed = ([label for label in both if (label in result) is wanted] for wanted in (True, False))
    rows, columns = ([label for label in word if label not in both] for word in (left, right))
    count = {name: int(np.prod([size[label] for label in labels])) for name, labels in
             {"batch": batch, "rows": rows, "summed": summed, "columns": columns}.items()}  # fmt: skip
    made: list[Proto] = []

    def matrices(name: str, labels: str, order: list[str], parts: tuple[str, str]) -> str:
        turned = known.name("turned")
        made.append(_turned(known, name, labels, "".join(order), turned))
        made.append((reshaped := known.reshape(turned, (count["batch"], count[parts[0]], count[parts[1]])))[0])
        return reshaped[1]

    one = matrices(names[0], left, [*batch, *rows, *summed], ("rows", "summed"))
    other = matrices(names[1], right, [*batch, *summed, *columns], ("summed", "columns"))
    product, order = known.name("product"), "".join([*batch, *rows, *columns])
    made.append(known.node("MatMul", [one, other], [product]))
    apart, unfolded = known.reshape(product, tuple(size[label] for label in order))
    return [*made, apart, _turned(known, unfolded, order, result, target)]
