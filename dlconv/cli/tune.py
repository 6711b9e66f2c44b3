"""`dlconv tune`: which target, precision and number of threads is best here."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dlconv.asked.bars import Bars
from dlconv.asked.inputs import parse_inputs
from dlconv.asked.options import ExportOptions, parse_targets
from dlconv.asked.precisions import PRECISIONS, Precision
from dlconv.asked.sizes import parse_size
from dlconv.cli.arguments import MODEL, bars_of, labels_options, names_in, share_of, source_wishes
from dlconv.cli.precision_options import calibration_options
from dlconv.cli.reporting import Reporting, command_line, reported
from dlconv.errors import RequestError

if TYPE_CHECKING:
    from dlconv.tuning.tuned import Tuned

_PATH = click.Path(path_type=Path)
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
_INTERRUPTED = 130


@click.command()
@MODEL
@source_wishes
@click.option(
    "--precision",
    "precisions",
    default="",
    metavar="NAME[,...]",
    help=f"Of {', '.join(PRECISIONS)}; fp32 is always made. Default: fp16, int8-weights, int8.",
)
@click.option("--threads", default="", metavar="N[,N...]", help="Of a runtime. Default: 1, and one a physical core.")
@click.option("--budget", default="10m", show_default=True, metavar="TIME", help="For all: 90s, 10m, 1h.")
@click.option(
    "--min-speedup", type=float, metavar="X", help="Times as fast as float32 of the same target that a winner is."
)
@click.option("--max-drop", metavar="P%", help="Of accuracy on the labels, or of --metric, at most: 0.5% or 0.005.")
@labels_options
@calibration_options
@click.option(
    "--max-error",
    "max_errors",
    multiple=True,
    metavar="[OUTPUT=]X",
    help="The bar of parity of an output, or of all, in place of the model's own. May be repeated.",
)
@click.option(
    "--option",
    "runtime_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of a runtime, to be tried besides its defaults, in place of the usual ones; none for none. May be repeated.",
)
@click.option("--time", "time_s", type=float, default=15.0, show_default=True, help="Seconds to time a group for.")
@click.option("-o", "--output", "output_dir", type=_PATH, metavar="DIR", help="Keep the bundles there.")
@click.option("--name", metavar="NAME", help="The bundles' name; without, the file's.")
@click.option("--draws", type=int, default=8, show_default=True, help="Random samples, where none are given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random samples and the order of blocks.")
@click.option("--cache/--no-cache", "use_cache", default=True, help="Use earlier steps, or do every step anew.")
@click.option("--anew", "is_anew", is_flag=True, help="Measure all now, also what an earlier run measured here.")
@click.option("--install", is_flag=True, help="Install the toolchains that are missing.")
@click.option("--memory-limit", metavar="SIZE", help="Of each worker: 8G. Default: nine tenths of what is here.")
@click.option("--timeout", "timeout_s", type=float, default=1800.0, show_default=True, help="Of each step, in seconds.")
@click.option("--jobs", type=int, metavar="N", help="Workers side by side; without, as many as fit.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as a page.")
@reported
def tune(
    reporting: Reporting,
    model: Path,
    targets: str,
    inputs: tuple[str, ...],
    outputs: str,
    layout: Literal["nchw", "nhwc"] | None,
    provider: str | None,
    precisions: str,
    threads: str,
    budget: str,
    min_speedup: float | None,
    max_drop: str | None,
    metric: str,
    calibration: str,
    preprocess: str,
    allow_random_calibration: bool,
    max_errors: tuple[str, ...],
    runtime_options: tuple[str, ...],
    time_s: float,
    is_anew: bool,
    output_dir: Path | None,
    memory_limit: str | None,
    html: Path | None,
    **further: Any,
) -> int:
    """Find the best artifact of MODEL: target, precision and number of threads.

    Each is made and proved as `dlconv export` does it, timed as `dlconv bench` does it beside its target's float32, and
    compared in latency, size and error. The winner is the fastest of those that pass, and meet --min-speedup and
    --max-drop; of those that are within the noise of it, the smallest, then the one with the least error. Its command
    is printed.

    Exit code 0 with a winner, 1 if nothing meets what is asked, 3 if that could not be told. Ctrl-C tells what was
    measured until then; the same command again goes on from there.
    """
    if html is not None:
        from dlconv.reports.html import needs

        needs.check()
    from dlconv.reports import console
    from dlconv.tuning.front import Wish
    from dlconv.tuning.options import USUAL, TuneOptions
    from dlconv.tuning.tune import Interrupted
    from dlconv.tuning.tune import tune as search

    tensors, constants = parse_inputs(inputs)
    bars = bars_of(None, max_errors, None, None, None, None) or Bars()
    export = ExportOptions(
        targets=parse_targets(targets),
        output_dir=output_dir or Path(),
        inputs=tensors,
        constants=constants,
        outputs=names_in(outputs),
        layout=layout or "",
        provider=provider or "",
        memory_limit_bytes=None if memory_limit is None else parse_size(memory_limit),
        command=command_line(),
        bars=bars,
        **further,
    )
    options = TuneOptions(
        export,
        keeps_bundles=output_dir is not None,
        precisions=_precisions(precisions) or USUAL,
        threads=_counts(threads),
        calibration=calibration,
        preprocess=preprocess,
        allow_random_calibration=allow_random_calibration,
        wish=Wish(min_speedup, None if max_drop is None else share_of(max_drop, "--max-drop"), metric),
        budget_s=_seconds(budget),
        time_s=time_s,
        options=_options(runtime_options),
        is_anew=is_anew,
    )
    try:
        with console.progress(reporting.verbosity) as listener:
            found = search(model, options, listener)
    except Interrupted as stop:
        _tell(stop.tuned, reporting, html, _INTERRUPTED)
        raise
    _tell(found, reporting, html, found.exit_code)
    return found.exit_code


def _tell(found: Tuned, reporting: Reporting, html: Path | None, code: int) -> None:
    from dlconv.reports import as_json, tuning
    from dlconv.reports.fitting import folded

    is_drawn = reporting.verbosity >= -1 and _is_terminal(to_stderr=reporting.to_stderr)
    if is_drawn:
        from rich.console import Console

        terminal = Console(stderr=reporting.to_stderr, highlight=False)
        terminal.print(tuning.shown(found, terminal.width))
    for line in tuning.lines(found, with_table=not is_drawn):
        # A command is copied: it stays whole.
        width = reporting.width if is_drawn and "dlconv " not in line else None
        for part in folded(line, width, after=4 if line.startswith(" ") else 2):
            reporting.say(part, level=-1)
    reporting.answer({"exit_code": code, **found.to_dict()})
    if html is not None:
        from dlconv.reports.html import tuning as page

        as_json.write(html, page.document(found, command_line()))


def _is_terminal(*, to_stderr: bool) -> bool:
    from dlconv.reports.console import is_plain

    return (sys.stderr if to_stderr else sys.stdout).isatty() and not is_plain()


def _precisions(text: str) -> tuple[Precision, ...]:
    names = names_in(text)
    unknown = [name for name in names if name not in PRECISIONS]
    if unknown:
        raise RequestError(f"unknown precision {', '.join(unknown)}", wanted=f"of {', '.join(PRECISIONS)}")
    return tuple(each for each in PRECISIONS if each in names)


def _options(said: tuple[str, ...]) -> tuple[str, ...] | None:
    if said == ("none",):
        return ()
    return tuple(dict.fromkeys(said)) or None


def _counts(text: str) -> tuple[int, ...]:
    names = names_in(text)
    if not all(name.isascii() and name.isdigit() for name in names):
        raise RequestError(f"--threads {text!r} is no list of numbers", wanted="numbers joined by commas: 1,4")
    return tuple(dict.fromkeys(map(int, names)))


def _seconds(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text, re.ASCII)
    if match is None or match[2] not in _UNITS:
        raise RequestError(f"--budget {text!r} is no time", wanted="a number with s, m or h", mend="--budget 10m")
    return float(match[1]) * _UNITS[match[2]]
