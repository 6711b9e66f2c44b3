"""`dlconv verify`: is each artifact still the same model?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.asked import providers
from dlconv.asked.inputs import parse_inputs
from dlconv.asked.options import SourceOptions, parse_required, parse_targets
from dlconv.asked.sizes import parse_size
from dlconv.cli.arguments import bars_of, bars_options, labels_options, latency_options
from dlconv.cli.release_options import conclude, release_options
from dlconv.cli.reporting import Reporting, reported
from dlconv.errors import RequestError

if TYPE_CHECKING:
    from dlconv.delivery import ReportFiles
    from dlconv.events import Listener
    from dlconv.records.outcome import Report
    from dlconv.verification import VerifyOptions


@click.command()
@click.argument("bundles", nargs=-1, type=click.Path(path_type=Path), metavar="[BUNDLE...]")
@click.option("--against", type=click.Path(path_type=Path), metavar="MODEL", help="The model that is right.")
@click.option("--map", "links", multiple=True, metavar="REF=CAND[:LAYOUT]", help="Which tensor is which; repeatable.")
@click.option("--samples", type=click.Path(path_type=Path), metavar="FILE.npz|DIR", help="Inputs; with --against.")
@click.option("--input", "inputs", multiple=True, metavar="NAME:SHAPE[:DTYPE]", help="Of --against's model.")
@click.option("--draws", type=int, default=8, show_default=True, help="Random samples, where none are given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random samples.")
@labels_options
@bars_options
@click.option(
    "--baseline", type=click.Path(path_type=Path), metavar="DIR", help="A bundle, or a folder of them, to time against."
)
@latency_options
@click.option(
    "--provider", type=click.Choice(providers.NAMES), help="ONNX Runtime's, in place of the one it was made for."
)
@click.option("--allow-skip", metavar="TARGET[,...]", default="", help="Targets that this machine may lack.")
@click.option("--trust", is_flag=True, help="Run code that an artifact holds: a TensorRT plan's own runtime, plugins.")
@click.option("--require", metavar="NAME[,...]", default="", help="Targets, providers that it may not lack, even so.")
@click.option("--project", type=click.Path(path_type=Path), metavar="FILE", help="The project file; else the nearest.")
@click.option("--memory-limit", metavar="SIZE", help="Of each worker: 8G. Default: nine tenths of what is here.")
@click.option("--timeout", "timeout_s", type=float, default=1800.0, show_default=True, help="Of each step, in seconds.")
@click.option("--jobs", type=int, metavar="N", help="Workers side by side; without, one a core.")
@release_options
@reported
def verify(
    reporting: Reporting,
    files: ReportFiles,
    bundles: tuple[Path, ...],
    against: Path | None,
    links: tuple[str, ...],
    samples: Path | None,
    inputs: tuple[str, ...],
    draws: int,
    seed: int,
    labels: Path | None,
    metric: str,
    provider: str | None,
    allow_skip: str,
    require: str,
    trust: bool,
    project: Path | None,
    memory_limit: str | None,
    timeout_s: float,
    jobs: int | None,
    baseline: Path | None,
    time_s: float,
    max_ratio: float | None,
    p50_ms: float | None,
    p90_ms: float | None,
    p95_ms: float | None,
    p99_ms: float | None,
    **bars: Any,
) -> int:
    """Judge whether artifacts still are the model that they were made from.

    BUNDLE is a directory that `dlconv export` left, or a folder of them: it is judged by the source's answers that lie
    in it, with nothing but the target's runtime. With --against, BUNDLE may be any model file, and is judged by another
    model's answers.
    With neither, dlconv.toml says which models, targets and bars: what is not there is exported, and all is verified.

    Exit code 0 if everything passed, 1 if something is not the same model, 3 if something could not be judged or was
    skipped that may not be.
    """
    from dlconv.asked.bars import Bars, LatencyBars
    from dlconv.latency.benching import BenchSettings
    from dlconv.latency.gating import Gate
    from dlconv.reports import console
    from dlconv.validators.matching import parse_link
    from dlconv.verification import VerifyOptions

    tensors, constants = parse_inputs(inputs)
    options = VerifyOptions(
        bars_of(**bars),
        frozenset(parse_targets(allow_skip)) if allow_skip else frozenset(),
        labels,
        metric,
        tuple(parse_link(text) for text in links),
        SourceOptions(tensors, constants, samples, draws, seed, trust=trust),
        Gate(
            Bars(latency=LatencyBars(max_ratio, p50_ms, p90_ms, p95_ms, p99_ms)).latency,
            baseline,
            BenchSettings(time_s, seed=seed),
        ),
        None if memory_limit is None else parse_size(memory_limit),
        timeout_s,
        jobs,
        provider or "",
        parse_required(require),
    )
    if both := options.allow_skip & options.require:
        raise RequestError(f"{', '.join(sorted(both))} is under --allow-skip and --require", mend="choose one of them")
    _check(bundles, against, project, options)
    with console.progress(reporting.verbosity) as listener:
        report = _verified(bundles, against, project, options, listener)
    return conclude(reporting, report, files)


def _verified(
    bundles: tuple[Path, ...], against: Path | None, project: Path | None, options: VerifyOptions, listener: Listener
) -> Report:
    if against is not None:
        from dlconv.comparing import compare

        return compare(bundles[0], against, options, listener)
    if bundles:
        from dlconv.verification import verify as judge

        return judge(bundles, options, listener)
    from dlconv.project import file as projects
    from dlconv.project.release import verify_project

    return verify_project(projects.read(project or projects.find(Path())), options, listener)


def _check(bundles: tuple[Path, ...], against: Path | None, project: Path | None, options: VerifyOptions) -> None:
    if against is not None and len(bundles) != 1:
        raise RequestError(f"--against goes with one candidate, {len(bundles)} are named", mend="name one CANDIDATE")
    if against is None and (options.links or options.source.samples or options.source.inputs):
        raise RequestError(
            "--map, --samples and --input need a model that answers them: a bundle holds its own samples and answers",
            mend="--against MODEL",
        )
    if bundles and project is not None:
        raise RequestError("--project names what to verify, and so does BUNDLE", mend="leave one of them out")
