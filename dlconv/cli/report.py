"""`dlconv report`: a page of what was recorded."""

from __future__ import annotations

from pathlib import Path

import click

from dlconv.cli.reporting import Reporting, command_line, reported

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("records", nargs=-1, required=True, type=_PATH, metavar="RECORD...")
@click.option("-o", "--output", "--html", "html", type=_FILE, metavar="FILE", help="Where the page goes: report.html.")
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=_PATH,
    metavar="RECORD|DIR",
    help="What was recorded of the last release, or a folder of its bundles: the page tells what changed. May be "
    "repeated.",
)
@click.option("--model-card", type=_FILE, metavar="FILE", help="Write a model card: Markdown, as hubs take it.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write the report as Markdown.")
@click.option(
    "--log-to",
    multiple=True,
    metavar="TRACKER[:WHERE]",
    help="Log verdicts, figures, files and page: mlflow, wandb, tensorboard or a plugin's. May be repeated.",
)
@click.option("--strict", is_flag=True, help="End as the records do: with 1 where something failed, and so on.")
@reported
def report(
    reporting: Reporting,
    records: tuple[Path, ...],
    html: Path | None,
    baselines: tuple[Path, ...],
    model_card: Path | None,
    markdown: Path | None,
    log_to: tuple[str, ...],
    strict: bool,
) -> int:
    """Make one HTML page of what was recorded; nothing is run.

    RECORD is a bundle, whose files are checked by their digests, a receipt dlconv.json, or what --json wrote of export,
    verify, judge or bench. The page needs no network and no other file.

    Exit code 0 once the page is written, whatever it tells of; with --strict that of the records.
    """
    from dlconv.delivery import ReportFiles, log
    from dlconv.records.recorded import in_folders, read
    from dlconv.reports import as_json
    from dlconv.reports import markdown as as_markdown
    from dlconv.reports import model_card as card
    from dlconv.reports.html import page
    from dlconv.reports.verdicts import lines

    ReportFiles(html=html, log_to=log_to).check()
    recorded = read(in_folders(records))
    before = read(in_folders(baselines)).report if baselines else None
    if html is not None or (model_card is None and markdown is None and not log_to):
        html = html or Path("report.html")
        as_json.write(html, page.document(recorded.report, recorded.timings, before, command_line()))
    if model_card is not None:
        as_json.write(model_card, card.document(recorded.report))
    if markdown is not None:
        as_json.write(markdown, as_markdown.document(recorded.report))
    if recorded.report.outcomes or not recorded.timings:
        reporting.say("\n".join(lines(recorded.report, reporting.width)))
    for text in log_to:
        reporting.say(f"logged: {log(recorded.report, text, command_line())}")
    for path in (html, model_card, markdown):
        if path is not None:
            reporting.say(f"written: {path}")
    reporting.answer({**recorded.report.to_dict(), "exit_code": recorded.exit_code if strict else 0})
    return recorded.exit_code if strict else 0
