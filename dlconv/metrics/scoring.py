"""A task metric measured: labels are read, and two models' answers to the same samples are held against them.

What is compared is the source's own float32 answers and the candidate's. Labels that do not fit, and a metric that
cannot be known of the source, are errors; of a candidate that is evidence, and no pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from dlconv.asked import named_function
from dlconv.asked.metric import EXAMPLE, Metric, parse
from dlconv.asked.options import metric_problems
from dlconv.errors import RequestError, SamplesError
from dlconv.metrics.raters import Classes, Pictures, Rated, Speech, Unknown, UserFunction, read_lines, read_truths
from dlconv.samples import read_labels
from dlconv.validators.drops import bootstrapped, newcombe
from dlconv.validators.evidence import TaskEvidence

if TYPE_CHECKING:
    from dlconv.asked.bars import Bars
    from dlconv.model import Signature
    from dlconv.samples import Sample
    from dlconv.validators.answers import Answers

NEWCOMBE: Final = "Newcombe's paired method 10"
BOOTSTRAP: Final = "paired bootstrap"
_DRAWS: Final = {"map": 200, "function": 200, "wer": 2000}
"""Of the bootstrap. A function of the user's may take long."""


class Rater(Protocol):
    """Holds labels, and says what a metric is of answers. is_lower_better: as an error rate."""

    @property
    def is_lower_better(self) -> bool: ...

    def rate(self, samples: Sequence[Sample]) -> Rated:
        """Raises SamplesError where the labels do not fit, Unknown where the answers give no figure."""
        ...


@dataclass(frozen=True)
class Task:
    """A metric with its labels."""

    metric: Metric
    rater: Rater

    def check(self, reference: Sequence[Sample]) -> int:
        """How many labels judge. Raises SamplesError where the metric is not known of the source's own answers: nothing
        could be compared."""
        return self._of_source(reference)[0].labels

    def measured(self, answers: Answers, candidate: Sequence[Sample]) -> TaskEvidence:
        """The metric of both. answers: the source's. candidate: in the source's names and axes, a set a sample.

        Raises SamplesError as `check`.
        """
        reference, source = self._of_source(answers.y32)
        nothing = TaskEvidence(str(self.metric), math.nan, source, reference.labels, self.rater.is_lower_better)
        problem = _unlike(answers.y32, candidate)
        if problem:
            return replace(nothing, problem=problem)
        real = [
            {name: answers.grids[name].real(array) if name in answers.grids and array.dtype.kind in "iu" else array
             for name, array in sample.items()}
            for sample in candidate
        ]  # fmt: skip
        try:
            rated = self.rater.rate(real)
            figure = rated.score(np.arange(rated.units))
        except Unknown as unknown:
            return replace(nothing, problem=str(unknown))
        if not math.isfinite(figure):
            return replace(nothing, problem="it is no number")
        if rated.units != reference.units:
            return replace(nothing, problem=f"{rated.units} answers for {reference.units} of the source")
        if rated.hits is not None and reference.hits is not None:
            return replace(nothing, candidate=figure, interval=newcombe(reference.hits, rated.hits), method=NEWCOMBE)
        sign = -1 if self.rater.is_lower_better else 1
        draws = _DRAWS[self.metric.kind]
        try:
            interval = bootstrapped(reference.score, rated.score, rated.units, draws, sign)
        except Unknown as unknown:
            return replace(nothing, problem=f"of a part of the samples: {unknown}")
        return replace(nothing, candidate=figure, interval=interval, method=f"{BOOTSTRAP}, {draws} draws")

    def _of_source(self, reference: Sequence[Sample]) -> tuple[Rated, float]:
        try:
            rated = self.rater.rate(reference)
            figure = rated.score(np.arange(rated.units))
        except Unknown as unknown:
            raise SamplesError(f"{self.metric} is not known of the source's own answers: {unknown}") from unknown
        if not math.isfinite(figure):
            raise SamplesError(
                f"{self.metric} of the source's own answers is {figure}", wanted="labels from which it can be computed"
            )
        return rated, figure


def open_task(text: str, labels: Path | None, signature: Signature) -> Task | None:
    """The metric that `--metric` asks for with its labels; None for "".

    Raises RequestError for what is no metric, or has no labels, and SamplesError for labels that are none of it.
    """
    if not text:
        return None
    metric = parse(text)
    if labels is None:
        raise RequestError(f"{metric} needs labels: what is right", mend="--labels FILE, beside --samples")
    outputs = [spec.name for spec in signature.outputs]
    return Task(metric, _RATERS[metric.kind](metric, labels, outputs))


