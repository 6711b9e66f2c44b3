"""Options that several commands share, and what they mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from dlconv.asked import providers
from dlconv.asked.bars import EVERY, Bars, OutputBars
from dlconv.asked.inputs import parse_inputs, parse_optima
from dlconv.asked.options import TARGETS, ExportOptions, parse_targets
from dlconv.asked.sizes import parse_size
from dlconv.asked.tensorrt_options import parse_options
from dlconv.cli.precision_options import precision_of, precision_options
from dlconv.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., Any]")


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
    help="An input of the model: x:1x3x224x224, ids:1xS:int64 (S: a free size), x:1..32x3 (its range), t:scalar:int64; "
    "or sr=16000, an argument that is no tensor. Without, they are inferred. May be repeated.",
)
_SAMPLES = click.option(
    "--samples",
    type=click.Path(path_type=Path),
    metavar="FILE.npz|DIR",
    help="Real inputs to prove the results on: an array for each input, the first axis the sample.",
)
_ENTRY = click.option(
    "--signature",
    "entry",
    default="",
    metavar="KEY",
    help="Which signature of a SavedModel or a TFLite file; without, the only one or serving_default.",
)
_OUTPUTS = click.option(
    "--outputs",
    default="",
    metavar="NAME[,NAME...]",
    help="The outputs of a frozen graph; without, they are found.",
)
_TRUST = click.option("--trust", is_flag=True, help="Run code that the model holds: a Keras Lambda layer.")
_VIA = click.option("--via", default="", metavar="STAGE", help="Take routes through this stage alone: --via onnx.")
_ROUTE = click.option(
    "--route",
    "edges",
    default="",
    metavar="EDGE[,EDGE...]",
    help="Take this route and no other; dlconv plan shows the names of the edges.",
)
_LAYOUT = click.option(
    "--keep-layout",
    "layout",
    type=click.Choice(["nchw", "nhwc"]),
    help="Of the artifacts' image inputs; without, the source's own. The receipt states what was turned.",
)
_PROVIDER = click.option(
    "--provider",
    type=click.Choice(providers.NAMES),
    help="What runs the target onnxruntime; without, the CPU. One that is not here, or takes no node, is an error.",
)
_OPT = click.option(
    "--opt",
    "optima",
    multiple=True,
    metavar="NAME:SHAPE",
    help="TensorRT: the size to be fastest at; again for the same input: one more profile.",
)
_TRT = click.option(
    "--trt",
    multiple=True,
    metavar="KEY=VALUE",
    help="TensorRT: workspace=4G, level=3, tf32=on, strip=on, ...; docs/tensorrt.md lists them. May be repeated.",
)
_OPSET = click.option("--opset", type=int, metavar="N", help="The ONNX opset; without, each route's own.")


def wishes(command: _F) -> _F:
    """The options that say what is wanted, for `export` and `plan` alike."""
    command = precision_options(command)
    for option in (
        _TRT,
        _OPT,
        _PROVIDER,
        _LAYOUT,
        _ROUTE,
        _VIA,
        _OPSET,
        _TRUST,
        _OUTPUTS,
        _ENTRY,
        _SAMPLES,
        _INPUT,
        _TO,
    ):
        command = option(command)
    return command


def source_wishes(command: _F) -> _F:
    """Those of them that say the source and the targets, whatever the precision is."""
    for option in (_PROVIDER, _LAYOUT, _VIA, _OPSET, _TRUST, _OUTPUTS, _ENTRY, _SAMPLES, _INPUT, _TO):
        command = option(command)
    return command


def options_of(
    targets: str,
    inputs: tuple[str, ...],
    samples: Path | None,
    opset: int | None,
    outputs: str,
    edges: str,
    layout: Literal["nchw", "nhwc"] | None,
    provider: str | None,
    optima: tuple[str, ...],
    trt: tuple[str, ...],
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
        outputs=names_in(outputs),
        edges=names_in(edges),
        layout=layout or "",
        optima=parse_optima(optima),
        tensorrt=parse_options(trt),
        **precision_of(further),
        provider=provider or "",
        memory_limit_bytes=None if memory_limit is None else parse_size(memory_limit),
        **further,
    )


def names_in(text: str) -> tuple[str, ...]:
    """The words of a list joined by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


