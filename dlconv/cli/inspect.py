"""`dlconv inspect`: what a file is."""

from __future__ import annotations

from pathlib import Path

import click

from dlconv.cli import faults
from dlconv.cli.arguments import MODEL
from dlconv.cli.reporting import Reporting, reported


@click.command()
@MODEL
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as a page.")
@click.option(
    "--time", "timed", is_flag=True, help="Run it too, and tell which operators take the time; so does --html."
)
@reported
def inspect(reporting: Reporting, model: Path, html: Path | None, timed: bool) -> int:
    """Tell what MODEL is: format, signature, opset, operators, parameters, size, and where its time goes.

    Exit code 3 if the toolchain that reads it is missing here; the format and the size are told all the same.
    """
    from dlconv.inspection import inspect as look
    from dlconv.reports.inspection import lines

    if html is not None:
        from dlconv.reports.html import needs

        needs.check()
    found = look(model, timed=timed or html is not None)
    reporting.say("\n".join(lines(found, all_operators=reporting.verbosity > 0)))
    reporting.answer(found.to_dict())
    if html is not None:
        from dlconv.reports import as_json
        from dlconv.reports.html import page

        as_json.write(html, page.inspection(found))
    if found.trouble is None:
        return 0
    faults.show(found.trouble)
    return found.trouble.exit_code
