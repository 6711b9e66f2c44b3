"""`dlconv plan`: the routes, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dlconv.cli.arguments import MODEL, options_of, wishes
from dlconv.cli.reporting import Reporting, reported
from dlconv.errors import MachineError


@click.command()
@MODEL
@wishes
@reported
def plan(reporting: Reporting, model: Path, **words: Any) -> int:
    """Show each route from MODEL to the targets, which one would be taken and why, and what is missing here.

    Exit code 3 if a target cannot be reached on this machine as it is.
    """
    options = options_of(**words)
    from dlconv import pipeline
    from dlconv.reports.plan import lines

    made = pipeline.plan(model, options)
    reporting.say("\n".join(lines(made)))
    reporting.answer(made.to_dict())
    return 0 if all(goal.chosen is not None for goal in made.targets) else MachineError.exit_code
