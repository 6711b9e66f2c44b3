"""From evidence and bars to checks, and so to a verdict. Pure: nothing is run, and old evidence can be judged anew.

Every comparison is written so that a NaN fails it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dlconv import plugins
from dlconv.asked.bars import EVERY, Bars
from dlconv.validators import drops
from dlconv.validators.attesting import attested
from dlconv.validators.evidence import json_number
from dlconv.validators.quantised import QUANTISED_FACTOR, WIDEST_QUANTISED_BAR
from dlconv.validators.verdict import Check, Verdict, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dlconv.asked.bars import OutputBars
    from dlconv.validators.evidence import Evidence, OutputEvidence

RESOLUTION: Final = 2.0**-23
"""The floor is never taken as less than float32's machine epsilon: an exact y32 does not ask for an exact y."""

WIDEST_BAR: Final = 1e-2
"""A bar of the model's own that is wider judges nothing: its float32 answers are too far from its float64 ones."""

HALF_FACTOR: Final = 3.0
"""Bar of an output whose noise is that of the source's own float16 or bfloat16, in units of it, in every runtime. See
"Models in float16" in docs/parity.md."""

WIDEST_REDUCED_BAR: Final = 0.3
"""The same below fp32, where the floor is the precision's own noise: three times the widest that is built for."""

_NOISE: Final = {
    "float": "the model's own float32 noise is",
    "half": "the noise of the model's own float16 or bfloat16 is",
    "quantised": "a step of its quantisation moves its answers by",
}

CONFIDENCE_Z: Final = 1.959963984540054
"""The standard normal's 97.5th percentile: intervals of accuracy hold with 95%."""


def judge(evidence: Evidence, bars: Bars | None = None) -> Verdict:
    """PASS only if something was judged, on samples that could have shown a fault, and nothing was found."""
    return joined(checks(evidence, bars))


def checks(evidence: Evidence, bars: Bars | None = None) -> tuple[Check, ...]:
    """Every question that the evidence answers, judged: "answers", "parity" of each output, "determinism", "metric",
    "controls".

    bars: what the user asks for; without, each output's own bar, a factor of its noise floor.
    """
    asked = bars or Bars()
    if not evidence.outputs or evidence.samples < 1:
        reasons = (*evidence.problems, "nothing was judged: there are no outputs or no samples")
        return (Check("answers", Verdict("FAIL" if evidence.problems else "INCONCLUSIVE", reasons)),)
    found = [
        Check("answers", _verdict(evidence.problems, evidence.doubts), figures={"samples": evidence.samples}),
        *(_parity(output, evidence, asked) for output in evidence.outputs),
    ]
    strangers = [name for name in asked.outputs if name != "*" and name not in {o.name for o in evidence.outputs}]
    if strangers:
        met = f"there is a bar for {', '.join(strangers)}, which is no output of the model: nothing was judged by it"
        found.append(Check("bars", Verdict("INCONCLUSIVE", (met,))))
    if any(output.repeat is not None for output in evidence.outputs):
        found.append(_determinism(evidence))
    if evidence.precision != "fp32":
        found.append(attested(evidence.precision, evidence.account, evidence.runtime))
    drop = asked.of(EVERY).max_drop
    if evidence.task is not None and drop is not None:
        found.append(drops.judged(evidence.task, drop))
    if evidence.controls:
        found.append(_controls(evidence))
    return (*found, *_of_plugins(evidence, asked))


def _of_plugins(evidence: Evidence, asked: Bars) -> Iterator[Check]:
    """What plugins ask besides. One that raises has judged nothing, and that is no pass."""
    for name, validator in plugins.validators().items():
        try:
            told = tuple(validator(evidence, asked))
        except Exception as error:  # a foreign function: whatever it raises
            told = (_unjudged(name, f"raised {type(error).__name__}: {error}"),)
        yield from (
            each if isinstance(each, Check) else _unjudged(name, f"answered a {type(each).__name__}, wanted a Check")
            for each in told
        )


def _unjudged(validator: str, met: str) -> Check:
    return Check(validator, Verdict("INCONCLUSIVE", (f"the validator {validator} {met}",)))


def bar_of(output: OutputEvidence, runtime_factor: float, bars: Bars | None = None) -> float:
    """The largest error that passes: the one asked for, else the model's own; of an exact output none.

    runtime_factor: the runtime's own bar in units of the noise floor, for want of one that was asked for.
    """
    asked = bars or Bars()
    own = asked.of(output.name)
    if own.max_error is not None:
        return own.max_error
    if output.kind == "exact":  # below fp32 the floor is the share of elements that the precision itself turns
        return (runtime_factor if asked.factor is None else asked.factor) * output.floor
    usual = {"quantised": QUANTISED_FACTOR, "half": HALF_FACTOR}.get(output.kind, runtime_factor)
    return (usual if asked.factor is None else asked.factor) * max(output.floor, RESOLUTION)


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95% interval of a share, by Wilson's score (JASA 22, 1927): sound for few samples and shares near 1."""
    z, share = CONFIDENCE_Z, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def _verdict(failures: Sequence[str], doubts: Sequence[str]) -> Verdict:
    if failures:
        return Verdict("FAIL", tuple(failures))
    return Verdict("INCONCLUSIVE", tuple(doubts)) if doubts else Verdict("PASS")


