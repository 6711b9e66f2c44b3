"""`dlconv diff`: at which operator do two models part?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlconv.asked.inputs import parse_inputs
from dlconv.asked.keeplist import write_keep_list
from dlconv.asked.options import SourceOptions
from dlconv.asked.sizes import parse_size
from dlconv.cli.reporting import Reporting, command_line, reported
from dlconv.errors import ConversionError, MachineError

if TYPE_CHECKING:
    from dlconv.diffing.difference import Difference

_CODES = {"TOGETHER": 0, "PARTED": 1}
_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_PRECISIONS = {"fp16": "float16", "bf16": "bfloat16", "int8": "int8"}


@click.command()
@click.argument("candidate", type=_PATH)
@click.option("--against", type=_PATH, metavar="MODEL", help="The model that is right.")
@click.option(
    "--precision", type=click.Choice(list(_PRECISIONS)), help="Compare the model with itself, emulated at it."
)
@click.option("--map", "links", multiple=True, metavar="REF=CAND[:LAYOUT]", help="Which tensor is which; repeatable.")
@click.option("--samples", type=_PATH, metavar="FILE.npz|DIR", help="Inputs of the reference, else drawn.")
@click.option("--input", "inputs", multiple=True, metavar="NAME:SHAPE[:DTYPE]", help="An input of the reference.")
@click.option("--draws", type=int, default=4, show_default=True, help="Samples: drawn, or the first of those given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random samples.")
@click.option("--factor", type=float, help="Noise beyond which tensors are parted; else as float32 is judged by.")
@click.option("--window", type=int, default=8, show_default=True, help="Operators whose tensors are held at a time.")
@click.option("--top", type=int, default=12, show_default=True, help="Operators to list.")
@click.option("-o", "--output-dir", "repro", type=_PATH, metavar="DIR", help="Leave the smallest part that shows it.")
@click.option("--keep-list", "keep", type=_FILE, metavar="FILE", help="Write what would stay in float32, for export.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write it as a page.")
@click.option("--memory-limit", metavar="SIZE", help="Of each worker: 8G. Default: nine tenths of what is here.")
@click.option("--timeout", "timeout_s", type=float, default=1800.0, show_default=True, help="Of each call, in seconds.")
@reported
def diff(
    reporting: Reporting,
    candidate: Path,
    against: Path | None,
    precision: str | None,
    links: tuple[str, ...],
    samples: Path | None,
    inputs: tuple[str, ...],
    draws: int,
    seed: int,
    factor: float | None,
    window: int,
    top: int,
    repro: Path | None,
    keep: Path | None,
    html: Path | None,
    memory_limit: str | None,
    timeout_s: float,
) -> int:
    """Find the first operator at which CANDIDATE parts from the model that is right, and where the error grows.

    CANDIDATE is a bundle that `dlconv export` left, or a model file: ONNX, OpenVINO IR, TFLite, SavedModel. MODEL is
    what it was made from, of any format; for a bundle it may be left out where it lies beside. With --precision,
    CANDIDATE is compared with an ideal implementation of itself in a smaller float or int8: what overflows or loses its
    digits there is found before anything is converted. With --keep-list, the operators that make the error are written
    to a file that `dlconv export --keep-list` takes.

    Exit code 0 if the two go together to the end, 1 if they part, 3 if nothing could be concluded.
    """
    from dlconv.diffing import diff as diffing
    from dlconv.reports import console, differences
    from dlconv.validators.matching import parse_link

    if html is not None:
        from dlconv.reports.html import needs

        needs.check()
    tensors, constants = parse_inputs(inputs)
    options = diffing.DiffOptions(
        precision=_PRECISIONS.get(precision or "", ""),
        source=SourceOptions(tensors, constants, samples, draws, seed),
        links=tuple(parse_link(text) for text in links),
        factor=factor,
        window=window,
        repro=repro,
        memory_limit_bytes=None if memory_limit is None else parse_size(memory_limit),
        timeout_s=timeout_s,
    )
    try:
        with console.progress(reporting.verbosity) as listener:
            found = diffing.diff(candidate, against, options, listener)
    except ConversionError as error:
        raise _unknown(error) from error
    for line in differences.lines(found, top):
        reporting.say(line, level=-1)
    if keep is not None:
        reporting.say(_keep(keep, found), level=-1)
    code = _code(found)
    reporting.answer({"exit_code": code, **found.to_dict()})
    if html is not None:
        from dlconv.reports import as_json
        from dlconv.reports.html import page

        as_json.write(html, page.difference(found, command_line()))
    return code


def _keep(path: Path, found: Difference) -> str:
    """Write the keep-list, where there is one; what to say of it."""
    if not found.to_keep:
        return f"{path} was not written: no operator stands out that would have to stay in float32"
    write_keep_list(path, found.to_keep)
    return f"{path} holds them, for dlconv export --keep-list {path}"


def _code(found: Difference) -> int:
    return _CODES.get(found.word, MachineError.exit_code)


def _unknown(error: ConversionError) -> MachineError:
    """A model that does not run was not compared: nothing is concluded, and nothing was converted."""
    return MachineError(
        f"nothing could be compared: {error.met}",
        wanted=error.wanted,
        mend=error.mend,
        problems=error.problems,
        log=error.log,
    )
