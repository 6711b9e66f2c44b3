"""The task metrics: from labels and answers to a figure, over all samples or over some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlconv.errors import SamplesError
from dlconv.samples import read_npz
from dlconv.validators import words
from dlconv.validators.classes import labelled
from dlconv.validators.detections import Detections, matched, mean_average_precision

if TYPE_CHECKING:
    from dlconv.samples import Sample
    from dlconv.validators.drops import Score

Array = np.ndarray[Any, Any]


class Unknown(Exception):
    """The answers give no figure. It is caught by `Task` and told as evidence, or as an error of the source's."""


@dataclass(frozen=True)
class Rated:
    """A metric of one model's answers. score: over units by their numbers, of which there are `units`. labels: how many
    things it counts. hits: bool, a unit each, where the metric is a share of right ones."""

    score: Score
    units: int
    labels: int
    hits: Array | None = None


@dataclass(frozen=True)
class Classes:
    """The share of rows of scores, [..., classes], whose best one or five classes hold the right one."""

    output: str
    labels: Array
    best: int
    is_lower_better: bool = False

    def rate(self, samples: Sequence[Sample]) -> Rated:
        """See `dlconv.metrics.scoring.Rater`."""
        arrays = [np.asarray(sample[self.output]) for sample in samples]
        if any(array.ndim < 1 or (array.dtype.kind != "f" and self.best > 1) for array in arrays):
            raise Unknown(f"'{self.output}' has no scores of classes")
        rows = [array.reshape(-1, array.shape[-1]) if array.dtype.kind == "f" else array.reshape(-1, 1)
                for array in arrays]  # fmt: skip
        right = self.labels.ravel()
        count = labelled([len(row) for row in rows], right.size, f"answers of '{self.output}'")
        found = np.concatenate([_best(row, self.best) for row in rows[:count]])
        hits: Array = np.any(np.equal(found, right[:, None]), axis=1)
        return Rated(lambda drawn: float(np.mean(hits[drawn])), hits.size, hits.size, hits)


def _best(rows: Array, count: int) -> Array:
    """Classes [n, count], the best first; integers are classes themselves. A row with a NaN has none: -1."""
    if rows.dtype.kind != "f":
        return rows
    if rows.shape[1] < count:
        raise Unknown(f"there are {rows.shape[1]} classes, and the best {count} are asked for")
    best: Array = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    best[np.any(np.isnan(rows), axis=1)] = -1
    return best


@dataclass(frozen=True)
class Truths:
    """What is in each picture, in the pictures' order."""

    pictures: tuple[Detections, ...]

    @property
    def boxes(self) -> int:
        return sum(len(picture.boxes) for picture in self.pictures)


@dataclass(frozen=True)
class Pictures:
    """COCO's mean average precision. boxes, scores and classes name the outputs: [n, 4], [n] and [n], or with an axis
    of pictures before; a score of 0 or less stands for no box. form: see `metric.FORMS`, of boxes and labels alike."""

    boxes: str
    scores: str
    classes: str
    form: str
    truths: Truths
    is_lower_better: bool = False

    def rate(self, samples: Sequence[Sample]) -> Rated:
        """See `dlconv.metrics.scoring.Rater`."""
        found = [self._of(sample) for sample in samples]
        count = labelled([len(each) for each in found], len(self.truths.pictures), "pictures")
        flat = [picture for each in found[:count] for picture in each]
        truths = [
            Detections(corners(each.boxes, self.form), each.classes, each.scores) for each in self.truths.pictures
        ]
        pairs = [matched(picture, truth) for picture, truth in zip(flat, truths, strict=True)]

        def score(drawn: Array) -> float:
            return mean_average_precision([pairs[index] for index in drawn])

        return Rated(score, len(pairs), self.truths.boxes)

    def _of(self, sample: Sample) -> list[Detections]:
        boxes, scores, classes = (np.asarray(sample[name]) for name in (self.boxes, self.scores, self.classes))
        if boxes.ndim == 2:
            boxes, scores, classes = boxes[None], np.atleast_1d(scores)[None], np.atleast_1d(classes)[None]
        if boxes.ndim != 3 or boxes.shape[2] != 4 or scores.shape != boxes.shape[:2] or classes.shape != scores.shape:
            raise Unknown(
                f"boxes {boxes.shape}, scores {scores.shape} and classes {classes.shape} are not [n, 4], [n] and [n]"
            )
        there: Array = np.greater(scores, 0)
        return [
            Detections(corners(box[has], self.form), _whole(kind[has]), score[has].astype(np.float64))
            for box, score, kind, has in zip(boxes, scores, classes, there, strict=True)
        ]


