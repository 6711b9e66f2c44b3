"""`dlconv init`: the first project file."""

from __future__ import annotations

from pathlib import Path

import click

from dlconv.cli.reporting import Reporting, reported
from dlconv.errors import RequestError


@click.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("dlconv.toml"),
    show_default=True,
    metavar="FILE",
    help="The project file to write.",
)
@click.option("--force", is_flag=True, help="Write it over one that is there.")
@reported
def init(reporting: Reporting, model: Path | None, output: Path, *, force: bool) -> int:
    """Write a project file, dlconv.toml, for MODEL: `dlconv verify` then exports, judges and reports what it says.

    What is known of the model is set, samples and labels that lie beside it too; all else that can be said stands
    there as comment. Without MODEL, the one model in this directory is taken.
    """
    if output.name == "pyproject.toml":
        raise RequestError(
            "pyproject.toml holds more than this", mend="-o dlconv.toml, or copy its tables as [tool.dlconv.*]"
        )
    if output.exists() and not force:
        raise RequestError(f"there is a project file {output} already", mend="--force, or -o with another name")
    from dlconv.project.draft import draft, sole_model
    from dlconv.reports import as_json

    made = draft(model or sole_model(Path()), output.parent)
    as_json.write(output, made.text.rstrip("\n"))
    reporting.say(f"wrote {output}: {made.model} for {', '.join(made.targets)}")
    for note in made.notes:
        reporting.say(f"  {note}")
    reporting.say("next: dlconv verify" if output.name == "dlconv.toml" else f"next: dlconv verify --project {output}")
    told = {"path": str(output), "model": made.model, "targets": made.targets, "notes": made.notes}
    reporting.answer(told)
    return 0
