"""`dlconv bench`: how fast, and how much faster or slower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.asked import providers
from dlconv.asked.inputs import parse_inputs
from dlconv.asked.options import SourceOptions
from dlconv.asked.sizes import parse_size
from dlconv.cli.arguments import latency_options
from dlconv.cli.reporting import Reporting, command_line, reported
from dlconv.errors import MachineError, RequestError, StepError, WorkerOutOfMemory, WorkerTimedOut

if TYPE_CHECKING:
    from dlconv.asked.bars import LatencyBars
    from dlconv.latency.benching import Measurement
    from dlconv.latency.sides import Side
    from dlconv.validators.verdict import Check, Verdict

_CODES = {"PASS": 0, "FAIL": 1}
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=_PATH, metavar="ARTIFACT...")
@click.option("--against", type=_PATH, metavar="ARTIFACT", help="The baseline; without, the first ARTIFACT.")
@click.option("--samples", type=_PATH, metavar="FILE.npz|DIR", help="Inputs; else a bundle's own, or drawn ones.")
@click.option("--input", "inputs", multiple=True, metavar="NAME:SHAPE[:DTYPE]", help="Sizes of a model file's inputs.")
@click.option(
    "--provider", type=click.Choice(providers.NAMES), help="ONNX Runtime's, for each ARTIFACT but not for --against."
)
@click.option(
    "--option",
    "runtime_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the runtime, for each ARTIFACT but not for --against: xnnpack=off. May be repeated.",
)
@click.option("--threads", type=int, default=0, metavar="N", help="Of each runtime. Default: one a physical core.")
@click.option("--cpus", metavar="N[,N...]", default="", help="CPUs to pin the processes to. Default: none.")
@latency_options
@click.option("--seed", type=int, default=0, show_default=True, help="Of drawn inputs and of the order of blocks.")
@click.option("--memory-limit", metavar="SIZE", help="Of each process: 8G. Default: nine tenths of what is here.")
@click.option("--timeout", "timeout_s", type=float, default=1800.0, show_default=True, help="Of each call, in seconds.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it as a page, with its plots.",
)
@reported
def bench(
    reporting: Reporting,
    artifacts: tuple[Path, ...],
    against: Path | None,
    samples: Path | None,
    inputs: tuple[str, ...],
    provider: str | None,
    runtime_options: tuple[str, ...],
    threads: int,
    cpus: str,
    time_s: float,
    seed: int,
    memory_limit: str | None,
    timeout_s: float,
    html: Path | None,
    **bars: float | None,
) -> int:
    """Time each ARTIFACT on this machine, side by side with a baseline.

    ARTIFACT is a bundle that `dlconv export` left, or a model file: ONNX, OpenVINO IR, TFLite, TorchScript, .pt2. Each
    runs in processes of its own, in random order, never two at a time. A ratio comes with the interval that holds it.

    Exit code 0 if it was measured and every bar holds, 1 if a bar does not, or an artifact does not run or answers
    wrongly, 3 if a bar could not be judged or a runtime is missing.
    """
    from dlconv.asked.bars import Bars, LatencyBars
    from dlconv.latency.benching import BenchSettings, measure
    from dlconv.records.outcome import Report
    from dlconv.reports import as_json, console, latency
    from dlconv.validators.latency import percentile_wanted
    from dlconv.validators.verdict import joined

    if html is not None:
        from dlconv.reports.html import needs

        needs.check()
    asked = Bars(latency=LatencyBars(**bars)).latency
    tensors, constants = parse_inputs(inputs)
    memory_limit_bytes = None if memory_limit is None else parse_size(memory_limit)
    settings = BenchSettings(
        time_s,
        threads=threads,
        cpus=_numbers(cpus),
        seed=seed,
        percentile=percentile_wanted(asked),
        timeout_s=timeout_s,
        memory_limit_bytes=memory_limit_bytes,
    )
    paths = artifacts if against is None else (against, *artifacts)
    if asked.max_ratio is not None and len(paths) < 2:
        raise RequestError("--max-ratio compares, and there is one artifact", mend="--against ARTIFACT")
    try:
        sides = _opened(
            paths,
            [""] * (len(paths) - len(artifacts)) + [provider or ""] * len(artifacts),
            SourceOptions(tensors, constants, samples, seed=seed),
            settings,
        )
        first = len(paths) - len(artifacts)
        asked_of = [side.with_options(runtime_options, settings.threads_used) for side in sides[first:]]
        sides = [*sides[:first], *asked_of]
        with console.progress(reporting.verbosity) as listener:
            measured = measure(sides, settings, listener)
    except StepError as error:
        return _told(error, reporting, html)
    checks = _checks(sides, measured, asked)
    verdict = joined(checks) if checks else None
    for line in latency.lines(measured.evidence, checks, reporting.width):
        reporting.say(line, level=-1)
    code = _code(verdict, measured)
    reporting.answer(
        {
            "exit_code": code,
            "verdict": None if verdict is None else verdict.to_dict(),
            "checks": [check.to_dict() for check in checks],
            "evidence": measured.evidence.to_dict(),
        }
    )
    if html is not None:
        from dlconv.records.recorded import Timing
        from dlconv.reports.html import page

        timing = Timing(", ".join(side.name for side in sides), measured.evidence, checks)
        as_json.write(html, page.document(Report(()), [timing], command=command_line()))
    return code


def _opened(paths: tuple[Path, ...], by: list[str], options: SourceOptions, settings: Any) -> list[Side]:
    from dlconv.latency.sides import open_side
    from dlconv.making.cache import Cache
    from dlconv.workers.crew import Crew, logs_folder

    names = [path.name or str(path) for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    limits = {"memory_limit_bytes": settings.memory_limit_bytes, "timeout_s": settings.timeout_s}
    with Crew(logs_folder(), slots=1, **limits) as crew:
        cache, each = Cache(), zip(paths, names, by, strict=True)
        return [open_side(path, name, options, crew, cache, provider) for path, name, provider in each]


def _checks(sides: list[Side], measured: Measurement, asked: LatencyBars) -> tuple[Check, ...]:
    """Latency by the bars, and the parity of what the timed runs answered, for the sides that know a reference."""
    from dlconv.latency.sides import judge_answers
    from dlconv.validators.latency import judge

    answered = [
        replace(check, subject=f"{side.name}, {check.subject}".removesuffix(", "))
        for side in sides
        for check in judge_answers(side, measured.answers[side.name])
    ]
    return (*judge(measured.evidence, asked), *answered)


def _code(verdict: Verdict | None, measured: Measurement) -> int:
    if measured.evidence.problems:
        return 1
    return 0 if verdict is None else _CODES.get(verdict.word, MachineError.exit_code)


def _told(error: StepError, reporting: Reporting, html: Path | None) -> int:
    """An artifact that does not run is judged and failed; what passed a limit was not judged."""
    from dlconv.cli import faults

    faults.show(error)
    code = MachineError.exit_code if isinstance(error, (WorkerOutOfMemory, WorkerTimedOut)) else 1
    reporting.answer({"exit_code": code, "error": error.to_dict()})
    if html is not None:
        from dlconv.records.outcome import Outcome, Report
        from dlconv.reports import as_json
        from dlconv.reports.html import page

        outcome = Outcome("dlconv bench", "-", "-", "-", error=error, again=command_line())
        as_json.write(html, page.document(Report((outcome,)), command=command_line()))
    return code


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise RequestError(f"--cpus {text!r} is no list of CPUs", wanted="numbers joined by commas: 0,1") from error