_BARS = (
    click.option("--factor", type=float, metavar="N", help="The bar in units of the model's noise floor."),
    click.option(
        "--max-error",
        "max_errors",
        multiple=True,
        metavar="[OUTPUT=]X",
        help="The bar of an output, or of all, relative to its scale, in place of the model's own. May be repeated.",
    ),
    click.option("--min-cosine", type=float, metavar="X", help="Asked of every output besides."),
    click.option(
        "--min-sqnr-db", type=float, metavar="X", help="Signal to noise, in dB, asked of every output besides."
    ),
    click.option("--min-top1", type=float, metavar="X", help="Share of equal best classes, 0 to 1, of every output."),
    click.option("--max-drop", metavar="P%", help="Of accuracy on the labels, or of --metric: 0.5% or 0.005."),
)


_LABELS = (
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="What is right of the samples: an .npz of classes by output, or what --metric asks.",
    ),
    click.option(
        "--metric",
        default="",
        metavar="NAME|MODULE:FUNCTION",
        help="Of the task, on --labels, judged by --max-drop: top1, top5, 'map boxes=B scores=S classes=C', "
        "'wer alphabet=FILE', or a function of yours.",
    ),
)


def labels_options(command: _F) -> _F:
    """The options that say labels, and what is measured on them."""
    for option in reversed(_LABELS):
        command = option(command)
    return command


_LATENCY = (
    click.option(
        "--time", "time_s", type=float, default=15.0, show_default=True, help="Seconds to time for, at least."
    ),
    click.option("--max-ratio", type=float, metavar="X", help="Bar: at most X times the baseline's time."),
    click.option("--p50-ms", type=float, metavar="X", help="Bar for the median, on this machine."),
    click.option("--p90-ms", type=float, metavar="X", help="Bar for the 90th percentile, on this machine."),
    click.option("--p95-ms", type=float, metavar="X", help="Bar for the 95th percentile, on this machine."),
    click.option("--p99-ms", type=float, metavar="X", help="Bar for the 99th percentile, on this machine."),
)


def latency_options(command: _F) -> _F:
    """The options that say how long to time, and the bars of LatencyBars."""
    for option in reversed(_LATENCY):
        command = option(command)
    return command


def bars_options(command: _F) -> _F:
    """The options that say bars; `bars_of` reads them."""
    for option in reversed(_BARS):
        command = option(command)
    return command


def bars_of(
    factor: float | None,
    max_errors: tuple[str, ...],
    min_cosine: float | None,
    min_sqnr_db: float | None,
    min_top1: float | None,
    max_drop: str | None,
) -> Bars | None:
    """The bars that the words of a command line mean; None where none was said. Raises RequestError."""
    besides = {
        "min_cosine": min_cosine,
        "min_sqnr_db": min_sqnr_db,
        "min_top1": min_top1,
        "max_drop": None if max_drop is None else share_of(max_drop, "--max-drop"),
    }
    errors: dict[str, float] = {}
    for text in max_errors:
        name, equals, value = text.rpartition("=")
        try:
            errors[name if equals else EVERY] = float(value)
        except ValueError as error:
            raise RequestError(
                f"--max-error {text!r} is no bar", wanted="[OUTPUT=]NUMBER", mend="--max-error 1e-3"
            ) from error
    if factor is None and not errors and all(value is None for value in besides.values()):
        return None
    every = OutputBars(errors.pop(EVERY, None), **besides)
    return Bars(factor, {EVERY: every, **{name: replace(every, max_error=value) for name, value in errors.items()}})


def share_of(text: str, option: str) -> float:
    """The share that "0.5%" or "0.005" is. Raises RequestError."""
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number)
    except ValueError as error:
        raise RequestError(f"{option} {text!r} is no share", wanted="0.5% or 0.005") from error
    if rest:
        raise RequestError(f"{option} {text!r} is no share", wanted="0.5% or 0.005")
    return value / 100 if percent else value