def corners(boxes: Array, form: str) -> Array:
    """Boxes [n, 4] of a form as float64 x0, y0, x1, y1."""
    known = boxes.astype(np.float64)
    if form == "yxyx":
        return known[:, [1, 0, 3, 2]]
    return np.concatenate([known[:, :2], known[:, :2] + known[:, 2:]], axis=1) if form == "xywh" else known


def _whole(classes: Array) -> Array:
    """TFLite's detections have classes in float32. Those that are no whole numbers are no classes: Unknown."""
    whole = np.rint(classes).astype(np.int64)
    if classes.dtype.kind == "f" and not np.array_equal(whole, classes):
        raise Unknown("classes are no whole numbers")
    return whole


@dataclass(frozen=True)
class Speech:
    """The word error rate: words to replace, insert and leave out, by words that were said.

    lines: what was said, a line a row of answers. output: scores [time, classes], or [rows, time, classes]; or decode:
    the user's function of a sample's outputs, which gives a text, or a list of texts, a row each."""

    lines: tuple[str, ...]
    output: str = ""
    alphabet: tuple[str, ...] = ()
    blank: int = 0
    decode: Callable[..., Any] | None = None
    is_lower_better: bool = True

    def rate(self, samples: Sequence[Sample]) -> Rated:
        """See `dlconv.metrics.scoring.Rater`."""
        read = [self._texts(sample) for sample in samples]
        count = labelled([len(each) for each in read], len(self.lines), "texts")
        texts = [text for each in read[:count] for text in each]
        counted = np.array([words.errors(line, text) for line, text in zip(self.lines, texts, strict=True)])

        def score(drawn: Array) -> float:
            wrong, said = counted[drawn].sum(axis=0)
            return float(wrong / said) if said else float("nan")

        return Rated(score, len(texts), int(counted[:, 1].sum()))

    def _texts(self, sample: Sample) -> list[str]:
        if self.decode is not None:
            told = called(self.decode, dict(sample))
            texts = [told] if isinstance(told, str) else list(told)
            if not all(isinstance(text, str) for text in texts):
                raise Unknown("decode gives no texts")
            return texts
        scores = np.asarray(sample[self.output])
        if scores.ndim not in (2, 3) or scores.shape[-1] != len(self.alphabet):
            raise Unknown(
                f"'{self.output}' is {scores.shape}, wanted [time, {len(self.alphabet)}]: a class a line of alphabet"
            )
        rows = scores[None] if scores.ndim == 2 else scores
        return [words.decoded(row, self.alphabet, self.blank) for row in rows]


