"""A model card: Markdown with the metadata header that model hubs read. It says what was recorded, and no more.

The header's keys are those of Hugging Face's model cards (`library_name`, `tags`); its values are JSON, which YAML
takes as it is. What dlconv cannot know (licence, language, what the model is for) is left to whoever publishes it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dlconv import __version__
from dlconv.reports.findings import checks_of, error_lines
from dlconv.reports.markdown import fenced, table, text
from dlconv.reports.table import one_line, size
from dlconv.reports.verdicts import worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dlconv.records.outcome import Outcome, Report

LIBRARIES = {
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "tflite": "tflite",
    "saved-model": "tf-keras",
}
"""What hubs call the library that loads a target's files; others are called as the target is."""


def document(report: Report, command: str = "") -> str:
    """The card of all outcomes. command: what made them, told where no receipt says."""
    outcomes = report.outcomes
    models = tuple(dict.fromkeys(outcome.model for outcome in outcomes))
    passed = sum(outcome.word == "PASS" for outcome in outcomes)
    summary = f"Converted and judged by dlconv {__version__}: {passed} of {len(outcomes)} artifacts passed."
    lines = [*_header(outcomes), f"# {text(', '.join(models)) or 'dlconv'}", "", summary, ""]
    lines += [*_verdicts(outcomes), *_tensors(outcomes), *_evaluation(outcomes), *_limits(outcomes)]
    return "\n".join([*lines, *_again(outcomes, command)]).rstrip()


def _header(outcomes: Sequence[Outcome]) -> Iterator[str]:
    passed = [outcome for outcome in outcomes if outcome.word == "PASS"]
    libraries = {LIBRARIES.get(outcome.target, outcome.target) for outcome in passed}
    tags = dict.fromkeys(
        ["dlconv", *(outcome.target for outcome in passed), *(outcome.precision for outcome in passed)]
    )
    yield "---"
    if len(libraries) == 1:
        yield f"library_name: {json.dumps(libraries.pop())}"
    yield f"tags: {json.dumps([one_line(tag) for tag in tags])}"
    yield "---"
    yield ""


def _verdicts(outcomes: Sequence[Outcome]) -> Iterator[str]:
    rows = []
    for outcome in outcomes:
        error, bar = worst([dict(check.figures) for check in outcome.checks if check.name == "parity"])
        bytes_ = (outcome.body.get("artifact") or {}).get("size_bytes")
        told = "-" if bytes_ is None else size(bytes_)
        rows.append((outcome.target, outcome.precision, outcome.word, error, bar, told, _runtime(outcome)))
    if rows:
        yield from ("## Artifacts", "")
        heads = ("target", "precision", "verdict", "error", "bar", "size", "judged in")
        yield from table(heads, [tuple(map(text, row)) for row in rows])
        yield ""


def _runtime(outcome: Outcome) -> str:
    evidence = outcome.body.get("evidence") or {}
    placement = evidence.get("placement") or {}
    told = (evidence.get("runtime"), placement.get("version"), placement.get("device"), placement.get("precision"))
    return " ".join(str(each) for each in told if each) or "-"


def _tensors(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Inputs and outputs of what passed; those that several artifacts share are told once."""
    told: dict[tuple[tuple[str, str, str, str, str], ...], list[str]] = {}
    for outcome in outcomes:
        artifact = outcome.body.get("artifact") or {}
        rows = tuple(
            (kind, text(spec["name"]), text(spec["dtype"]), text(_shape(spec["shape"])), text(spec.get("layout", "-")))
            for kind in ("input", "output")
            for spec in artifact.get(f"{kind}s", ())
        )
        if outcome.word == "PASS" and rows:
            told.setdefault(rows, []).append(f"{outcome.target} {outcome.precision}")
    if told:
        yield from ("## Inputs and outputs", "")
    for rows, names in told.items():
        yield from (f"{text(', '.join(names))}:", "")
        yield from table(("", "name", "dtype", "shape", "layout"), rows)
        yield ""


def _shape(shape: Any) -> str:
    return "unknown" if shape is None else f"[{', '.join(map(str, shape))}]"


def _evaluation(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Against what each was judged, and how far each output lies from it."""
    rows = []
    for outcome in outcomes:
        for check in checks_of(outcome):
            if check.name == "parity":
                figures = check.figures
                score = figures.get("accuracy")
                right = f"{score['candidate']} of {score['count']}" if isinstance(score, dict) else "-"
                numbers = (_figure(figures.get(key)) for key in ("error", "bar", "floor", "sqnr_db", "top1"))
                rows.append((outcome.target, check.subject, check.verdict.word, *numbers, right))
    references = dict.fromkeys(
        f"{told['runtime']} in {told['precision']}, {told['samples']['count']} samples ({told['samples']['origin']})"
        for outcome in outcomes
        if (told := outcome.body.get("reference"))
    )
    if not rows:
        return
    yield from ("## Evaluation", "")
    if references:
        yield from (f"Judged against the source's own answers: {text('; '.join(references))}.", "")
    yield from ("Errors are the largest of any element, relative to the output's largest magnitude.", "")
    heads = ("target", "output", "verdict", "error", "bar", "noise floor", "SQNR in dB", "top-1", "right on labels")
    yield from table(heads, [tuple(map(text, row)) for row in rows])
    yield ""


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _limits(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What did not pass and why, and what an artifact does not do that the source does."""
    lines = []
    for outcome in outcomes:
        is_error = outcome.verdict is None and outcome.error is not None
        reasons = error_lines(outcome.error) if is_error and outcome.error is not None else outcome.reasons
        if outcome.word != "PASS":
            lines += [f"- {text(outcome.name)} is {outcome.word}: {text('; '.join(reasons) or 'no reason is told')}"]
        lines += [f"- {text(outcome.name)}: {text(note)}" for note in outcome.notes]
    if lines:
        yield from ("## Limits", "", *lines, "")


def _again(outcomes: Sequence[Outcome], command: str) -> Iterator[str]:
    """Where it comes from, and the commands that make and judge it again."""
    yield from ("## Provenance", "")
    for outcome in outcomes:
        source = outcome.body.get("source") or {}
        if source:
            when = f", made {outcome.body['created']}" if "created" in outcome.body else ""
            told = f"{outcome.name}: from {source['name']} ({source['format']}, {source['digest']}){when}"
            yield f"- {text(told)}"
    yield ""
    made = [outcome.body["command"] for outcome in outcomes if outcome.body.get("command")]
    commands: list[str] = [*made, *([command] if command and not made else []), *(each.again for each in outcomes)]
    for each in dict.fromkeys(commands):
        if each:
            yield from (*fenced(each), "")