def _parity(output: OutputEvidence, evidence: Evidence, asked: Bars) -> Check:
    own, bar = asked.of(output.name), bar_of(output, evidence.factor, asked)
    failures = [f"{output.name}: {problem}" for problem in output.problems]
    doubts: list[str] = []
    if output.kind != "exact":
        is_float32 = evidence.precision == "fp32" and output.kind != "half"
        widest = WIDEST_BAR if is_float32 else WIDEST_REDUCED_BAR
        _judge_float(output, bar, own, widest, failures, doubts)
    else:
        _judge_exact(output, bar, own, failures, doubts)
    # Where a task metric was measured, the drop that is allowed is its own.
    failures += _further(output, own if evidence.task is None else replace(own, max_drop=None))
    if evidence.samples == 1:
        doubts.append(
            f"{output.name}: one sample alone cannot show an artifact that always answers the same; "
            "give two or more, by --samples or --draws"
        )
    elif not output.varies:
        doubts.append(
            f"{output.name}: the source answers the same for every sample, which would hide most faults; "
            "give --samples that exercise it"
        )
    if not (output.elements > 0):
        doubts.append(f"{output.name}: the source answers no element in any sample; give --samples that exercise it")
    if output.nans:
        doubts.append(
            f"{output.name}: the source itself answers NaN in {output.nans} of {output.elements} elements, which hides "
            "what the artifact would answer; give --samples that it answers"
        )
    figures = {**output.to_dict(), "bar": json_number(bar)}
    if output.accuracy is not None:
        score = output.accuracy
        figures["accuracy_interval"] = list(wilson(score.candidate, score.count))
        figures["reference_accuracy_interval"] = list(wilson(score.reference, score.count))
    return Check("parity", _verdict(failures, doubts), output.name, figures)


def _judge_float(
    output: OutputEvidence, bar: float, own: OutputBars, widest: float, failures: list[str], doubts: list[str]
) -> None:
    if own.max_error is None and not (bar <= (WIDEST_QUANTISED_BAR if output.kind == "quantised" else widest)):
        noise = f"{_NOISE[output.kind]} {output.floor:.1e} of the output's scale"
        mend = "give --samples that it answers with more than its noise, or a bar of your own: --max-error"
        doubts.append(f"{output.name}: {noise}; a bar of {bar:.1e} would judge nothing; {mend}")
        return
    if not (output.error <= bar) and not output.problems:
        needed = f"a factor of {output.error / max(output.floor, RESOLUTION):.3g} would have been needed"
        if own.max_error is not None:
            needed = f"a bar of {output.error:.3g} would have been needed"
        failures.append(
            f"{output.name}: error {output.error:.2e} of the scale, bar {bar:.2e} ({needed}){_worst(output)}"
        )


def _worst(output: OutputEvidence) -> str:
    worst = output.worst
    if worst is None:
        return ""
    at = ", ".join(map(str, worst.index))
    return f"; worst at [{at}] of sample {worst.sample}: {worst.candidate:.7g} for {worst.reference:.7g}"


def _judge_exact(output: OutputEvidence, bar: float, own: OutputBars, failures: list[str], doubts: list[str]) -> None:
    if (own.max_error is not None or bar > 0) and not output.problems:  # then a share of the elements may differ
        share = output.mismatches / max(output.elements, 1)
        if not (share <= bar):
            failures.append(
                f"{output.name}: {output.mismatches} of {output.elements} elements differ, bar {bar:.3g} "
                f"(a bar of {share:.3g} would have been needed){_worst(output)}"
            )
        return
    certain = output.mismatches - output.undetermined
    if not (certain <= 0):
        failures.append(
            f"{output.name}: {certain} of {output.elements} elements differ; they have to be exact{_worst(output)}"
        )
    elif output.undetermined:
        doubts.append(
            f"{output.name}: {output.undetermined} elements differ where the source itself is not sure of them"
        )


def _further(output: OutputEvidence, own: OutputBars) -> list[str]:
    """Failures by the bars that are asked for besides; one whose figure does not exist fails."""
    told = [
        ("cosine", output.cosine, own.min_cosine, False),
        # An output without any error has no noise to relate the signal to: then it is as good as can be.
        ("SQNR in dB", math.inf if output.error == 0 else output.sqnr_db, own.min_sqnr_db, False),
        ("distance in ulp", output.max_ulp, own.max_ulp, True),
        ("agreement of the best class", output.top1, own.min_top1, False),
        ("agreement of the best five classes", output.top5, own.min_top5, False),
    ]
    score = output.accuracy
    drop = None if score is None else (score.reference - score.candidate) / score.count
    told.append(("drop of accuracy", drop, own.max_drop, True))
    failures = []
    for what, figure, bar, is_upper in told:
        if bar is None:
            continue
        if figure is None:
            failures.append(f"{output.name}: there is a bar for the {what}, and no such figure of this output")
        elif not (figure <= bar if is_upper else figure >= bar):
            failures.append(f"{output.name}: {what} {figure:.6g}, bar {bar:.6g}")
    return failures


def _determinism(evidence: Evidence) -> Check:
    """Two runs of one artifact on one sample may differ by as much as the model's own noise, and no more."""
    measured = [output for output in evidence.outputs if output.repeat is not None]
    failures = [
        f"{output.name}: two runs on the same sample differ by {output.repeat:.2e} of the scale; "
        f"the model's own noise is {max(output.floor, RESOLUTION):.2e}"
        for output in measured
        if output.repeat is not None and not (output.repeat <= _may_differ(output))
    ]
    return Check(
        "determinism",
        _verdict(failures, ()),
        figures={output.name: json_number(output.repeat) for output in measured},
    )


def _may_differ(output: OutputEvidence) -> float:
    return max(output.floor, RESOLUTION) if output.kind in ("float", "half") else 0.0


def _controls(evidence: Evidence) -> Check:
    missed = [name for name, found in evidence.controls.items() if not found]
    told = f"these samples could not show a planted fault: {', '.join(missed)}; give --samples that exercise the model"
    doubts = [told] if missed else []
    return Check("controls", _verdict((), doubts), figures=dict(evidence.controls))
