"""`dlconv plan`: the routes, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.cli.arguments import MODEL, options_of, wishes
from dlconv.cli.reporting import Reporting, reported
from dlconv.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlconv.planning import Plan


_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.command()
@MODEL
@wishes
@click.option(
    "--svg", type=_FILE, metavar="FILE|-", help="Draw the routes: what is here, what is missing, what is taken."
)
@click.option("--dot", type=_FILE, metavar="FILE|-", help="The same in Graphviz' language.")
@click.option("--mermaid", type=_FILE, metavar="FILE|-", help="The same for Markdown pages that draw Mermaid.")
@reported
def plan(
    reporting: Reporting, model: Path, svg: Path | None, dot: Path | None, mermaid: Path | None, **words: Any
) -> int:
    """Show each route from MODEL to the targets, which one would be taken and why, and what is missing here.

    With "-" a drawing goes to stdout, and what is meant for people is left out.

    Exit code 3 if a target cannot be reached on this machine as it is.
    """
    options = options_of(**words)
    from dlconv import pipeline
    from dlconv.reports.html import needs
    from dlconv.reports.plan import lines

    if svg is not None:
        needs.check()
    made = pipeline.plan(model, options)
    if Path("-") not in (svg, dot, mermaid):
        reporting.say("\n".join(lines(made)))
    reporting.answer(made.to_dict())
    _draw(made, svg, dot, mermaid)
    return 0 if all(goal.chosen is not None for goal in made.targets) else MachineError.exit_code


def _draw(made: Plan, svg: Path | None, dot: Path | None, mermaid: Path | None) -> None:
    from dlconv.reports import as_json
    from dlconv.reports.html import graph_svg, pictures

    picture = pictures.of_plan(made)
    wanted: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (svg, lambda: graph_svg.picture_svg(picture, "plan")),
        (dot, lambda: pictures.as_dot(picture)),
        (mermaid, lambda: pictures.as_mermaid(picture)),
    )
    for path, write in wanted:
        if path == Path("-"):
            click.echo(write())
        elif path is not None:
            as_json.write(path, write())
