"""`dlconv export`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.asked.options import parse_required
from dlconv.cli.arguments import MODEL, bars_of, bars_options, labels_options, options_of, wishes
from dlconv.cli.release_options import conclude, release_options
from dlconv.cli.reporting import Reporting, reported

if TYPE_CHECKING:
    from dlconv.delivery import ReportFiles

_BARS = ("factor", "max_errors", "min_cosine", "min_sqnr_db", "min_top1", "max_drop")
"""What `bars_options` adds."""


@click.command()
@MODEL
@wishes
@click.option(
    "-o",
    "--output",
    "output_dir",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where the bundles go, a directory each: DIR/<model>-<target>-<precision>. Default: the current directory.",
)
@click.option("--name", metavar="NAME", help="The bundles' name; without, the file's.")
@click.option("--draws", type=int, default=8, show_default=True, help="Random samples, where none are given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random samples.")
@click.option("--cache/--no-cache", "use_cache", default=True, help="Use earlier steps, or do every step anew.")
@click.option("--install", is_flag=True, help="Install the toolchains that are missing.")
@click.option(
    "--require",
    default="",
    metavar="NAME[,...]",
    help="Targets whose absent hardware is exit code 3 before any work; without, they are SKIPPED beside others.",
)
@click.option("--memory-limit", metavar="SIZE", help="Of each worker: 8G. Default: nine tenths of what is here.")
@click.option("--timeout", "timeout_s", type=float, default=1800.0, show_default=True, help="Of each step, in seconds.")
@click.option("--jobs", type=int, metavar="N", help="Workers side by side; without, as many as fit.")
@labels_options
@bars_options
@release_options
@reported
def export(reporting: Reporting, files: ReportFiles, model: Path, require: str, **words: Any) -> int:
    """Convert MODEL, and prove that each result is the same model.

    MODEL is a TorchScript archive, a torch.export program (.pt2), an ONNX model, a SavedModel, a Keras model, a frozen
    graph, a TFLite file or an exported JAX program. Each target becomes a bundle: a directory with the deployable
    files, the receipt dlconv.json, the samples and the reference's answers.
    """
    bars = bars_of(**{name: words.pop(name) for name in _BARS})
    words |= {} if bars is None else {"bars": bars}
    options = options_of(**words, require=parse_required(require), command=files.command)
    from dlconv import pipeline
    from dlconv.reports import console

    with console.progress(reporting.verbosity) as listener:
        report = pipeline.export(model, options, listener)
    return conclude(reporting, report, files)
