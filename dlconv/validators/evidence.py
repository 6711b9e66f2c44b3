"""Evidence: what was measured of a candidate. Numbers, saved in the receipt; whoever has them can judge them anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from dlconv.validators.spread import Spread

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Worst:
    """The element with the largest error: its sample, its index, and both values."""

    sample: int
    index: tuple[int, ...]
    reference: float
    candidate: float

    def to_dict(self) -> dict[str, Any]:
        return {key: json_number(value) for key, value in vars(self).items()} | {"index": list(self.index)}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Worst:
        return Worst(int(data["sample"]), tuple(data["index"]), float(data["reference"]), float(data["candidate"]))


@dataclass(frozen=True)
class Accuracy:
    """Right answers on labels: the candidate's and the reference's, of `count`, over the same samples."""

    candidate: int
    reference: int
    count: int


@dataclass(frozen=True)
class TaskEvidence:
    """What a task metric is of the candidate and of the source's float32 answers, on the same labelled samples.

    labels: how many things the metric counts: rows of scores, boxes, words. is_lower_better: as an error rate.
    interval: of the drop, with 95%, by `method`. problem: why the metric is not known of the candidate; then it is NaN.
    """

    metric: str
    candidate: float
    reference: float
    labels: int
    is_lower_better: bool = False
    interval: tuple[float, float] = (math.nan, math.nan)
    method: str = ""
    problem: str = ""

    @property
    def drop(self) -> float:
        """By how much the candidate is worse; negative where it is better."""
        return (self.candidate - self.reference) * (1 if self.is_lower_better else -1)

    def to_dict(self) -> dict[str, Any]:
        told = {key: json_number(value) for key, value in vars(self).items()}
        return {**told, "interval": [json_number(end) for end in self.interval]}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> TaskEvidence:
        known: dict[str, Any] = {spec.name: data[spec.name] for spec in fields(TaskEvidence)}
        known |= {key: float(known[key]) for key in ("candidate", "reference")}
        low, high = known["interval"]
        known["interval"] = (float(low), float(high))
        return TaskEvidence(**known)


@dataclass(frozen=True)
class OutputEvidence:
    """What was measured of one output. Errors are relative to scale; a figure is None where it is undefined.

    kind is "float", "half" (a float whose floor is the noise of the source's own float16 or bfloat16), "exact", or
    "quantised": of integers that stand for numbers, or a float that the model quantises.
    mismatches counts unequal elements of an exact output, undetermined those of them
    where the reference's own float32 and float64 answers differ. varies: the reference's answers are not the same
    for all samples. nans: elements of the reference that are NaN. problems are faults of form (name, shape, dtype,
    NaN), a line each. max_ulp: largest distance in float32's units in the last place. top1: share of rows of class
    scores whose best class is the reference's; top5: whose best five hold the reference's best. repeat: the largest
    distance between two runs of the candidate on the same sample. spread: of the errors of all elements, relative to
    scale.
    """

    name: str
    dtype: str
    kind: str
    elements: int
    scale: float
    floor: float
    error: float
    rms_error: float | None = None
    sqnr_db: float | None = None
    cosine: float | None = None
    max_ulp: float | None = None
    top1: float | None = None
    top5: float | None = None
    accuracy: Accuracy | None = None
    repeat: float | None = None
    mismatches: int = 0
    undetermined: int = 0
    nans: int = 0
    varies: bool = True
    worst: Worst | None = None
    problems: tuple[str, ...] = ()
    spread: Spread | None = None

    def to_dict(self) -> dict[str, Any]:
        data = {key: json_number(value) for key, value in vars(self).items()}
        data["problems"] = list(self.problems)
        data["worst"] = None if self.worst is None else self.worst.to_dict()
        data["accuracy"] = None if self.accuracy is None else dict(vars(self.accuracy))
        data["spread"] = None if self.spread is None else self.spread.to_dict()
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> OutputEvidence:
        """What `to_dict` wrote; figures that an older release did not measure are None. KeyError, ValueError and
        TypeError for what is no evidence."""
        known = {spec.name for spec in fields(OutputEvidence)}
        told: dict[str, Any] = {
            key: _number(value) if isinstance(value, str) else value for key, value in data.items() if key in known
        }
        told |= {key: str(data[key]) for key in ("name", "dtype", "kind")}
        told["error"] = float(data["error"])
        told["problems"] = tuple(data["problems"])
        told["worst"] = None if data["worst"] is None else Worst.from_dict(data["worst"])
        told["accuracy"] = None if data.get("accuracy") is None else Accuracy(**data["accuracy"])
        told["spread"] = None if data.get("spread") is None else Spread.from_dict(data["spread"])
        return OutputEvidence(**told)


@dataclass(frozen=True)
class Evidence:
    """All that was measured of a candidate: its outputs, and the problems of the set as a whole.

    factor: the runtime's bar in units of the noise floor. controls maps the name of each planted fault to whether the
    judge found it. doubts: what stands in the way of a PASS, however small the errors are. precision: what was asked
    for; account: below fp32, what of the artifact is in which precision (`attesting`). runtime: what ran it, "" where
    that is not known. task: of a task metric, None where none was asked for.
    """

    outputs: tuple[OutputEvidence, ...]
    samples: int
    factor: float
    problems: tuple[str, ...] = ()
    controls: Mapping[str, bool] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    precision: str = "fp32"
    account: Mapping[str, Any] | None = None
    runtime: str = ""
    task: TaskEvidence | None = None

    def to_dict(self) -> dict[str, Any]:
        below = {} if self.precision == "fp32" else {"precision": self.precision, "account": self.account}
        return {
            **({"runtime": self.runtime} if self.runtime else {}),
            **below,
            **({} if self.task is None else {"task": self.task.to_dict()}),
            "samples": self.samples,
            "factor": json_number(self.factor),
            "outputs": [output.to_dict() for output in self.outputs],
            "problems": list(self.problems),
            "controls": dict(self.controls),
            "doubts": list(self.doubts),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Evidence:
        return Evidence(
            tuple(OutputEvidence.from_dict(output) for output in data["outputs"]),
            int(data["samples"]),
            float(data["factor"]),
            tuple(data["problems"]),
            dict(data["controls"]),
            tuple(data.get("doubts", ())),
            str(data.get("precision", "fp32")),
            data.get("account"),
            str(data.get("runtime", "")),
            None if data.get("task") is None else TaskEvidence.from_dict(data["task"]),
        )


def json_number(value: Any) -> Any:
    """JSON has no NaN or infinity: their names stand for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _number(value: str) -> float | str:
    return float(value) if value in ("nan", "inf", "-inf") else value
