"""The options that say a precision, and what they mean together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dlconv.asked import boundary
from dlconv.asked.keeplist import read_keep_list
from dlconv.asked.precisions import PRECISIONS, Precision
from dlconv.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., Any]")


_CALIBRATION = (
    click.option(
        "--calibration",
        default="",
        metavar="FILE|DIR|MODULE:FUNCTION",
        help="Samples on which int8 finds the ranges of activations; 32 or more.",
    ),
    click.option(
        "--preprocess",
        default="",
        metavar="'KEY=VALUE ...'",
        help="How the pictures of --calibration DIR become the input: resize=256 filter=bilinear crop=224 channels=rgb "
        "scale=1/255 mean=R,G,B std=R,G,B layout=nchw input=NAME.",
    ),
    click.option(
        "--allow-random-calibration", is_flag=True, help="Calibrate on random numbers, where nothing real is given."
    ),
)

_OPTIONS = (
    click.option("--precision", type=click.Choice(PRECISIONS), help="Of the artifacts; without, fp32."),
    click.option("--fp16", is_flag=True, help="Compute in float16; inputs and outputs stay float32."),
    click.option("--bf16", is_flag=True, help="Compute in bfloat16."),
    click.option("--int8", is_flag=True, help="Compute in int8, calibrated on --calibration, else on --samples."),
    click.option("--weights-only", is_flag=True, help="Of --fp16 or --int8 the storage alone."),
    click.option("--int8-weights", is_flag=True, help="The same as --int8 --weights-only."),
    click.option(
        "--io-precision",
        default="float32",
        show_default=True,
        metavar="DTYPE|in=DTYPE,out=DTYPE",
        help="Of float inputs and outputs: float16 with --fp16; uint8, for tflite int8, with --int8.",
    ),
    click.option(
        "--keep-list",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Nodes of the ONNX graph that stay in float32, a name a line.",
    ),
    click.option("--search", is_flag=True, help="Find the nodes that have to stay in float32, and write a keep-list."),
    click.option(
        "--search-budget", type=float, default=600.0, show_default=True, metavar="SECONDS", help="Of --search."
    ),
)


def precision_options(command: _F) -> _F:
    """Adds the options; `precision_of` reads them."""
    for option in reversed((*_OPTIONS, *_CALIBRATION)):
        command = option(command)
    return command


def calibration_options(command: _F) -> _F:
    """Those of them that say what int8 is calibrated on."""
    for option in reversed(_CALIBRATION):
        command = option(command)
    return command


def precision_of(words: dict[str, Any]) -> dict[str, Any]:
    """The fields of ExportOptions that the words mean; they are taken out of `words`. Raises RequestError."""
    flags = [name for name in ("fp16", "bf16", "int8", "int8-weights") if words.pop(name.replace("-", "_"))]
    keep_list: Path | None = words.pop("keep_list")
    return {
        "precision": _named(words.pop("precision"), flags, weights_only=words.pop("weights_only")),
        "keep": () if keep_list is None else read_keep_list(keep_list),
        "boundary": boundary.parse(words.pop("io_precision")),
        "search": words.pop("search"),
        "search_s": words.pop("search_budget"),
        "calibration": words.pop("calibration"),
        "preprocess": words.pop("preprocess"),
        "allow_random_calibration": words.pop("allow_random_calibration"),
    }


def _named(precision: str | None, flags: list[str], *, weights_only: bool) -> Precision:
    said: list[str] = [*([precision] if precision else []), *flags]
    if len(set(said)) > 1:
        raise RequestError(f"several precisions are asked for: {', '.join(said)}", wanted="one", mend="export twice")
    name = said[0] if said else "fp32"
    if weights_only and not name.endswith("-weights"):
        name += "-weights"
    if name not in PRECISIONS:
        raise RequestError(f"--weights-only goes with --fp16 and --int8, not with {name.removesuffix('-weights')}")
    return PRECISIONS[PRECISIONS.index(name)]
