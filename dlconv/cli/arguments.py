"""Options that several commands share, and what they mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dlconv.errors import RequestError
from dlconv.options import TARGETS, ExportOptions, parse_inputs, parse_targets

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., Any]")

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


def parse_size(text: str) -> int:
    """A number of bytes, as "8G", "512MiB" or "1000000". Raises RequestError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text, re.IGNORECASE)
    factor = (_UNITS | _BINARY).get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise RequestError(
            f"{text!r} is no size", wanted="a number of bytes, with a unit if you like", mend="8G, 512MiB"
        )
    return int(float(match[1]) * factor)


def _complete_targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    given, comma, last = incomplete.rpartition(",")
    return [f"{given}{comma}{name}" for name in TARGETS if name.startswith(last) and name not in given.split(",")]


MODEL = click.argument("model", type=click.Path(path_type=Path))

_TO = click.option(
    "--to",
    "targets",
    required=True,
    shell_complete=_complete_targets,
    metavar="TARGET[,TARGET...]",
    help=f"What to make: {', '.join(TARGETS)}.",
)
_INPUT = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME:SHAPE[:DTYPE]",
    help="An input of the model: x:1x3x224x224, ids:1xS:int64 (S: a free size), t:scalar:int64; or sr=16000, an "
    "argument that is no tensor. Without, they are inferred. May be repeated.",
)
_SAMPLES = click.option(
    "--samples",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Real inputs to prove the results on: an array for each input, the first axis the sample.",
)
_PRECISION = click.option("--precision", type=click.Choice(["fp32"]), default="fp32", show_default=True)
_OPSET = click.option("--opset", type=int, metavar="N", help="The ONNX opset; without, each route's own.")


def wishes(command: _F) -> _F:
    """The options that say what is wanted, for `export` and `plan` alike."""
    for option in (_OPSET, _PRECISION, _SAMPLES, _INPUT, _TO):
        command = option(command)
    return command


def options_of(
    targets: str,
    inputs: tuple[str, ...],
    samples: Path | None,
    opset: int | None,
    *,
    output_dir: Path = Path(),
    memory_limit: str | None = None,
    **further: Any,
) -> ExportOptions:
    """The options that the words of a command line mean. Raises RequestError."""
    tensors, constants = parse_inputs(inputs)
    return ExportOptions(
        targets=parse_targets(targets),
        output_dir=output_dir,
        inputs=tensors,
        constants=constants,
        samples=samples,
        opset=opset,
        memory_limit_bytes=None if memory_limit is None else parse_size(memory_limit),
        **further,
    )