@dataclass(frozen=True)
class UserFunction:
    """f(outputs, labels) -> float. outputs: each output's answers joined along the first axis, a row a label. labels:
    the arrays of an .npz by name, or the one that there is; or an array of the lines of a text. Greater is better,
    unless the function has an attribute `lower` that is true."""

    name: str
    function: Callable[..., Any]
    labels: Mapping[str, Array]
    is_lower_better: bool = False

    @staticmethod
    def of(name: str, function: Callable[..., Any], path: Path) -> UserFunction:
        """With the labels at `path`. SamplesError for what is none."""
        labels = read_npz(path) if path.suffix == ".npz" else {"": np.array(read_lines(path), dtype=object)}
        sizes = {len(array) if array.ndim else -1 for array in labels.values()}
        if len(sizes) != 1 or not min(sizes) >= 1:
            raise SamplesError(f"the labels in {path} are not of one number of rows", wanted="arrays, a row a sample")
        return UserFunction(name, function, labels, bool(getattr(function, "lower", False)))

    def rate(self, samples: Sequence[Sample]) -> Rated:
        """See `dlconv.metrics.scoring.Rater`."""
        rows = [_rows_of(sample) for sample in samples]
        size = len(next(iter(self.labels.values())))
        count = labelled(rows, size, "rows of answers")
        outputs = {name: _joined(name, [np.asarray(sample[name]) for sample in samples[:count]]) for name in samples[0]}

        def score(drawn: Array) -> float:
            labels = {name: array[drawn] for name, array in self.labels.items()}
            given: Any = next(iter(labels.values())) if len(labels) == 1 else labels
            figure = called(self.function, {name: array[drawn] for name, array in outputs.items()}, given)
            try:
                return float(figure)
            except (TypeError, ValueError) as error:
                raise Unknown(f"{self.name} gives {type(figure).__name__}, wanted a number") from error

        return Rated(score, size, size)


def _rows_of(sample: Sample) -> int:
    sizes = {np.shape(array)[0] if np.ndim(array) else 0 for array in sample.values()}
    if len(sizes) != 1:
        raise Unknown("its outputs have no first axis of one size, by which labels would belong to answers")
    return int(sizes.pop())


def _joined(name: str, arrays: Sequence[Array]) -> Array:
    if len({array.shape[1:] for array in arrays}) != 1:
        raise Unknown(f"'{name}' differs in size from sample to sample, and cannot be joined")
    return np.concatenate(arrays)


def called(function: Callable[..., Any], *given: Any) -> Any:
    """What a function of the user's gives. Unknown, with what it raised, where it raises."""
    try:
        return function(*given)
    except Exception as error:  # a foreign function: whatever it raises
        name = getattr(function, "__name__", "the function")
        raise Unknown(f"{name} raised {type(error).__name__}: {error}") from error


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a text in UTF-8; an empty one is one too. SamplesError for what is none."""
    try:
        lines = tuple(path.read_text(encoding="utf-8").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise SamplesError(f"{path} cannot be read: {error}", wanted="a text in UTF-8, a line each") from error
    lines = lines[:-1] if lines[-1] == "" else lines
    if not lines:
        raise SamplesError(f"{path} is empty", wanted="a text in UTF-8, a line each")
    return lines


def read_truths(path: Path) -> Truths:
    """The boxes that are in each picture: an .npz with boxes [n, 4], classes int [n], image int [n], from 0, and
    images, the number of pictures. SamplesError, with all that is wrong."""
    arrays = read_npz(path)
    wanted = "boxes [n, 4], classes [n] and image [n], integers from 0, and images: the number of pictures"
    lacking = [name for name in ("boxes", "classes", "image", "images") if name not in arrays]
    if lacking:
        raise SamplesError(f"{path} has no {', '.join(lacking)}", wanted=wanted)
    boxes, classes, image, images = (arrays[name] for name in ("boxes", "classes", "image", "images"))
    wrong = []
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        wrong.append(f"boxes is {boxes.shape}, or not finite")
    wrong += [f"{name} is {array.dtype.name} {array.shape}" for name, array in (("classes", classes), ("image", image))
              if array.dtype.kind not in "iu" or array.shape != boxes.shape[:1]]  # fmt: skip
    if images.dtype.kind not in "iu" or images.size != 1 or int(images.max(initial=0)) < 1:
        wrong.append("images is no number")
    elif not wrong and image.size and not (int(image.min()) >= 0 and int(image.max()) < int(images.max())):
        wrong.append(f"image goes to {int(image.max())}, and there are {int(images.max())} pictures")
    if wrong:
        raise SamplesError(f"the labels in {path} are no boxes", wanted=wanted, problems=tuple(wrong))
    each = [image == index for index in range(int(images.max()))]
    return Truths(tuple(Detections(boxes[at], classes[at], np.ones(int(at.sum()))) for at in each))