def asked_of(text: str, labels: Path | None, bars: Bars, signature: Signature) -> Task | None:
    """`open_task`. RequestError where there is no bar for the metric."""
    problems = tuple(metric_problems(text, labels, bars))
    if problems:
        raise RequestError(f"the metric {text!r} cannot be judged", problems=problems, mend=EXAMPLE)
    return open_task(text, labels, signature)


def class_labels(metric: str, path: Path | None, outputs: Sequence[str]) -> Mapping[str, np.ndarray[Any, Any]] | None:
    """Right classes by output, for accuracies of outputs; None where there are no labels, or they are no classes."""
    if path is None or (metric and not parse(metric).takes_classes):
        return None
    return read_labels(path, outputs)


def _classes(metric: Metric, path: Path, outputs: Sequence[str]) -> Rater:
    labels = read_labels(path, outputs)
    wanted = metric.words.get("output", next(iter(labels)))
    if wanted not in labels or (len(labels) > 1 and "output" not in metric.words):
        raise RequestError(
            f"{metric} is of one output, and the labels are of {', '.join(labels)}",
            wanted=f"output=NAME, one of {', '.join(labels)}",
        )
    return Classes(wanted, labels[wanted], 5 if metric.kind == "top5" else 1)


def _pictures(metric: Metric, path: Path, outputs: Sequence[str]) -> Rater:
    names = {role: metric.words.get(role, role) for role in ("boxes", "scores", "classes")}
    _require_outputs(metric, tuple(names.values()), outputs)
    return Pictures(names["boxes"], names["scores"], names["classes"], metric.words.get("form", "xyxy"),
                    read_truths(path))  # fmt: skip


def _speech(metric: Metric, path: Path, outputs: Sequence[str]) -> Rater:
    lines = read_lines(path)
    if "decode" in metric.words:
        return Speech(lines, decode=named_function.load(metric.words["decode"], "--metric wer decode"))
    if "output" not in metric.words and len(outputs) != 1:
        raise RequestError(f"{metric} is of one output", wanted=f"output=NAME, one of {', '.join(outputs)}")
    name = metric.words.get("output", outputs[0])
    _require_outputs(metric, (name,), outputs)
    alphabet = read_lines(Path(metric.words["alphabet"]))
    blank = int(metric.words.get("blank", "0"))
    if blank >= len(alphabet):
        raise RequestError(f"blank is {blank}, and the alphabet has {len(alphabet)} lines", wanted="the blank's line")
    return Speech(lines, output=name, alphabet=alphabet, blank=blank)


def _function(metric: Metric, path: Path, outputs: Sequence[str]) -> Rater:
    return UserFunction.of(metric.name, named_function.load(metric.name, "--metric"), path)


_RATERS: Final[Mapping[str, Callable[[Metric, Path, Sequence[str]], Rater]]] = {
    "top1": _classes,
    "top5": _classes,
    "map": _pictures,
    "wer": _speech,
    "function": _function,
}


def _require_outputs(metric: Metric, names: Sequence[str], outputs: Sequence[str]) -> None:
    strange = [name for name in names if name not in outputs]
    if strange:
        raise RequestError(
            f"{metric} is of {', '.join(strange)}, which is no output of the model", wanted=f"of {', '.join(outputs)}"
        )


def _unlike(reference: Sequence[Sample], candidate: Sequence[Sample]) -> str:
    """What of the candidate's answers has not the form of the source's, or is NaN where that is not; "" for nothing."""
    if len(candidate) != len(reference):
        return f"{len(candidate)} of {len(reference)} samples were answered"
    for index, (sure, got) in enumerate(zip(reference, candidate, strict=True)):
        for name, array in sure.items():
            other = got.get(name)
            if other is None:
                return f"sample {index} has no '{name}'"
            if np.ndim(other) != np.ndim(array):
                return f"'{name}' of sample {index} has {np.ndim(other)} axes, and {np.ndim(array)} in the source"
            if _has_nan(other) and not _has_nan(array):
                return f"'{name}' of sample {index} is NaN"
    return ""


def _has_nan(array: Any) -> bool:
    known = np.asarray(array)
    return known.dtype.kind == "f" and bool(np.isnan(known).any())
