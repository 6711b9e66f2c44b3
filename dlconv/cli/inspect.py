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
@reported
def inspect(reporting: Reporting, model: Path, html: Path | None) -> int:
    """Tell what MODEL is: format, signature, opset, operators, parameters, size.

    Exit code 3 if the toolchain that reads it is missing here; the format and the size are told all the same.
    """
    from dlconv.inspection import inspect as look
    from dlconv.reports.inspection import lines

    if html is not None:
        from dlconv.reports.html import needs

        needs.check()
    found = look(model)
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
