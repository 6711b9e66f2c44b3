"""A task metric as it is asked for: `--metric`, and what its words say of the model's outputs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dlconv.errors import RequestError

EXAMPLE: Final = "--metric top1, --metric 'map boxes=B scores=S classes=C', --metric MODULE:FUNCTION"
FORMS: Final = ("xyxy", "yxyx", "xywh")
"""How four numbers are a box: two corners, x or y first; or a corner and its size."""

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "top1": ("output",),
    "top5": ("output",),
    "map": ("boxes", "scores", "classes", "form"),
    "wer": ("output", "alphabet", "blank", "decode"),
}


@dataclass(frozen=True)
class Metric:
    """kind: "top1", "top5", "map", "wer", or "function" with its name MODULE:FUNCTION. words: what was said besides."""

    kind: str
    name: str = ""
    words: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name or shlex.join((self.kind, *(f"{key}={value}" for key, value in self.words.items())))

    @property
    def is_code(self) -> bool:
        """Whether it runs a function that the user names."""
        return self.kind == "function" or "decode" in self.words

    @property
    def takes_classes(self) -> bool:
        """Its labels are classes by output, an .npz of integers."""
        return self.kind in ("top1", "top5")


def parse(text: str) -> Metric:
    """The metric that the text says: NAME and KEY=VALUE words after it, or MODULE:FUNCTION. RequestError for others."""
    try:
        first, *further = shlex.split(text)
    except ValueError as error:  # no word, or an open quotation
        raise RequestError(f"the metric {text!r} says nothing: {error}", wanted=EXAMPLE) from error
    if first not in _WORDS:
        module, colon, function = first.partition(":")
        if further or not (colon and module and function):
            raise RequestError(
                f"there is no metric {first!r}", wanted=f"{', '.join(_WORDS)}, or MODULE:FUNCTION", mend=EXAMPLE
            )
        return Metric("function", first)
    words: dict[str, str] = {}
    for word in further:
        key, _, value = word.partition("=")
        words[key] = value
    metric = Metric(first, words=words)
    problems = tuple(_problems(metric))
    if problems:
        raise RequestError(f"the metric {text!r} cannot be served", problems=problems, mend=EXAMPLE)
    return metric


def _problems(metric: Metric) -> list[str]:
    known, words = _WORDS[metric.kind], metric.words
    found = [f"{key!r} is no word of {metric.kind}: there are {', '.join(known)}" for key in words if key not in known]
    found += [f"{key} is not said" for key, value in words.items() if not value]
    if metric.kind == "map" and words.get("form", "xyxy") not in FORMS:
        found.append(f"form is {words['form']!r}: there are {', '.join(FORMS)}")
    if metric.kind == "wer":
        if ("alphabet" in words) == ("decode" in words):
            found.append("how outputs become text is said by one of alphabet=FILE and decode=MODULE:FUNCTION")
        if not words.get("blank", "0").isdecimal():
            found.append(f"blank is {words['blank']!r}: it is the number of a class")
        found += ["decode=MODULE:FUNCTION names no function"] if ":" not in words.get("decode", ":") else []
    return found
